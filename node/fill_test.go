package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/archive"
	"cairn/node/blocksync"
	"cairn/node/fetch"
	"cairn/node/fetch/fetchtest"
	"cairn/node/rpc"
	"cairn/node/statesync"
)

// receipt is what the bytes of a receipt hold.
type receipt struct {
	Type                      uint8
	Status, CumulativeGasUsed uint64
	Bloom                     types.Bloom
	Logs                      []struct {
		Address [20]byte
		Topics  [][32]byte
		Data    []byte
	}
}

// receiptLies are lies in each part of an answer to "receipts".
func receiptLies() map[string]func(a *blocksync.ReceiptsAnswer) {
	change := func(edit func(*types.Receipt)) func(a *blocksync.ReceiptsAnswer) {
		return func(a *blocksync.ReceiptsAnswer) {
			for _, of := range a.Blocks {
				for i := range of {
					r := new(types.Receipt)
					if err := r.UnmarshalBinary(of[i]); err != nil {
						panic(err) // the server's own
					}
					edit(r)
					of[i], _ = r.MarshalBinary()
				}
			}
		}
	}
	return map[string]func(a *blocksync.ReceiptsAnswer){
		"Blocks.Status":            change(func(r *types.Receipt) { r.Status ^= 1 }),
		"Blocks.CumulativeGasUsed": change(func(r *types.Receipt) { r.CumulativeGasUsed++ }),
		"Blocks.Bloom":             change(func(r *types.Receipt) { r.Bloom[7] ^= 1 }),
		"Blocks.Type":              change(func(r *types.Receipt) { r.Type ^= types.DynamicFeeTxType }),
		"Blocks.Logs: one more":    change(func(r *types.Receipt) { r.Logs = append(r.Logs, &types.Log{Data: []byte{1}}) }),
		"Blocks.Logs.Address":      change(logs(func(l *types.Log) { l.Address[0] ^= 1 })),
		"Blocks.Logs.Topics":       change(logs(func(l *types.Log) { l.Topics[0][0] ^= 1 })),
		"Blocks.Logs.Data":         change(logs(func(l *types.Log) { l.Data = append(l.Data, 1) })),
		"Blocks: one less": func(a *blocksync.ReceiptsAnswer) {
			last := len(a.Blocks) - 1
			a.Blocks[last] = a.Blocks[last][:len(a.Blocks[last])-1]
		},
		"Blocks: one more": func(a *blocksync.ReceiptsAnswer) {
			last := len(a.Blocks) - 1
			a.Blocks[last] = append(a.Blocks[last], a.Blocks[last][0])
		},
		"Blocks: block more":         func(a *blocksync.ReceiptsAnswer) { a.Blocks = append(a.Blocks, a.Blocks[0]) },
		"Blocks: of the block below": func(a *blocksync.ReceiptsAnswer) { a.Blocks = append([][][]byte{nil}, a.Blocks[:len(a.Blocks)-1]...) },
		"Blocks: junk":               func(a *blocksync.ReceiptsAnswer) { a.Blocks[len(a.Blocks)-1][0] = []byte{0x02, 0xc0} },
		"Blocks: empty":              func(a *blocksync.ReceiptsAnswer) { a.Blocks[len(a.Blocks)-1][0] = nil },
	}
}

func logs(edit func(*types.Log)) func(*types.Receipt) {
	return func(r *types.Receipt) {
		for _, l := range r.Logs {
			edit(l)
		}
	}
}

// servedSnapshot is a chain with a snapshot of its head, and what serves both.
func servedSnapshot(t *testing.T) (*lighttest.Chain, map[string]func(context.Context, []byte) ([]byte, error)) {
	t.Helper()
	spec := lighttest.Spec(4)
	spec.Rules.CheckpointInterval = 1
	served := t.TempDir()
	c := lighttest.NewOf(t, spec, filepath.Join(served, "data"), store.Options{CacheBytes: 8 << 20}, ledger.Options{})
	c.Seal(c.Transfer(0), c.Transfer(1), c.Transfer(2))
	c.Register(4) // has a log
	c.Seal(c.Transfer(0), c.Transfer(1), c.Transfer(2))
	dir, err := snapshot.OpenDir(filepath.Join(served, "snapshots"), store.Options{CacheBytes: 8 << 20}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	dir.Take(c.Store, c.Ledger.HeadInfo().Height, func(_ time.Duration, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	dir.Close() // waits for it
	states := statesync.NewServer(dir, c.Ledger)
	t.Cleanup(func() {
		if err := states.Close(); err != nil {
			t.Error(err)
		}
	})
	serve := (&blocksync.Server{Ledger: c.Ledger}).Requests()
	maps.Copy(serve, states.Requests())
	return c, serve
}

// TestReceiptLies: whatever a peer says wrong of receipts, nothing of it is
// stored, the peer is held to have lied, and the fill ends with what the honest
// peer has.
func TestReceiptLies(t *testing.T) {
	t.Parallel()
	c, serve := servedSnapshot(t)
	lighttest.Covered(t, blocksync.ReceiptsAnswer{}, map[string]any{"Blocks": receipt{}}, receiptLies())
	lies := map[string]func(honest []byte) []byte{"no RLP": func([]byte) []byte { return []byte("junk") }}
	for name, lie := range receiptLies() {
		lies[name] = func(honest []byte) []byte {
			a, err := blocksync.DecodeReceiptsAnswer(honest, &c.Spec.Rules)
			if err != nil || len(a.Blocks) == 0 {
				panic(fmt.Sprint("an honest answer: ", err))
			}
			lie(a)
			return fetch.Encode(a)
		}
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			for range 50 { // until the liar is the one who is asked
				w := fetchtest.New(serve, 0, "liar", "honest")
				told := w.Lies("liar", blocksync.RequestReceipts, func(honest []byte) ([]byte, bool) { return lie(honest), true })
				fillFrom(t, c, w)
				lied := w.Liars()
				if lied["honest"] != nil {
					t.Fatalf("the honest peer was held to have lied: %v", lied["honest"])
				}
				if told := told.Load(); told > 0 {
					if told != 1 || lied["liar"] == nil {
						t.Errorf("told %d times; held to have lied: %v", told, lied["liar"])
					}
					return
				}
			}
			t.Error("the liar was never asked")
		})
	}
}

// joined is as much of a node as fill needs, on a database that has joined by a
// snapshot.
func joined(t *testing.T, c *lighttest.Chain, w *fetchtest.Network) (*Node, *blocksync.Sets) {
	t.Helper()
	start, err := light.FromGenesis(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	at, pool, sets := filepath.Join(t.TempDir(), "joining"), fetch.New(w), blocksync.NewSets(start, nil)
	if _, err := statesync.Join(t.Context(), &statesync.Config{
		Dir: at, Spec: c.Spec, Options: store.Options{CacheBytes: 8 << 20}, Pool: pool, Sets: sets, Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(at, store.Options{CacheBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := ledger.Open(st, c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{ledger: l, rules: &c.Spec.Rules, serving: newServing(blocksync.Server{Ledger: l}, nil, 1)}
	d.sync = &syncer{d: d, pool: pool, spec: c.Spec}
	return &Node{driver: d, log: slog.New(slog.DiscardHandler)}, sets
}

// fillFrom joins by a snapshot, fills the blocks below from peers, and compares
// what is stored with the chain.
func fillFrom(t *testing.T, c *lighttest.Chain, w *fetchtest.Network) {
	t.Helper()
	n, sets := joined(t, c, w)
	l := n.driver.ledger
	for count := uint64(fillCount); l.Bounds().FirstBody > 1; {
		var err error
		if count, err = n.fillBelow(t.Context(), sets, l.Bounds().FirstBody, min(count, l.Bounds().FirstBody-1)); err != nil {
			t.Fatal(err)
		}
	}
	for h := uint64(1); h <= c.Ledger.HeadInfo().Height; h++ {
		want, err := c.Ledger.Receipts(h)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Receipts(h)
		if err != nil || len(got) != len(want) {
			t.Fatalf("block %d: %d receipts, want %d, %v", h, len(got), len(want), err)
		}
		for i := range want {
			a, errA := want[i].MarshalBinary()
			b, errB := got[i].MarshalBinary()
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("block %d, receipt %d: %x, want %x", h, i, b, a)
			}
		}
	}
}

// TestFillSnapshotBlock: the block of the snapshot is fetched, and none below; none
// at all if pruning has gone past it before its turn came.
func TestFillSnapshotBlock(t *testing.T) {
	t.Parallel()
	for name, past := range map[string]bool{"": false, "pruned past it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, serve := servedSnapshot(t)
			w := fetchtest.New(serve, 0, "honest")
			n, _ := joined(t, c, w)
			l := n.driver.ledger
			base := l.Bounds().Base
			want := store.Bounds{Base: base, FirstBody: base}
			c.Seal(c.Transfer(0))
			if err := archive.Apply(t.Context(), l, archive.Stored(c.Store.View, base+1, base+1), archive.Options{Prune: prunable, Progress: func(uint64) {}}); err != nil {
				t.Fatal(err)
			}
			n.driver.sync.catching.Store(true)
			begun, done := make(chan struct{}), make(chan error, 1)
			begins := sync.OnceFunc(func() { close(begun) })
			n.cfg.Progress = func(*rpc.Sync) { begins() }
			go func() { done <- n.fill(t.Context()) }()
			<-begun
			if past {
				want.FirstBody = base + 2
				if err := l.RaiseBounds(want); err != nil {
					t.Fatal(err)
				}
			}
			n.driver.sync.catching.Store(false)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if asked := w.Asked("honest", blocksync.RequestBlocks); l.Bounds() != want || asked > 0 == past {
				t.Errorf("bounds %+v, want %+v; asked %d times", l.Bounds(), want, asked)
			}
			if _, err := l.Receipts(base); !past && err != nil {
				t.Error(err)
			}
		})
	}
}
