package statesync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network is a chain with checkpoints, and peers in memory that serve them, each
// as its answer function says; nil = honestly.
type network struct {
	t      testing.TB
	chain  *lighttest.Chain
	dir    *snapshot.Dir
	fs     vfs.FS
	blocks blocksync.Server
	state  *statesync.Server

	asking sync.WaitGroup // requests under way, also those that nobody waits for any more

	mu      sync.Mutex
	order   []peer.ID
	answers map[peer.ID]func(name string, request, honest []byte) ([]byte, error)
	asked   map[string]int // by peer/request
	lied    map[peer.ID]error
}

const checkpoints = "/data/snapshots"

// newNetwork makes a chain of two epochs with accounts, and a checkpoint.
func newNetwork(t testing.TB, accounts int, peers ...peer.ID) *network {
	fs := vfs.NewMem()
	spec := lighttest.Spec(4)
	spec.Rules.CheckpointInterval = 1
	c := lighttest.NewOf(t, spec, "/data/ledger", store.Options{FS: fs}, ledger.Options{})
	c.Seal(c.Transfer(0))
	c.Change(4, true)
	for i := 0; i < accounts; i += 50 {
		n := &network{t: t, chain: c}
		n.pay(i, min(50, accounts-i))
	}
	dir, err := snapshot.OpenDir(checkpoints, store.Options{FS: fs}, 0)
	check(t, err)
	n := &network{
		t: t, chain: c, dir: dir, fs: fs, blocks: blocksync.Server{Ledger: c.Ledger}, state: statesync.NewServer(dir, c.Ledger), order: peers,
		answers: map[peer.ID]func(string, []byte, []byte) ([]byte, error){}, asked: map[string]int{}, lied: map[peer.ID]error{},
	}
	n.checkpoint()
	t.Cleanup(func() {
		n.asking.Wait()
		check(t, n.state.Close())
		dir.Close()
	})
	return n
}

// pay makes a block of transfers to accounts that are not there yet.
func (n *network) pay(from, count int) {
	var txs []*types.Transaction
	for i := from; i < from+count; i++ {
		to := crypto.Address(crypto.Keccak256(fmt.Appendf(nil, "account %d", i)).Bytes()[:20])
		txs = append(txs, n.chain.Transaction(lighttest.Account(i%3), to, int64(i+1), 21_000, nil))
	}
	n.chain.Seal(txs...)
}

// checkpoint takes one at the head.
func (n *network) checkpoint() uint64 {
	h := n.chain.Ledger.HeadInfo().Height
	var failed error
	n.dir.Take(n.chain.Store, h, func(_ time.Duration, err error) { failed = err })
	n.dir.Close() // waits for it
	check(n.t, failed)
	return h
}

func (n *network) Peers() []peer.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.order)
}

func (n *network) Request(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error) {
	n.asking.Add(1)
	defer n.asking.Done()
	n.mu.Lock()
	n.asked[string(p)+"/"+name]++
	answer := n.answers[p]
	n.mu.Unlock()
	select {
	case <-time.After(time.Millisecond): // of the bubble: the way there and back
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	serve := map[string]func(context.Context, []byte) ([]byte, error){
		blocksync.RequestBlocks: n.blocks.Blocks, blocksync.RequestEpochs: n.blocks.Epochs,
		statesync.RequestSnapshots: n.state.Snapshots, statesync.RequestAccounts: n.state.Accounts,
		statesync.RequestSlots: n.state.Slots, statesync.RequestCode: n.state.Code,
	}[name]
	if serve == nil {
		return nil, fmt.Errorf("request %q", name)
	}
	honest, err := serve(ctx, request)
	if err != nil || answer == nil {
		return honest, err
	}
	return answer(name, request, honest)
}

func (n *network) Lied(p peer.ID, _ string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lied[p] = err
}

func (n *network) Failed(peer.ID, string, error) {}

func (n *network) liar(p peer.ID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lied[p]
}

func (n *network) count(p peer.ID, name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[string(p)+"/"+name]
}

// joiner is a node that joins, with a home on disk.
type joiner struct {
	t   testing.TB
	n   *network
	cfg *statesync.Config
}

func newJoiner(t testing.TB, n *network) *joiner { return newPinned(t, n, nil) }

// newPinned is a joiner whose operator trusts a block.
func newPinned(t testing.TB, n *network, pin *blocksync.Pin) *joiner {
	start, err := light.FromGenesis(n.chain.Spec)
	check(t, err)
	pool, sets := fetch.New(n), blocksync.NewSets(start, pin)
	check(t, sets.Extend(n.chain.Steps()))
	cfg := &statesync.Config{
		Dir: filepath.Join(t.TempDir(), "joining"), Spec: n.chain.Spec, Options: store.Options{CacheBytes: 8 << 20},
		Pool: pool, Sets: sets, Pin: pin, Log: slog.New(slog.DiscardHandler),
	}
	cfg.Hurry()
	return &joiner{t: t, n: n, cfg: cfg}
}

// same opens the new database, replays the tail and compares it with the chain.
func (j *joiner) same(height uint64) {
	j.t.Helper()
	st, err := store.Open(j.cfg.Dir, store.Options{CacheBytes: 8 << 20})
	check(j.t, err)
	defer func() { check(j.t, st.Close()) }()
	l, err := ledger.Open(st, j.n.chain.Spec)
	check(j.t, err)
	if at := l.HeadInfo().Height; at != height {
		j.t.Fatalf("joined at %d, want %d", at, height)
	}
	want, err := j.n.chain.Ledger.HeaderByHeight(height)
	check(j.t, err)
	if l.Head().Root != want.Root || l.Head().Hash() != want.Hash() {
		j.t.Fatalf("joined at %s with root %s, want %s with %s", l.Head().Hash(), l.Head().Root, want.Hash(), want.Root)
	}
	for h := height + 1; h <= j.n.chain.Ledger.HeadInfo().Height; h++ {
		b, err := j.n.chain.Ledger.BlockByHeight(h)
		check(j.t, err)
		check(j.t, l.Execute(b))
		cert, err := j.n.chain.Ledger.Certificate(h)
		check(j.t, err)
		_, err = l.Finalize(b.Hash(), cert, ledger.Floor{Epoch: l.HeadInfo().Epoch, View: l.HeadInfo().View + 1}, nil)
		check(j.t, err)
	}
	if a, b := l.Head().Root, j.n.chain.Ledger.Head().Root; a != b {
		j.t.Fatalf("after the tail: root %s, want %s", a, b)
	}
	a, epoch := l.Validators()
	b, _ := j.n.chain.Ledger.Validators()
	if a.Hash() != b.Hash() || epoch == 0 {
		j.t.Fatalf("epoch %d with another set", epoch)
	}
}

var errGone = errors.New("connection reset")
