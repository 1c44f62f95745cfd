package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

// The commands that change a database or put another one in its place. All want
// the node to be stopped.

func replaceCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name:   "compact",
			Usage:  "rewrite the database of a stopped node in its smallest form",
			Flags:  []cli.Flag{homeFlag()},
			Action: dbCompact,
		},
		{
			Name: "restore", ArgsUsage: "DIR",
			Usage: "check the copy DIR and make it the database of the home; a validator observes before it votes again",
			Flags: []cli.Flag{
				homeFlag(),
				&cli.BoolFlag{Name: "replace", Usage: "the home has a database: keep it beside the restored one, as data.before-restore"},
			},
			Action: dbRestore,
		},
		{
			Name:  "rollback",
			Usage: "for repair: execute the blocks up to a height again and put the result in the place of the database, which stays as data.before-rollback",
			Flags: []cli.Flag{
				homeFlag(),
				&cli.Uint64Flag{Name: "to", Required: true, Usage: "`HEIGHT` of the new head, or the next below with a certificate of its own", DefaultText: "none"},
			},
			Action: dbRollback,
		},
		{
			Name:   "repair",
			Usage:  "make a damaged database sound, which stays as data.damaged: where only blocks are damaged, other nodes give these; else the sound blocks are executed again, and other nodes give the rest",
			Flags:  []cli.Flag{homeFlag()},
			Action: dbRepair,
		},
	}
}

func stopFirst(err error) error {
	if errors.Is(err, node.ErrLocked) {
		return fmt.Errorf("%w: stop it first", err)
	}
	return err
}

func dbCompact(c *cli.Context) (err error) {
	h, err := node.OpenHome(c.String("home"), "")
	if err != nil {
		return stopFirst(err)
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	size := func() uint64 { // without the tables that were replaced, which are deleted a little later
		m := h.Store.Metrics()
		return m.TableBytes + m.LogBytes
	}
	before := size()
	if err := h.Store.Compact(); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d bytes before, %d after\n", before, size())
	return nil
}

func dbRestore(c *cli.Context) error {
	bar := newProgress(c.App.ErrWriter)
	findings := 0
	r, err := node.Restore(c.Context, c.String("home"), c.Args().First(), c.Bool("replace"), node.CheckOptions{
		Finding: func(text string) {
			bar.end()
			if findings++; findings <= maxFindings {
				fmt.Fprintln(c.App.Writer, text)
			}
		},
		Note: func(text string) {
			bar.end()
			fmt.Fprintln(c.App.ErrWriter, "note: "+text)
		},
		Progress: bar.tell,
	})
	bar.end()
	if errors.Is(err, node.ErrHasData) {
		return fmt.Errorf("%w; with --replace it is kept beside the restored one", err)
	}
	if err != nil {
		return stopFirst(err)
	}
	fmt.Fprintf(c.App.Writer, "restored: height %d\n", r.Height)
	tellKept(c, r)
	return nil
}

func dbRollback(c *cli.Context) error {
	if c.Uint64("to") == 0 {
		return args.Usagef("--to 0: to begin anew, delete the database")
	}
	bar := newProgress(c.App.ErrWriter)
	r, err := node.Rollback(c.Context, c.String("home"), c.Uint64("to"), bar.tell)
	bar.end()
	if err != nil {
		return stopFirst(err)
	}
	fmt.Fprintf(c.App.Writer, "the head is %d; at its next start the node fetches the later blocks again\n", r.Height)
	tellKept(c, r)
	return nil
}

func dbRepair(c *cli.Context) error {
	bar := newProgress(c.App.ErrWriter)
	r, err := node.Repair(c.Context, c.String("home"), bar.tell)
	bar.end()
	if err != nil {
		return stopFirst(err)
	}
	w := c.App.Writer
	switch {
	case r.Mended && r.Awaited > 0:
		fmt.Fprintf(w, "%d blocks were damaged, and all else is kept; the head is %d\nthe node fetches these blocks from others when it runs, and does not have them until then\n", r.Awaited, r.Height)
	case r.Mended:
		fmt.Fprintf(w, "only indexes were damaged, and they are whole again; the head is %d\n", r.Height)
	case r.Why == "":
		fmt.Fprintf(w, "every block up to the head %d is sound; state, indexes and history are made anew from them\n", r.Height)
	default:
		fmt.Fprintf(w, "the head is %d: %s\nat its next start the node fetches the later blocks from others\n", r.Height, r.Why)
	}
	tellKept(c, r)
	return nil
}

func tellKept(c *cli.Context, r node.Replaced) {
	if r.Kept != "" {
		fmt.Fprintf(c.App.Writer, "the database before is %s; remove it when you do not need it any more\n", r.Kept)
	}
}
