package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/scripts/internal/load"
	"cairn/scripts/internal/testnet"
)

// Pauses of what watches a node under abuse.
const (
	watchEvery = 5 * time.Millisecond  // between two reads of the other client
	sizeEvery  = 20 * time.Millisecond // between two looks at the node's memory
)

// walkers send single transfers, each one after the other.
const walkers = 3

// abuseReport is what one node bore, and what the others and consensus noticed.
type abuseReport struct {
	Calm  *strain   `json:"calm"` // before
	Kinds []*strain `json:"kinds"`
	After *strain   `json:"after"` // when all is over
}

// strain is a span of time. The other client reads from the node under abuse;
// finality is of single transfers through all nodes in turn.
type strain struct {
	Kind     string            `json:"kind"`
	Before   int64             `json:"memoryBeforeBytes"` // resident, of the node under abuse
	Most     int64             `json:"memoryMostBytes"`
	After    int64             `json:"memoryAfterBytes"` // when the abusers have left
	Reads    int               `json:"otherClientReads"`
	Failed   int               `json:"otherClientFailed"`
	P50      float64           `json:"otherClientP50Millis"`
	P99      float64           `json:"otherClientP99Millis"`
	Max      float64           `json:"otherClientMaxMillis"`
	Finality *testnet.Finality `json:"finality"`
	Control  *testnet.Finality `json:"controlFinality,omitempty"` // with the same traffic to a process that does nothing else
	Heard    map[string]int    `json:"abusersHeard,omitempty"`    // what the node answered them, by kind
}

// measureAbuse abuses node 0 in each way for a while.
func measureAbuse(ctx context.Context, net *testnet.Network, o settings) (out *abuseReport, err error) {
	addr, stop, err := startSink(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	w := &watch{node: net.Nodes[0], long: o.Abuse}
	defer w.close()
	if err := w.connect(ctx, net); err != nil {
		return nil, err
	}
	out = new(abuseReport)
	if out.Calm, err = w.strain(ctx, "none", nil); err != nil {
		return nil, err
	}
	for _, a := range attacks {
		if !strings.Contains(a.kind, o.Only) {
			continue
		}
		s := &strangers{node: net.Nodes[0], addresses: o.Addresses}
		kind, err := w.strain(ctx, a.kind, func(ctx context.Context, t *tally) error { return a.run(ctx, s, t) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.kind, err)
		}
		control, err := w.strain(ctx, a.kind, s.traffic.replay(addr, o.Abuse))
		if err != nil {
			return nil, fmt.Errorf("the control of %s: %w", a.kind, err)
		}
		kind.Control = control.Finality
		out.Kinds = append(out.Kinds, kind)
	}
	out.After, err = w.strain(ctx, "none", nil)
	return out, err
}

// connect gets ready to measure finality.
func (w *watch) connect(ctx context.Context, net *testnet.Network) error {
	chain, err := net.Chain()
	if err != nil {
		return err
	}
	for i := range walkers {
		key, err := net.Key(len(net.Accounts) - 1 - i)
		if err != nil {
			return err
		}
		s, err := testnet.NewSingles(ctx, net.Nodes, chain, key)
		if err != nil {
			return err
		}
		w.singles = append(w.singles, s)
	}
	return nil
}

func (w *watch) close() {
	for _, s := range w.singles {
		s.Close()
	}
}

// attack is one way to abuse a node. run goes on until its context ends, notes
// what it hears, and fails only if it could not abuse as it should.
type attack struct {
	kind string
	run  func(ctx context.Context, from *strangers, heard *tally) error
}

// tally counts answers by kind.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(kind string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[string]int)
	}
	t.counts[kind] += n
}

// watch measures a node while something happens to it.
type watch struct {
	node    testnet.Node
	singles []*testnet.Singles // that send at once
	long    time.Duration
}

// strain runs an attack, which may be nil, and beside it the other client, the look
// at the memory and the single transfers.
func (w *watch) strain(ctx context.Context, kind string, attack func(context.Context, *tally) error) (*strain, error) {
	out := &strain{Kind: kind}
	var err error
	if out.Before, err = load.Memory(w.node.PID, "VmRSS"); err != nil {
		return nil, err
	}
	during, stop := context.WithTimeout(ctx, w.long)
	defer stop()
	heard := new(tally)
	var g errgroup.Group
	if attack != nil {
		g.Go(func() error { return ended(during, attack(during, heard)) })
	}
	var reads []time.Duration
	var finalities []time.Duration
	var mu sync.Mutex
	g.Go(func() error { reads, out.Failed = w.read(during); return nil })
	g.Go(func() error { out.Most = w.memory(during); return nil })
	for _, s := range w.singles {
		g.Go(func() error {
			for during.Err() == nil {
				took, err := s.One(ctx)
				if err != nil {
					return err
				}
				mu.Lock()
				finalities = append(finalities, took)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(finalities) == 0 || len(reads) == 0 {
		return nil, errors.New("nothing became final, or the other client was answered nothing")
	}
	out.Heard, out.Finality = heard.counts, testnet.FinalityOf(finalities)
	out.Reads, out.P50, out.P99, out.Max = len(reads), latency(reads, 0.5), latency(reads, 0.99), latency(reads, 1)
	if out.After, err = w.settled(ctx); err != nil {
		return nil, err
	}
	return out, nil
}

// ended is nil for what the end of the time has caused.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// read is the other client: one small read after the other.
func (w *watch) read(ctx context.Context) (times []time.Duration, failed int) {
	request := post(w.node.RPC, call(1, "eth_blockNumber"))
	var l *httpLink
	for ctx.Err() == nil {
		at := time.Now()
		var err error
		if l == nil {
			l, err = dialHTTP(ctx, w.node.RPC, nil)
		}
		if err == nil {
			_, err = l.ask(request)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			failed++
			if l != nil {
				l.Close()
				l = nil
			}
		default:
			times = append(times, time.Since(at))
		}
		pause(ctx, watchEvery)
	}
	if l != nil {
		l.Close()
	}
	return times, failed
}

// memory is the most that the node held.
func (w *watch) memory(ctx context.Context) (most int64) {
	for ctx.Err() == nil {
		if now, err := load.Memory(w.node.PID, "VmRSS"); err == nil {
			most = max(most, now)
		}
		pause(ctx, sizeEvery)
	}
	return most
}

// settled is the memory a moment after the abusers have left, when it falls no
// more.
func (w *watch) settled(ctx context.Context) (int64, error) {
	last, err := load.Memory(w.node.PID, "VmRSS")
	for range 8 {
		if err != nil {
			return 0, err
		}
		pause(ctx, 500*time.Millisecond)
		now, failure := load.Memory(w.node.PID, "VmRSS")
		if failure == nil && now >= last {
			return now, nil
		}
		last, err = now, failure
	}
	return last, err
}

// pause is between two measurements; it waits for no state.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
