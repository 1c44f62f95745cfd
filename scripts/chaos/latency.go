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

// latencyOf runs two networks of n side by side, one of them with dead
// validators, and sends transfers to both in turn: what else the machine does
// slows both alike.
func latencyOf(ctx context.Context, s settings, n, dead, singles int) (l *Latency, err error) {
	dir, err := os.MkdirTemp("", "cairn-latency-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var senders [2]*testnet.Singles // healthy, degraded
	for i := range senders {
		c, err := openCluster(ctx, s.cairnd, filepath.Join(dir, fmt.Sprintf("net%d", i)), n, nil)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close(true)) }()
		alive := c.nodes[:n-i*dead]
		if senders[i], err = c.singles(ctx, alive); err != nil {
			return nil, err
		}
		defer senders[i].Close()
		if err := c.each(c.all()[len(alive):], func(v *node) error { return v.end(syscall.SIGKILL) }); err != nil {
			return nil, err
		}
	}
	// Transfers go on for the minute, so that silent leaders are met.
	var times [2][]time.Duration
	for died := time.Now(); len(times[1]) < singles; {
		settled := time.Since(died) > settleFor
		for i, sender := range senders {
			took, err := sender.One(ctx)
			if err != nil {
				return nil, err
			}
			if settled {
				times[i] = append(times[i], took)
			}
		}
	}
	l = &Latency{Validators: n, Dead: dead, Healthy: *testnet.FinalityOf(times[0]), Degraded: *testnet.FinalityOf(times[1])}
	l.Ratio = l.Degraded.P50 / l.Healthy.P50
	return l, nil
}

// singles starts the network and connects to some of its nodes.
func (c *cluster) singles(ctx context.Context, at []*node) (*testnet.Singles, error) {
	if err := c.each(c.all(), c.start); err != nil {
		return nil, err
	}
	if err := (&checker{c: c, rec: &record{}}).back(ctx); err != nil {
		return nil, err
	}
	key, err := c.Key(0)
	if err != nil {
		return nil, err
	}
	var nodes []testnet.Node
	for _, v := range at {
		port := c.RPCBase + v.index
		nodes = append(nodes, testnet.Node{RPC: fmt.Sprintf("http://127.0.0.1:%d", port), WS: fmt.Sprintf("ws://127.0.0.1:%d", port)})
	}
	return testnet.NewSingles(ctx, nodes, c.ChainID, key)
}
