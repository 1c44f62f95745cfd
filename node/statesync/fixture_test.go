package statesync_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
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
	"cairn/node/fetch/fetchtest"
	"cairn/node/statesync"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network is a chain with checkpoints, and peers in memory that serve them.
type network struct {
	*fetchtest.Network
	t     testing.TB
	chain *lighttest.Chain
	dir   *snapshot.Dir
	fs    vfs.FS
	state *statesync.Server
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
	n := &network{t: t, chain: c, dir: dir, fs: fs, state: statesync.NewServer(dir, c.Ledger)}
	serve := (&blocksync.Server{Ledger: c.Ledger}).Requests()
	maps.Copy(serve, n.state.Requests())
	n.Network = fetchtest.New(serve, time.Millisecond, peers...)
	n.checkpoint()
	t.Cleanup(func() {
		n.Wait()
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
