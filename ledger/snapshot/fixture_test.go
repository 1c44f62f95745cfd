package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/ledger/trie"
	"cairn/light/lighttest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// interval is the checkpoint interval of every test network.
const interval = 8

// network is a chain that keeps snapshots, with accounts more than it uses.
type network struct {
	*lighttest.Chain
	fs     *vfs.MemFS
	dir    *snapshot.Dir
	rounds int
}

func newNetwork(t testing.TB, accounts int) *network {
	t.Helper()
	spec := lighttest.Spec(4)
	spec.Rules.CheckpointInterval = interval
	for i := range accounts {
		h := crypto.Keccak256(fmt.Appendf(nil, "account %d", i))
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: crypto.Address(h[:20]), Balance: uint256.NewInt(uint64(i) + 1)})
	}
	fs := vfs.NewMem()
	dir, err := snapshot.OpenDir("/data/snapshots", store.Options{FS: fs}, 0)
	check(t, err)
	t.Cleanup(dir.Close)
	c := lighttest.NewOf(t, spec, "/data/ledger", store.Options{FS: fs}, ledger.Options{Snapshots: dir, OnSnapshot: func(height uint64, _ time.Duration, err error) {
		if err != nil {
			t.Errorf("snapshot at height %d: %v", height, err)
		}
	}})
	return &network{Chain: c, fs: fs, dir: dir}
}

// grow makes blocks with transfers, and two changes of the validators, up to the
// next height with a snapshot, which it answers.
func (n *network) grow() uint64 {
	n.Change(4+n.rounds, true)
	n.Seal(n.Transfer(0), n.Transfer(1))
	n.Change(n.rounds, false)
	n.rounds++
	for n.Ledger.HeadInfo().Height%interval != 0 {
		n.Seal(n.Transfer(2), n.Transfer(3))
	}
	n.dir.Close() // waits until it is kept
	return n.Ledger.HeadInfo().Height
}

// target is what a node that joins would have verified of the block at height.
func (n *network) target(t testing.TB, height uint64) snapshot.Target {
	t.Helper()
	header, err := n.Ledger.HeaderByHeight(height)
	check(t, err)
	cert, err := n.Ledger.Certificate(height)
	check(t, err)
	extra, err := chain.DecodeExtra(header)
	check(t, err)
	out := snapshot.Target{Header: header, Certificate: cert, Floor: store.Floor{Epoch: extra.Epoch, View: extra.View}}
	for epoch := range extra.Epoch {
		step := n.Step(epoch)
		h, err := chain.DecodeHeader(step.Header)
		check(t, err)
		out.Epochs = append(out.Epochs, snapshot.Epoch{Header: h, Certificate: step.Finalization, Next: step.Next})
	}
	return out
}

// answer asks a source for a segment and gives it to the staging, as the network
// would carry it.
func answer(src *snapshot.Source, s *snapshot.Staging, seg snapshot.Segment, maxBytes int) error {
	switch seg.Kind {
	case snapshot.Accounts:
		r, err := src.Accounts(seg.From, seg.To, maxBytes)
		if err != nil {
			return err
		}
		if r, err = snapshot.DecodeAccountRange(r.Encode()); err != nil {
			return err
		}
		return s.AddAccounts(seg, r)
	case snapshot.Slots:
		r, err := src.Slots(seg.Owner, seg.From, seg.To, maxBytes)
		if err != nil {
			return err
		}
		if r, err = snapshot.DecodeSlotRange(r.Encode()); err != nil {
			return err
		}
		return s.AddSlots(seg, r)
	default:
		code, err := src.Code(seg.Code)
		if err != nil {
			return err
		}
		return s.AddCode(seg, code)
	}
}

// fetch asks for everything that is missing, with some workers, until it is here
// or one of them has an error.
func fetch(src *snapshot.Source, s *snapshot.Staging, workers, maxBytes int) error {
	for !s.Done() {
		segs, err := s.Next(workers)
		if err != nil {
			return err
		}
		if len(segs) == 0 {
			return errors.New("nothing to ask for, and not done")
		}
		failed := make([]error, len(segs))
		var wg sync.WaitGroup
		for i, seg := range segs {
			wg.Go(func() { failed[i] = answer(src, s, seg, maxBytes) })
		}
		wg.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
	}
	return nil
}

// join makes a database of the state at height on a file system.
func (n *network) join(t testing.TB, height uint64, fs vfs.FS, workers, maxBytes int) {
	t.Helper()
	src, err := n.dir.Open(height)
	check(t, err)
	defer func() { check(t, src.Close()) }()
	s, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), store.Options{FS: fs})
	check(t, err)
	check(t, fetch(src, s, workers, maxBytes))
	check(t, s.Finish(context.Background()))
}

// joined opens what join made.
func (n *network) joined(t testing.TB, fs vfs.FS) (*store.Store, *ledger.Ledger) {
	t.Helper()
	st, err := store.Open("/data/joining", store.Options{FS: fs})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	l, err := ledger.Open(st, n.Spec)
	check(t, err)
	return st, l
}

// rows is the newest state as a map, with every node of the tries.
func rows(v store.View, root crypto.Hash) (map[string]string, error) {
	out := map[string]string{}
	put := func(k, value string) error {
		if _, twice := out[k]; twice {
			return fmt.Errorf("%s is there twice", k)
		}
		out[k] = value
		return nil
	}
	visit := func(owner, root crypto.Hash) error {
		source := func(path []byte, _ crypto.Hash) ([]byte, error) { return v.Node(owner, path) }
		return trie.New(root, source).Visit(trie.Visitor{
			Node: func(path []byte) error { return put(fmt.Sprintf("node %x %x", owner, path), "") },
			Entry: func(key crypto.Hash, value []byte) error {
				return put(fmt.Sprintf("leaf %x %x", owner, key), string(value))
			},
			Damaged: func(path []byte, err error) error { return fmt.Errorf("node %x of %x: %w", path, owner, err) },
		})
	}
	if err := visit(crypto.Hash{}, root); err != nil {
		return nil, err
	}
	err := v.EachAccount(func(a crypto.Address, acc *chain.Account) error {
		if err := put("account "+a.Hex(), string(acc.Encode())); err != nil {
			return err
		}
		if acc.CodeHash != chain.EmptyCodeHash {
			code, err := v.Code(acc.CodeHash)
			if err != nil {
				return err
			}
			if err := put("code "+a.Hex(), string(code)); err != nil {
				return err
			}
		}
		return visit(crypto.Keccak256(a[:]), acc.StorageRoot)
	})
	if err != nil {
		return nil, err
	}
	return out, v.EachSlot(func(a crypto.Address, slot, value crypto.Hash) error {
		return put("slot "+a.Hex()+slot.Hex(), value.Hex())
	})
}

// sameState says whether two databases hold the same state, row for row.
func sameState(a, b store.View, root crypto.Hash) error {
	left, err := rows(a, root)
	if err != nil {
		return err
	}
	right, err := rows(b, root)
	if err != nil {
		return err
	}
	for k, v := range left {
		if w, ok := right[k]; !ok || v != w {
			return fmt.Errorf("%s: %x and %x (%v)", k, v, w, ok)
		}
	}
	if len(left) != len(right) {
		return fmt.Errorf("%d and %d rows", len(left), len(right))
	}
	return nil
}

// follow executes and finalizes the blocks of the network above the head of a
// ledger.
func (n *network) follow(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	for h := l.HeadInfo().Height + 1; h <= n.Ledger.HeadInfo().Height; h++ {
		b, err := n.Ledger.BlockByHeight(h)
		check(t, err)
		check(t, l.Execute(b))
		cert, err := n.Ledger.Certificate(h)
		check(t, err)
		extra, err := chain.DecodeExtra(b.Header())
		check(t, err)
		_, err = l.Finalize(b.Hash(), cert, ledger.Floor{Epoch: extra.Epoch, View: extra.View}, nil)
		check(t, err)
	}
}

func body(b *types.Block) string { return string(chain.EncodeBlock(b)) }
