package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

// maxGenesisFile is above what genesis.Parse reads.
const maxGenesisFile = 64 << 20

func genesisFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "genesis",
		Usage:   "check the node's answers against the genesis `FILE`, trusting nothing else of it",
		EnvVars: []string{"CAIRN_GENESIS"},
	}
}

// openVerifier reads --genesis; nil if it was not given.
func openVerifier(c *cli.Context, client *wallet.Client) (*wallet.Verifier, error) {
	path := c.String("genesis")
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("genesis file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxGenesisFile))
	if err != nil {
		return nil, fmt.Errorf("genesis file: %w", err)
	}
	spec, err := genesis.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("genesis file %s: %w", path, err)
	}
	return wallet.NewVerifier(client, spec)
}

type verifyJSON struct {
	Address         crypto.Address `json:"address"`
	Wei             string         `json:"wei"`
	Coins           string         `json:"coins"`
	Nonce           uint64         `json:"nonce"`
	BlockNumber     uint64         `json:"blockNumber"`
	BlockHash       crypto.Hash    `json:"blockHash"`
	StateRoot       crypto.Hash    `json:"stateRoot"`
	TimestampMillis int64          `json:"timestampMillis"`
	Epoch           uint32         `json:"epoch"`
	Validators      int            `json:"validators"`
	Quorum          int            `json:"quorum"`
	GenesisHash     crypto.Hash    `json:"genesisHash"`
}

func (t *terminal) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "prove what an account holds, trusting only a genesis file", ArgsUsage: "ACCOUNT",
		Description: "Walks through the validator sets from the genesis file on, checks that the node's\n" +
			"last block is final, and the account against its state root. A node can show an\n" +
			"old block, but none that was never final: look at its time.",
		Flags: []cli.Flag{rpcFlag(), keystoreFlag(), jsonFlag(), genesisFlag()},
		Action: action(func(c *cli.Context) error {
			address, err := wallet.OpenKeyStore(c.String("keystore")).Address(c.Args().First())
			if err != nil {
				return err
			}
			if c.String("genesis") == "" {
				return args.Usagef("missing flag --genesis")
			}
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			v, err := openVerifier(c, client)
			if err != nil {
				return err
			}
			if err := v.CheckNetwork(c.Context); err != nil {
				return err
			}
			a, err := v.Account(c.Context, address)
			if err != nil {
				return err
			}
			return t.showProven(c, v, a)
		}),
	}
}

func (t *terminal) showProven(c *cli.Context, v *wallet.Verifier, a *wallet.ProvenAccount) error {
	b := a.Block
	data := verifyJSON{
		Address: a.Address, Wei: a.Balance.Dec(), Coins: wallet.FormatCoins(a.Balance), Nonce: a.Nonce,
		BlockNumber: b.Height(), BlockHash: b.Hash(), StateRoot: b.Header().Root, TimestampMillis: b.Time().UnixMilli(),
		Epoch: b.Epoch(), Validators: a.Set.Len(), Quorum: genesis.Quorum(a.Set.Len()), GenesisHash: v.GenesisHash(),
	}
	return t.show(c, data,
		row{"address", a.Address.Hex()},
		row{"balance", data.Coins + " coin"},
		row{"nonce", fmt.Sprint(a.Nonce)},
		row{"block", fmt.Sprintf("%d  %s", b.Height(), b.Hash().Hex())},
		row{"time", fmt.Sprintf("%s, %s ago", clock(b.Time()), time.Since(b.Time()).Round(time.Second))},
		row{"final by", fmt.Sprintf("%d of the %d validators of epoch %d, or more", data.Quorum, data.Validators, b.Epoch())},
		row{"genesis", v.GenesisHash().Hex()})
}
