package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/genesis"
	"cairn/node"
	"cairn/wallet"
)

// random is the source of every key and chain id.
var random io.Reader = rand.Reader

// keyPasswordEnv names the password file for every command that opens the
// validator key.
const keyPasswordEnv = "CAIRN_KEY_PASSWORD_FILE"

func keyCommand() *cli.Command {
	name := &cli.StringFlag{Name: "name", Usage: "`NAME` of the validator for people: a to z, 0 to 9 and -"}
	out := &cli.StringFlag{Name: "out", Usage: "write the validator file to the new `FILE` and not to stdout"}
	password := &cli.StringFlag{
		Name: "password-file", EnvVars: []string{keyPasswordEnv},
		Usage: "`FILE` with the validator key's password in its first line, which only its owner can read",
	}
	kdf := &cli.StringFlag{Name: "kdf", Value: "standard", Usage: "`COST` of trying a password: standard (256 MiB, a second) or light (for tests)"}
	return &cli.Command{
		Name:  "key",
		Usage: "the validator key and the peer key of a home",
		Subcommands: []*cli.Command{
			{
				Name:   "new",
				Usage:  "draw both keys, the validator's encrypted if there is a password; an existing one is never overwritten",
				Flags:  []cli.Flag{homeFlag(), jsonFlag(), name, out, password, kdf},
				Action: keyNew,
			},
			{
				Name: "show",
				Usage: "show address, peer id and proof of possession; --json or --out gives the file " +
					"that 'genesis new --validator' reads",
				Flags:  []cli.Flag{homeFlag(), jsonFlag(), name, out, password},
				Action: keyShow,
			},
			{
				Name:   "encrypt",
				Usage:  "encrypt the validator key in its file with a password",
				Flags:  []cli.Flag{homeFlag(), password, kdf},
				Action: keyEncrypt,
			},
			{
				Name: "export",
				Usage: "write both keys of a stopped node, and how far the validator has voted, to a new file " +
					"for 'key import' on another machine",
				Flags: []cli.Flag{
					homeFlag(), jsonFlag(),
					&cli.StringFlag{Name: "out", Required: true, Usage: "the new `FILE`; whoever can read it can sign, unless the validator key is encrypted"},
				},
				Action: keyExport,
			},
			{
				Name: "import", ArgsUsage: "FILE",
				Usage:  "take over the keys of 'key export': the node observes until it is past the votes that were cast with them",
				Flags:  []cli.Flag{homeFlag(), jsonFlag()},
				Action: keyImport,
			},
		},
	}
}

// keyDerivation is what --kdf names.
func keyDerivation(c *cli.Context) (wallet.KDF, error) {
	switch v := c.String("kdf"); v {
	case "standard":
		return wallet.KDFStandard, nil
	case "light":
		return wallet.KDFLight, nil
	default:
		return wallet.KDF{}, args.Usagef("--kdf is standard or light, not %.20q", v)
	}
}

func keyNew(c *cli.Context) error {
	home, password := c.String("home"), ""
	kdf, err := keyDerivation(c)
	if err != nil {
		return err
	}
	if file := c.String("password-file"); file != "" {
		if password, err = node.ReadPassword(file); err != nil {
			return err
		}
	}
	key, peerID, err := newIdentity(home, password, kdf)
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
	key, peerID, err := loadIdentity(home, c.String("password-file"))
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
