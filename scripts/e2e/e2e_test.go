//go:build e2e

// Package e2e runs whole networks of real processes through scripts/testnet.sh:
// kills, restarts and power cuts under load. Replay a round with the same flags;
// which process dies when is drawn from -seed.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

var (
	rounds = flag.Int("rounds", 2, "rounds of killing every node under load")
	seed   = flag.Uint64("seed", 1, "of what dies when")
)

type network struct {
	*testnet.Network
	t       *testing.T
	ctx     context.Context
	clients []*rpc.Client
	chain   uint64
}

func start(t *testing.T, n int) *network {
	t.Helper()
	return startIn(t, t.TempDir(), 15*time.Minute, n, n)
}

// startIn runs n nodes in dir until the test ends, with ports for more; the test
// may take as long as limit. init are flags for `cairnd testnet init`.
func startIn(t *testing.T, dir string, limit time.Duration, n, more int, init ...string) *network {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	net, err := testnet.UpWith(ctx, dir, n, more, init...)
	if err != nil {
		t.Fatal(err)
	}
	w := &network{Network: net, t: t, ctx: ctx}
	t.Cleanup(func() {
		if err := w.Do(context.Background(), "down"); err != nil {
			t.Error(err)
		}
	})
	w.dial()
	if w.chain, err = net.Chain(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *network) dial() {
	w.t.Helper()
	w.clients = nil
	for i := range w.Nodes {
		c, err := w.Dial(w.ctx, i)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(c.Close)
		w.clients = append(w.clients, c)
	}
}

func (w *network) do(verb string, args ...string) {
	w.t.Helper()
	if err := w.Do(w.ctx, verb, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *network) resume() {
	w.t.Helper()
	net, err := w.Resume(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Network = net
	w.dial()
}

func (w *network) await(what string, limit time.Duration, check func() (bool, error)) {
	w.t.Helper()
	if err := testnet.Await(w.ctx, limit, check); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func (w *network) head(i int) uint64 {
	w.t.Helper()
	h, err := testnet.Head(w.ctx, w.clients[i])
	if err != nil {
		w.t.Fatalf("head of %s: %v", w.Nodes[i].Name, err)
	}
	return h
}

// pay sends one transfer from a development account through node i and waits
// until every node in at holds its receipt. It answers how long that took.
func (w *network) pay(i, account int, to crypto.Address, wei int64, at ...int) time.Duration {
	w.t.Helper()
	key, err := w.Key(account)
	if err != nil {
		w.t.Fatal(err)
	}
	nonce, err := testnet.Nonce(w.ctx, w.clients[i], key.Address(), "pending")
	if err != nil {
		w.t.Fatal(err)
	}
	tx, err := testnet.Transfer(w.chain, key, nonce, to, big.NewInt(wei))
	if err != nil {
		w.t.Fatal(err)
	}
	begun := time.Now()
	if err := testnet.Send(w.ctx, w.clients[i], tx); err != nil {
		w.t.Fatal(err)
	}
	for _, j := range at {
		w.await(fmt.Sprintf("receipt on %s", w.Nodes[j].Name), goesOn, func() (bool, error) {
			var r map[string]any
			err := w.clients[j].CallContext(w.ctx, &r, "eth_getTransactionReceipt", tx.Hash())
			return r != nil, err
		})
	}
	return time.Since(begun)
}

// sameBlocks compares every block of the chain on all nodes up to the lowest
// head.
func (w *network) sameBlocks() {
	w.t.Helper()
	top := w.head(0)
	for i := range w.clients {
		top = min(top, w.head(i))
	}
	for h := uint64(0); h <= top; h++ {
		var first *testnet.Block
		for i, c := range w.clients {
			b, err := testnet.BlockAt(w.ctx, c, h)
			if err != nil || b == nil {
				w.t.Fatalf("block %d of %s: %v %v", h, w.Nodes[i].Name, b, err)
			}
			if first == nil {
				first = b
			}
			if b.Hash != first.Hash || b.StateRoot != first.StateRoot {
				w.t.Fatalf("height %d: %s has %s, %s has %s", h, w.Nodes[0].Name, first.Hash, w.Nodes[i].Name, b.Hash)
			}
		}
	}
}

func recipient(i uint64) crypto.Address {
	return crypto.Address(crypto.Keccak256([]byte(fmt.Sprintf("recipient %d", i))).Bytes()[12:])
}

// TestKillOne: with one of four dead, transfers go on; it comes back, catches up
// by itself and votes.
func TestKillOne(t *testing.T) {
	w := start(t, 4)
	w.pay(0, 0, recipient(0), 1, 0, 1, 2, 3)
	w.do("kill", "node3")
	for i := range 10 {
		w.pay(i%3, i, recipient(1), 5, 0, 1, 2)
	}
	w.do("start", "node3")
	w.await("node3 at the head, voting", goesOn, func() (bool, error) {
		s, err := testnet.NodeStatus(w.ctx, w.clients[3])
		return err == nil && uint64(s.Height) >= w.head(0) && s.Voting && !s.Syncing, err
	})
	// Its vote is needed now: with another one dead there is no quorum without it.
	w.do("kill", "node0")
	for i := range 4 {
		w.pay(3, i, recipient(2), 7, 1, 2, 3)
	}
	w.do("start", "node0")
	w.await("node0 at the head", goesOn, func() (bool, error) {
		h, err := testnet.Head(w.ctx, w.clients[0])
		return h >= w.head(1), err
	})
	w.sameBlocks()
}

// goesOn is how long a network may take to make a transfer final after all of it
// was killed. It is a bound for liveness and generous: a chain that stands still
// fails, a busy machine does not. scripts/chaos measures the time.
const goesOn = time.Minute

// TestKillAll: every node is killed at once under load, again and again; what
// was final stays, and the chain goes on by itself.
func TestKillAll(t *testing.T) {
	w := start(t, 4)
	rng := rand.New(rand.NewPCG(*seed, 0))
	for round := range *rounds {
		before := w.loadUntilKilled(rng)
		w.resume()
		w.checkKept(before)
		begun := time.Now()
		w.pay(rng.IntN(4), 9, recipient(uint64(1000+round)), 3, 0, 1, 2, 3)
		if took := time.Since(begun); took > goesOn {
			t.Fatalf("round %d (-seed %d): the chain went on after %s", round, *seed, took)
		}
		t.Logf("round %d: height %d kept, a new transfer final on all four %s after the restart", round, before.height, time.Since(begun).Round(time.Millisecond))
	}
	w.sameBlocks()
}

// kept is what a client was told is final.
type kept struct {
	height   uint64
	hash     crypto.Hash
	balances map[crypto.Address]*big.Int
}

// loadUntilKilled sends transfers from nine accounts through all nodes, reads
// what is final, and kills everything at a random moment.
func (w *network) loadUntilKilled(rng *rand.Rand) kept {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	var sent atomic.Uint64
	for account := range 9 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w.stream(ctx, account, &sent)
		}()
	}
	w.await("load", goesOn, func() (bool, error) { return sent.Load() > 200, nil })
	timer := time.After(time.Duration(rng.IntN(700)) * time.Millisecond)
	<-timer
	out := w.readKept()
	var kills sync.WaitGroup
	for i := range w.Nodes {
		kills.Add(1)
		go func() {
			defer kills.Done()
			if err := w.Do(w.ctx, "kill", w.Nodes[i].Name); err != nil {
				w.t.Error(err)
			}
		}()
	}
	kills.Wait()
	stop()
	wg.Wait()
	return out
}

// stream sends transfers of one account, each nonce after the other, until ctx
// ends or the node dies.
func (w *network) stream(ctx context.Context, account int, sent *atomic.Uint64) {
	key, err := w.Key(account)
	if err != nil {
		w.t.Error(err)
		return
	}
	c := w.clients[account%len(w.clients)]
	nonce, err := testnet.Nonce(ctx, c, key.Address(), "pending")
	if err != nil {
		return
	}
	for i := uint64(0); ctx.Err() == nil; i++ {
		tx, err := testnet.Transfer(w.chain, key, nonce+i, recipient(i%50), big.NewInt(1))
		if err != nil {
			w.t.Error(err)
			return
		}
		if testnet.Send(ctx, c, tx) != nil {
			return
		}
		sent.Add(1)
	}
}

func (w *network) readKept() kept {
	w.t.Helper()
	k := kept{balances: make(map[crypto.Address]*big.Int)}
	for i := range w.clients {
		h := w.head(i)
		if h < k.height {
			continue
		}
		b, err := testnet.BlockAt(w.ctx, w.clients[i], h)
		if err != nil || b == nil {
			w.t.Fatalf("block %d: %v", h, err)
		}
		k.height, k.hash = h, b.Hash
	}
	for i := range uint64(50) {
		b, err := testnet.Balance(w.ctx, w.clients[0], recipient(i))
		if err != nil {
			w.t.Fatal(err)
		}
		k.balances[recipient(i)] = b
	}
	return k
}

// checkKept holds the resumed network against what clients were told before:
// each node has the same block at the old height, and no recipient, who never
// pays, has less.
func (w *network) checkKept(k kept) {
	w.t.Helper()
	for i := range w.clients {
		w.await(fmt.Sprintf("%s at the old head", w.Nodes[i].Name), goesOn, func() (bool, error) {
			h, err := testnet.Head(w.ctx, w.clients[i])
			return h >= k.height, err
		})
		b, err := testnet.BlockAt(w.ctx, w.clients[i], k.height)
		if err != nil || b == nil || b.Hash != k.hash {
			w.t.Fatalf("%s: block %d was %s, is %v (%v)", w.Nodes[i].Name, k.height, k.hash, b, err)
		}
		for a, had := range k.balances {
			has, err := testnet.Balance(w.ctx, w.clients[i], a)
			if err != nil || has.Cmp(had) < 0 {
				w.t.Fatalf("%s: %s had %s, has %s (%v)", w.Nodes[i].Name, a, had, has, err)
			}
		}
	}
}

// TestSmall: networks of one and of two work and survive restarts.
func TestSmall(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d", n), func(t *testing.T) {
			w := start(t, n)
			all := []int{0, 1}[:n]
			w.pay(0, 0, recipient(0), 5, all...)
			before := w.head(0)
			w.do("down")
			w.resume()
			if h := w.head(0); h < before {
				t.Fatalf("height %d before the restart, %d after", before, h)
			}
			w.pay(n-1, 1, recipient(0), 6, all...)
			w.do("restart", w.Nodes[n-1].Name)
			w.do("restart")
			w.pay(0, 2, recipient(0), 7, all...)
			b, err := testnet.Balance(w.ctx, w.clients[0], recipient(0))
			if err != nil || b.Int64() != 18 {
				t.Fatalf("balance %s, want 18 (%v)", b, err)
			}
			w.sameBlocks()
		})
	}
}

// TestAdd: a fresh full node joins, has the same chain and gives the same
// answers, and follows.
func TestAdd(t *testing.T) {
	w := start(t, 4)
	for i := range 20 {
		w.pay(i%4, i%10, recipient(uint64(i)), 1, 0)
	}
	w.do("add")
	net, err := w.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(net.Nodes) != 5 || net.Nodes[4].Name != "node4" || net.Nodes[4].Validator {
		t.Fatalf("status after add: %+v", net.Nodes)
	}
	w.Network = net
	w.dial()
	w.sameBlocks()
	w.pay(4, 0, recipient(0), 1, 0, 1, 2, 3, 4)
	for i := range uint64(20) {
		a, err := testnet.Balance(w.ctx, w.clients[0], recipient(i))
		if err != nil {
			t.Fatal(err)
		}
		b, err := testnet.Balance(w.ctx, w.clients[4], recipient(i))
		if err != nil || a.Cmp(b) != 0 {
			t.Fatalf("balance of %s: %s on node0, %s on node4 (%v)", recipient(i), a, b, err)
		}
	}
}
