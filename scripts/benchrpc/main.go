// Command benchrpc measures how a node of a real network answers JSON-RPC, and
// what abuse of that node does to it, to its other clients and to consensus. It
// prints the figures as JSON, and to stderr as tables.
//
//	go run ./scripts/benchrpc -rounds 5 -round 1s -connections 16 -batch 100
//
// Requests are encoded before the clock starts and answers are not decoded, so
// that little of what is measured is the load's own; the processor time of both
// sides is in the figures. Every figure is the median of short rounds that take
// turns.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"cairn/scripts/internal/testnet"
)

type settings struct {
	Nodes       int           `json:"nodes"`
	Rounds      int           `json:"rounds"`
	Round       time.Duration `json:"roundNanos"`
	Connections int           `json:"connections"`
	Batch       int           `json:"batch"`
	Writes      int           `json:"writes"`
	Abuse       time.Duration `json:"abuseNanos"`
	Addresses   int           `json:"abuserAddresses"`
	Only        string        `json:"only,omitempty"`
}

type report struct {
	Machine  testnet.Machine `json:"machine"`
	Load     []string        `json:"loadAverages"` // of the machine, before the nodes started and at the end
	Settings settings        `json:"settings"`
	Figures  []*figure       `json:"figures"`
	Abuse    *abuseReport    `json:"abuse,omitempty"`
}

func main() {
	var s settings
	flag.IntVar(&s.Nodes, "nodes", 4, "validators")
	flag.IntVar(&s.Rounds, "rounds", 5, "rounds of each figure; 0 = only abuse")
	flag.DurationVar(&s.Round, "round", time.Second, "time of one round of reads")
	flag.IntVar(&s.Connections, "connections", 16, "connections, each with one request at a time")
	flag.IntVar(&s.Batch, "batch", 100, "calls of one batch")
	flag.IntVar(&s.Writes, "writes", 2000, "transfers of one round")
	flag.IntVar(&s.Addresses, "addresses", 4, "addresses that abusers come from; 0 = 127.0.0.1, which has no limits of its own")
	asSink := flag.Bool("sink", false, "only read what comes; this program starts itself so")
	flag.DurationVar(&s.Abuse, "abuse", 5*time.Second, "time of each kind of abuse; 0 = none")
	flag.StringVar(&s.Only, "only", "", "only the kinds of abuse with this in their name")
	flag.Parse()
	if *asSink {
		if err := sink(); err != nil {
			fmt.Fprintln(os.Stderr, "benchrpc: sink:", err)
			os.Exit(1)
		}
		return
	}
	if err := s.validate(); err != nil {
		fmt.Fprintln(os.Stderr, "benchrpc:", err)
		os.Exit(2)
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "benchrpc:", err)
		os.Exit(1)
	}
}

func (s *settings) validate() error {
	if s.Nodes < 1 || s.Rounds < 0 || s.Connections < 1 || s.Batch < 1 || s.Writes < 1 || s.Rounds > 0 && s.Round <= 0 || s.Abuse < 0 || s.Addresses < 0 || s.Addresses > 200 {
		return errors.New("nodes, connections, batch, writes and round must be above 0, rounds and abuse not below, addresses from 0 to 200")
	}
	return nil
}

func run(s settings) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "cairn-benchrpc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := report{Machine: testnet.ThisMachine(ctx), Settings: s, Load: []string{loadAverage()}}
	net, err := testnet.Up(ctx, dir, s.Nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Do(context.Background(), "down")) }()
	if s.Rounds > 0 {
		if r.Figures, err = measure(ctx, net, s); err != nil {
			return err
		}
	}
	if s.Abuse > 0 {
		if r.Abuse, err = measureAbuse(ctx, net, s); err != nil {
			return err
		}
	}
	r.Load = append(r.Load, loadAverage())
	r.tables(os.Stderr)
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// loadAverage is that of the last minute, five and fifteen.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(raw)); err == nil && len(fields) > 3 {
		return strings.Join(fields[:3], " ")
	}
	return "unknown"
}
