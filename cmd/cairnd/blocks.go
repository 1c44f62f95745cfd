package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", ArgsUsage: "FILE",
		Usage: "write final blocks with their certificates to the new file FILE (-: stdout)",
		Flags: []cli.Flag{
			homeFlag(),
			dataFlag(),
			&cli.Uint64Flag{Name: "from", Usage: "first `HEIGHT`", DefaultText: "the first that is kept"},
			&cli.Uint64Flag{Name: "to", Usage: "last `HEIGHT`; it moves to the next block with a certificate of its own", DefaultText: "the head"},
		},
		Action: exportBlocks,
	}
}

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", ArgsUsage: "FILE",
		Usage:  "verify and execute the blocks of FILE (-: stdin) on the database of a stopped node; what is there already is passed over",
		Flags:  []cli.Flag{homeFlag()},
		Action: importBlocks,
	}
}

func exportBlocks(c *cli.Context) (err error) {
	if c.IsSet("from") && c.IsSet("to") && c.Uint64("from") > c.Uint64("to") {
		return args.Usagef("--from %d is above --to %d", c.Uint64("from"), c.Uint64("to"))
	}
	h, err := openHome(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	bar := newProgress(c.App.ErrWriter)
	write := func(w io.Writer) error {
		s, err := h.Export(c.Context, w, c.Uint64("from"), c.Uint64("to"), bar.tell)
		bar.end()
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.ErrWriter, "blocks %d to %d, the last is %s\n", s.First, s.Last, s.Hash)
		return nil
	}
	if name := c.Args().First(); name != "-" {
		return writeWhole(name, write)
	}
	return write(c.App.Writer)
}

// writeWhole makes a new file that appears, durably, only when it is whole.
func writeWhole(name string, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = os.ErrExist
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	part, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(part), part.Sync(), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}

func importBlocks(c *cli.Context) (err error) {
	var in io.Reader = os.Stdin
	if name := c.Args().First(); name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	bar := newProgress(c.App.ErrWriter)
	r, err := node.Import(c.Context, c.String("home"), in, bar.tell)
	bar.end()
	if r.After > r.Before {
		fmt.Fprintf(c.App.Writer, "imported the blocks %d to %d\n", r.Before+1, r.After)
	}
	switch {
	case errors.Is(err, node.ErrLocked):
		return fmt.Errorf("%w: stop it first", err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted at height %d; import the same file again to go on", r.After)
	case err != nil && r.After > r.Before:
		return fmt.Errorf("%w; the blocks up to %d are kept", err, r.After)
	case err != nil:
		return err
	case r.After == r.Before:
		fmt.Fprintf(c.App.Writer, "every block up to %d was here already\n", r.Last)
	}
	return nil
}
