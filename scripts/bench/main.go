// Command bench measures a network of real processes through JSON-RPC and prints
// the figures as JSON: finality of single transfers on an idle network, and
// transfers per second under load with blocks, disk and memory.
//
//	go run ./scripts/bench -nodes 4 -singles 100 -transfers 20000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"cairn/scripts/internal/load"
	"cairn/scripts/internal/testnet"
)

type settings struct {
	Nodes     int `json:"nodes"`
	Singles   int `json:"singles"`
	Transfers int `json:"transfers"`
	load.Settings
}

type report struct {
	Machine  testnet.Machine   `json:"machine"`
	Settings settings          `json:"settings"`
	Finality *testnet.Finality `json:"finality,omitempty"`
	Load     *load.Result      `json:"load,omitempty"`
}

func main() {
	var s settings
	flag.IntVar(&s.Nodes, "nodes", 4, "validators")
	flag.IntVar(&s.Singles, "singles", 100, "single transfers on the idle network; 0 = skip")
	flag.IntVar(&s.Transfers, "transfers", 20_000, "transfers under load; 0 = skip")
	flag.IntVar(&s.Senders, "senders", 500, "accounts that send under load")
	flag.IntVar(&s.Batch, "batch", 100, "transfers in one JSON-RPC batch")
	flag.IntVar(&s.Window, "window", 8000, "transfers sent but not final, at most")
	dir := flag.String("dir", "", "keep the network here instead of in a temporary directory")
	flag.Parse()
	if err := run(s, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s settings, dir string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	net, err := testnet.Up(ctx, dir, s.Nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Do(context.Background(), "down")) }()
	r := report{Machine: testnet.ThisMachine(ctx), Settings: s}
	if s.Singles > 0 {
		if r.Finality, err = measureFinality(ctx, net, s.Singles); err != nil {
			return err
		}
	}
	if s.Transfers > 0 {
		l, err := load.New(ctx, net, s.Settings)
		if err != nil {
			return err
		}
		if r.Load, err = l.Round(ctx, s.Transfers); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
