//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"cairn/scripts/internal/testnet"
)

// settleFor is how long the network may take to know who is dead.
const settleFor = time.Minute

// Latency is the finality of single transfers with all validators and with some
// dead.
type Latency struct {
	Validators int              `json:"validators"`
	Dead       int              `json:"dead"`
	Healthy    testnet.Finality `json:"healthy"`
	Degraded   testnet.Finality `json:"degraded"` // a minute after the deaths
	Ratio      float64          `json:"ratio"`    // of the medians
}

func measureLatency(ctx context.Context, s settings, singles int, asJSON bool) error {
	var out []Latency
	for _, c := range []struct{ validators, dead int }{{4, 1}, {7, 2}} {
		l, err := latencyOf(ctx, s, c.validators, c.dead, singles)
		if err != nil {
			return fmt.Errorf("%d of %d dead: %w", c.dead, c.validators, err)
		}
		fmt.Fprintf(s.out, "%d validators: median %.1f ms, p99 %.1f ms; %d dead: median %.1f ms, p99 %.1f ms; %.2f times the median\n",
			l.Validators, l.Healthy.P50, l.Healthy.P99, l.Dead, l.Degraded.P50, l.Degraded.P99, l.Ratio)
		out = append(out, *l)
	}
	if !asJSON {
		return nil
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func latencyOf(ctx context.Context, s settings, n, dead, singles int) (l *Latency, err error) {
	dir, err := os.MkdirTemp("", "cairn-latency-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := openCluster(ctx, s.cairnd, filepath.Join(dir, "net"), n, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close(true)) }()
	if err := c.each(c.all(), c.start); err != nil {
		return nil, err
	}
	nothing, err := openRecord(filepath.Join(dir, "finals.jsonl"), accounts)
	if err != nil {
		return nil, err
	}
	defer nothing.journal.Close()
	if err := (&checker{c: c, rec: nothing}).back(ctx); err != nil {
		return nil, err
	}
	key, err := c.Key(0)
	if err != nil {
		return nil, err
	}
	measure := func(nodes []*node) (*testnet.Finality, error) {
		var at []testnet.Node
		for _, v := range nodes {
			port := c.RPCBase + v.index
			at = append(at, testnet.Node{RPC: fmt.Sprintf("http://127.0.0.1:%d", port), WS: fmt.Sprintf("ws://127.0.0.1:%d", port)})
		}
		return testnet.MeasureFinality(ctx, at, c.ChainID, key, singles)
	}
	if _, err := measure(c.nodes); err != nil { // the first ones find everything cold
		return nil, err
	}
	healthy, err := measure(c.nodes)
	if err != nil {
		return nil, err
	}
	if err := c.each(c.all()[n-dead:], func(v *node) error { return v.end(syscall.SIGKILL) }); err != nil {
		return nil, err
	}
	// Transfers go on meanwhile, so that silent leaders are met and remembered.
	for until := time.Now().Add(settleFor); time.Now().Before(until); {
		if _, err := measure(c.nodes[:n-dead]); err != nil {
			return nil, err
		}
	}
	degraded, err := measure(c.nodes[:n-dead])
	if err != nil {
		return nil, err
	}
	return &Latency{Validators: n, Dead: dead, Healthy: *healthy, Degraded: *degraded, Ratio: degraded.P50 / healthy.P50}, nil
}
