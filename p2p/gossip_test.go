package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// startHosts starts n hosts; the first is the others' bootnode.
func startHosts(t testing.TB, n int, change func(i int, cfg *Config)) (hosts []*Host, boxes []*inbox) {
	t.Helper()
	for i := range n {
		cfg := testConfig(t, i)
		if i > 0 {
			cfg.Bootnodes = hosts[0].ListenAddrs()
		}
		if change != nil {
			change(i, &cfg)
		}
		box := &inbox{}
		hosts, boxes = append(hosts, startHost(t, cfg, box.handlers())), append(boxes, box)
	}
	return hosts, boxes
}

// mesh starts n connected hosts whose gossip has seen each other.
func mesh(t testing.TB, n int, change func(i int, cfg *Config)) ([]*Host, []*inbox) {
	t.Helper()
	hosts, boxes := startHosts(t, n, change)
	for _, h := range hosts {
		eventually(t, "topics know all peers", func() bool {
			return len(h.gossip.transactions.ListPeers()) == n-1 && len(h.gossip.finalizations.ListPeers()) == n-1
		})
	}
	return hosts, boxes
}

func TestGossipReachesAllOnce(t *testing.T) {
	t.Parallel()
	const n, each, together = 5, 400, 20
	hosts, boxes := mesh(t, n, func(_ int, cfg *Config) { cfg.BatchBytes = 4 << 10 })
	for i := range each / together {
		for j, h := range hosts {
			var raws [][]byte
			for k := range together {
				raws = append(raws, bytes.Repeat([]byte(fmt.Sprintf("%d/%04d", j, i*together+k)), 20))
			}
			h.PublishTransactions(raws...)
		}
	}
	for j, h := range hosts {
		h.PublishFinalization([]byte(fmt.Sprint("finalization of ", j)))
	}
	for j, box := range boxes {
		eventually(t, "all transactions", func() bool { return len(box.got(&box.transactions)) >= (n-1)*each })
		eventually(t, "all finalizations", func() bool { return len(box.got(&box.finalizations)) >= n-1 })
		count := map[string]int{}
		for _, raw := range box.got(&box.transactions) {
			count[raw[:6]]++
		}
		for from := range n {
			for i := range each {
				want := 1
				if from == j {
					want = 0 // own ones do not come back
				}
				if got := count[fmt.Sprintf("%d/%04d", from, i)]; got != want {
					t.Fatalf("node %d got transaction %d/%d %d times, want %d", j, from, i, got, want)
				}
			}
		}
		if got := box.got(&box.finalizations); len(got) != n-1 || slices.Contains(got, fmt.Sprint("finalization of ", j)) {
			t.Fatalf("node %d got %q", j, got)
		}
	}
	// However slowly they came: what came together left in one batch or two.
	if m := hosts[0].Metrics(); m["transactions_published_total"] != each || m["batches_published_total"] > 2*each/together {
		t.Errorf("not batched: %d transactions in %d batches", m["transactions_published_total"], m["batches_published_total"])
	}
}

// TestGossipKeepsOrder: a sender's nonces arrive in order, however many batches.
func TestGossipKeepsOrder(t *testing.T) {
	t.Parallel()
	hosts, boxes := mesh(t, 2, func(_ int, cfg *Config) { cfg.BatchBytes = 1 << 10 })
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprintf("transaction with nonce %d", i))
		hosts[0].PublishTransactions([]byte(want[i]))
	}
	eventually(t, "all transactions", func() bool { return len(boxes[1].got(&boxes[1].transactions)) == len(want) })
	if !slices.Equal(boxes[1].got(&boxes[1].transactions), want) {
		t.Fatal("another order")
	}
}

// TestOneTransactionLeavesAtOnce: no batch delay when there is nothing to wait
// for. One that waited would take a second every time; a busy machine may at
// times.
func TestOneTransactionLeavesAtOnce(t *testing.T) {
	t.Parallel()
	hosts, boxes := mesh(t, 2, func(_ int, cfg *Config) { cfg.BatchDelay = time.Second })
	var took []time.Duration
	for i := range 10 {
		began := time.Now()
		hosts[0].PublishTransactions(fmt.Append(nil, "alone ", i))
		eventually(t, "it leaves", func() bool { return hosts[0].Metrics()["batches_published_total"] == uint64(i+1) })
		took = append(took, time.Since(began))
		eventually(t, "it arrives", func() bool { return len(boxes[1].got(&boxes[1].transactions)) == i+1 })
		if took[i] < time.Second {
			return
		}
		time.Sleep(2 * time.Second) // the sender rests for BatchDelay after each batch
	}
	t.Fatalf("they waited %s", took)
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verdict Verdict
		metric  string
		passed  bool
	}{
		{Accept, "gossip_accepted_total", true},
		{Ignore, "gossip_ignored_total", false},
		{Reject, "gossip_rejected_total", false},
	} {
		t.Run(c.verdict.String(), func(t *testing.T) {
			t.Parallel()
			// A line of three: what the middle passes on reaches the end.
			boxes := []*inbox{{}, {verdict: c.verdict}, {}}
			var hosts []*Host
			for i, box := range boxes {
				cfg := testConfig(t, i)
				cfg.MaxPeers = 1 // looks for no more
				if i == 1 {
					cfg.MaxPeers = 2
				}
				hosts = append(hosts, startHost(t, cfg, box.handlers()))
			}
			connect(t, hosts[0], hosts[1])
			connect(t, hosts[2], hosts[1])
			for i, n := range []int{1, 2, 1} {
				eventually(t, "topic peers", func() bool { return len(hosts[i].gossip.transactions.ListPeers()) == n })
			}
			if c.passed {
				// The mesh is there some heartbeats after the topic's peers are.
				n := 0
				eventually(t, "both at the end", func() bool {
					n++
					hosts[0].PublishTransactions([]byte(fmt.Sprint("transaction ", n)))
					hosts[0].PublishFinalization([]byte(fmt.Sprint("finalization ", n)))
					return len(boxes[2].got(&boxes[2].transactions)) > 0 && len(boxes[2].got(&boxes[2].finalizations)) > 0
				})
				return
			}
			hosts[0].PublishTransactions([]byte("transaction"))
			hosts[0].PublishFinalization([]byte("finalization"))
			eventually(t, "both verdicts", func() bool { return hosts[1].Metrics()[c.metric] == 2 })
			if len(boxes[2].got(&boxes[2].transactions)) != 0 {
				t.Fatal("passed on")
			}
			if charged := hosts[1].gater.points(hosts[0].ID()) > 0; charged != (c.verdict == Reject) {
				t.Fatalf("charged: %v", charged)
			}
		})
	}
}

func TestMalformedBatchIsRejected(t *testing.T) {
	t.Parallel()
	hosts, boxes := mesh(t, 2, nil)
	if err := hosts[0].gossip.transactions.Publish(context.Background(), []byte{5, 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rejection", func() bool {
		m := hosts[1].Metrics()
		return m["gossip_rejected_total"] == 1 && m["frames_malformed_total"] == 1
	})
	if got := boxes[1].got(&boxes[1].transactions); len(got) != 0 {
		t.Fatalf("handed over: %q", got)
	}
}

func TestPublishDrops(t *testing.T) {
	t.Parallel()
	hosts, _ := mesh(t, 1, nil)
	h := hosts[0]
	h.PublishTransactions(nil, make([]byte, h.cfg.MaxTransactionBytes+1))
	h.PublishFinalization(make([]byte, h.cfg.MaxFinalizationBytes+1))
	if m := h.Metrics(); m["transactions_dropped_total"] != 2 || m["finalizations_published_total"] != 0 {
		t.Fatalf("%v", m)
	}
}

func TestOverloadIsIgnored(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	h := startHost(t, testConfig(t, 0), Handlers{Transactions: func(ctx context.Context, _ peer.ID, _ [][]byte) Verdict {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return Accept
	}})
	defer close(block)
	refused := 0
	for range maxTransactionJobs + 10 {
		if h.gossip.enqueue(testID(t, 1), [][]byte{{1}}) == nil {
			refused++
		}
	}
	if refused < 9 || h.Metrics()["gossip_overload_total"] != uint64(refused) {
		t.Fatalf("%d refused, counted %d", refused, h.Metrics()["gossip_overload_total"])
	}
}

func TestSendTransactions(t *testing.T) {
	t.Parallel()
	hosts, boxes := mesh(t, 2, nil)
	var raws [][]byte
	for i := range 2000 { // several batches, and fewer than a peer may send at once
		raws = append(raws, bytes.Repeat([]byte(fmt.Sprintf("%04d", i)), 20))
	}
	for i := range 2 { // the same bytes again: gossip would drop them
		if err := hosts[0].SendTransactions(hosts[1].ID(), raws); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all of them", func() bool { return len(boxes[1].got(&boxes[1].transactions)) == (i+1)*len(raws) })
	}
	if err := hosts[0].SendTransactions(testID(t, 9), raws[:1]); !errors.Is(err, ErrNotConnected) {
		t.Errorf("to a stranger: %v", err)
	}
	if err := hosts[0].SendTransactions(hosts[1].ID(), [][]byte{nil}); !errors.Is(err, ErrBatchMalformed) {
		t.Errorf("empty transaction: %v", err)
	}
	s := openStream(t, hosts[0], hosts[1], "transactions")
	s.Write(appendFrame(nil, []byte{200}))
	expectEnd(t, s)
	eventually(t, "the malformed batch is counted", func() bool { return hosts[1].Metrics()["frames_malformed_total"] == 1 })
}
