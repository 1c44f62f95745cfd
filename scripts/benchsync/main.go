// Command benchsync measures how long a new node takes to join a long chain, by
// replaying all of it and by fetching a snapshot, and prints the figures as JSON.
// It makes the chain with real validators, which go on to serve it, and ends with
// 'cairnd db check' of both joined nodes.
//
//	go run ./scripts/benchsync -transfers 1000000 -accounts 100000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/load"
	"cairn/scripts/internal/testnet"
)

type settings struct {
	Nodes      int `json:"nodes"`
	Transfers  int `json:"transfers"`
	Accounts   int `json:"accounts"`
	Round      int `json:"round"`
	Checkpoint int `json:"checkpointInterval"`
	load.Settings
}

type report struct {
	Machine  testnet.Machine `json:"machine"`
	Settings settings        `json:"settings"`
	Chain    chain           `json:"chain"`
	Joins    []*join         `json:"joins"`
}

// chain is what the validators made.
type chain struct {
	Height    uint64      `json:"height"`
	StateRoot crypto.Hash `json:"stateRoot"`
	Transfers int         `json:"transfers"`
	Blocks    int         `json:"blocks"` // that hold them
	Seconds   float64     `json:"seconds"`
	PerSecond float64     `json:"transfersPerSecond"`
	DiskBytes int64       `json:"diskBytes"`
}

func main() {
	s := settings{Settings: load.Settings{Senders: 500, Batch: 100, Window: 8000}}
	flag.IntVar(&s.Nodes, "nodes", 4, "validators")
	flag.IntVar(&s.Transfers, "transfers", 100_000, "transfers in the chain")
	flag.IntVar(&s.Accounts, "accounts", 10_000, "accounts that receive them")
	flag.IntVar(&s.Round, "round", 100_000, "transfers that are signed before they are sent")
	flag.IntVar(&s.Checkpoint, "checkpoint-interval", 50, "heights between state checkpoints")
	dir := flag.String("dir", "", "keep the network here; a chain that is there is used again")
	limit := flag.Duration("timeout", time.Hour, "give up after this time")
	flag.Parse()
	s.Recipients = s.Accounts
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	if err := run(ctx, s, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "benchsync:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cairn-benchsync-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	_, gone := os.Stat(filepath.Join(dir, "testnet.json"))
	net, err := testnet.UpWith(ctx, dir, s.Nodes, s.Nodes+2, "--checkpoint-interval", strconv.Itoa(s.Checkpoint))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Do(context.Background(), "down")) }()
	r := report{Machine: testnet.ThisMachine(ctx), Settings: s}
	if gone != nil {
		if err := r.Chain.grow(ctx, net, s); err != nil {
			return err
		}
	}
	server, err := net.Dial(ctx, 0)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := r.Chain.measure(ctx, server, net.Nodes[0].Home); err != nil {
		return err
	}
	for _, mode := range []string{"full", "snapshot"} {
		fmt.Fprintln(os.Stderr, "joining by", mode)
		j, err := measureJoin(ctx, dir, mode, server, &r.Chain)
		if err != nil {
			return fmt.Errorf("join by %s: %w", mode, err)
		}
		fmt.Fprintf(os.Stderr, "joined after %.1f s, %d MB at most\n", j.Seconds, j.MaxMemory>>20)
		r.Joins = append(r.Joins, j)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// grow sends the transfers, round by round.
func (c *chain) grow(ctx context.Context, net *testnet.Network, s settings) error {
	l, err := load.New(ctx, net, s.Settings)
	if err != nil {
		return err
	}
	for c.Transfers < s.Transfers {
		round, err := l.Round(ctx, min(s.Round, s.Transfers-c.Transfers))
		if err != nil {
			return fmt.Errorf("after %d transfers: %w", c.Transfers, err)
		}
		c.Transfers += round.Final
		c.Blocks += round.Blocks
		c.Seconds += round.Seconds
		c.PerSecond = float64(c.Transfers) / c.Seconds
		fmt.Fprintf(os.Stderr, "%d of %d transfers final, %.0f/s\n", c.Transfers, s.Transfers, round.PerSecond)
	}
	return nil
}

// measure reads where the chain stands.
func (c *chain) measure(ctx context.Context, client *rpc.Client, home string) (err error) {
	if c.Height, err = testnet.Head(ctx, client); err != nil {
		return err
	}
	b, err := testnet.BlockAt(ctx, client, c.Height)
	if err != nil {
		return err
	}
	c.StateRoot = b.StateRoot
	c.DiskBytes, err = load.DiskBytes(home)
	return err
}
