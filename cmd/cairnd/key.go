package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/genesis"
	"cairn/node"
)

// random is the source of every key and chain id.
var random io.Reader = rand.Reader

func keyCommand() *cli.Command {
	name := &cli.StringFlag{Name: "name", Usage: "`NAME` of the validator for people: a to z, 0 to 9 and -"}
	out := &cli.StringFlag{Name: "out", Usage: "write the validator file to the new `FILE` and not to stdout"}
	return &cli.Command{
		Name:  "key",
		Usage: "the validator key and the peer key of a home",
		Subcommands: []*cli.Command{
			{
				Name:   "new",
				Usage:  "draw both keys; an existing validator key is never overwritten",
				Flags:  []cli.Flag{homeFlag(), jsonFlag(), name, out},
				Action: keyNew,
			},
			{
				Name: "show",
				Usage: "show address, peer id and proof of possession; --json or --out gives the file " +
					"that 'genesis new --validator' reads",
				Flags:  []cli.Flag{homeFlag(), jsonFlag(), name, out},
				Action: keyShow,
			},
		},
	}
}

func keyNew(c *cli.Context) error {
	home := c.String("home")
	key, peerID, err := newIdentity(home)
	if err != nil {
		return err
	}
	cand, err := candidate(key, peerID, c.String("name"))
	if err != nil {
		return fmt.Errorf("the keys are made, but: %w", err)
	}
	return printCandidate(c, home, cand)
}

func keyShow(c *cli.Context) error {
	home := c.String("home")
	key, peerID, err := loadIdentity(home)
	if err != nil {
		return err
	}
	cand, err := candidate(key, peerID, c.String("name"))
	if err != nil {
		return err
	}
	return printCandidate(c, home, cand)
}

func printCandidate(c *cli.Context, home string, cand *genesis.Candidate) error {
	out := c.String("out")
	if out != "" {
		if err := writeNew(out, cand.Marshal(), 0o644); err != nil {
			return err
		}
	}
	w := c.App.Writer
	if c.Bool("json") {
		_, err := w.Write(cand.Marshal())
		return err
	}
	fmt.Fprintf(w, "address        %s\n", cand.Address)
	fmt.Fprintf(w, "peer id        %s\n", cand.PeerID)
	fmt.Fprintf(w, "name           %s\n", cand.Name)
	fmt.Fprintf(w, "proof          0x%x\n", cand.Proof[:])
	fmt.Fprintf(w, "validator key  %s\n", filepath.Join(home, node.ValidatorKeyFile))
	fmt.Fprintf(w, "peer key       %s\n", filepath.Join(home, node.PeerKeyFile))
	if out != "" {
		fmt.Fprintf(w, "validator file %s\n", out)
	}
	return nil
}
