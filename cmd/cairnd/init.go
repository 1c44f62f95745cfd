package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/node"
	"cairn/p2p"
	"cairn/wallet"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make a home a node of one network, whose identity you were told",
		Flags: []cli.Flag{
			homeFlag(),
			&cli.StringFlag{Name: "genesis", Usage: "genesis `FILE` of the network"},
			&cli.StringFlag{Name: "expect-hash", Usage: "`HASH` of block 0, learned from somebody you trust"},
			&cli.BoolFlag{Name: "dev", Usage: "the embedded development network, with its validator's well-known keys"},
		},
		Action: initHome,
	}
}

func initHome(c *cli.Context) error {
	home := c.String("home")
	if c.Bool("dev") {
		if c.IsSet("genesis") || c.IsSet("expect-hash") {
			return args.Usagef("--dev has its own genesis: leave out --genesis and --expect-hash")
		}
		return initDevelopment(c, home)
	}
	if !c.IsSet("genesis") || !c.IsSet("expect-hash") {
		return args.Usagef("want --genesis FILE and --expect-hash HASH, or --dev")
	}
	want, err := crypto.ParseHash(c.String("expect-hash"))
	if err != nil {
		return args.Usagef("--expect-hash: %s", err)
	}
	s, hash, err := readGenesis(c.String("genesis"))
	if err != nil {
		return err
	}
	if hash != want {
		return fmt.Errorf("%s makes block 0 %s, but %s is expected: this is another network", c.String("genesis"), hash, want)
	}
	if err := installNetwork(home, s, hash, node.DefaultConfig(home)); err != nil {
		return err
	}
	warnDevelopment(c, s)
	fmt.Fprintf(c.App.Writer, "%s is a node of %s, chain id %d, genesis hash %s\n", home, s.Name, s.ChainID, hash)
	return nil
}

// installNetwork puts the genesis file and, if there is none, the configuration
// into a home. A home of another network is refused; the same one again is fine.
func installNetwork(home string, s *genesis.Spec, hash crypto.Hash, cfg node.Config) error {
	if err := makeHome(home); err != nil {
		return err
	}
	path := filepath.Join(home, node.GenesisFile)
	err := writeNew(path, s.Marshal(), 0o644)
	if errors.Is(err, errExists) {
		_, have, err := readGenesis(path)
		if err != nil {
			return err
		}
		if have != hash {
			return fmt.Errorf("%s is already a node of network %s, not of %s: a home is of one network; use another --home", home, have, hash)
		}
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(home, node.ConfigFile)); err == nil {
		return nil
	}
	return cfg.Write()
}

// initDevelopment makes a home the one validator of the development network,
// which listens on loopback only.
func initDevelopment(c *cli.Context, home string) error {
	s := genesis.Development()
	hash, err := blockZero(s)
	if err != nil {
		return err
	}
	cfg := node.DefaultConfig(home)
	cfg.P2P.Listen = []string{"/ip4/127.0.0.1/tcp/30303", "/ip4/127.0.0.1/udp/30303/quic-v1"}
	cfg.P2P.MDNS = false
	keyPath := filepath.Join(home, node.ValidatorKeyFile)
	if have, err := node.ReadKeyFile(keyPath); err == nil && have.Address != genesis.DevelopmentValidator().Address() {
		return fmt.Errorf("%s is another validator's key: %w", keyPath, errExists)
	}
	if err := installNetwork(home, s, hash, cfg); err != nil {
		return err
	}
	if err := developmentKeys(home); err != nil {
		return err
	}
	warnDevelopment(c, s)
	fmt.Fprintf(c.App.Writer, "%s is the validator of %s, chain id %d, genesis hash %s\n", home, s.Name, s.ChainID, hash)
	return nil
}

// developmentKeys writes both keys where they are missing.
func developmentKeys(home string) error {
	if err := drawnKey(home, genesis.DevelopmentValidator(), "", wallet.KDF{}); err != nil && !errors.Is(err, errExists) {
		return err
	}
	key, err := libp2pcrypto.UnmarshalEd25519PrivateKey(genesis.DevelopmentPeerKey())
	if err != nil {
		return fmt.Errorf("development peer key: %w", err)
	}
	err = p2p.WriteKey(filepath.Join(home, node.PeerKeyFile), key)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}
