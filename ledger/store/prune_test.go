package store

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestPruneBodies: batches go on where the one before ended, and a later pass finds
// what earlier ones left.
func TestPruneBodies(t *testing.T) {
	t.Parallel()
	st := openMem(t)
	blocks := extend(t, st, nil, 12, 2)
	pass := func(first uint64, want ...int) {
		t.Helper()
		if err := st.RaiseBounds(Bounds{FirstBody: first}, nil); err != nil {
			t.Fatal(err)
		}
		from := uint64(0)
		for _, n := range append(want, 0) {
			next, got, err := st.PruneBodies(from, 3)
			if err != nil || got != n {
				t.Fatalf("from %d: %d blocks %v, want %d", from, got, err, n)
			}
			from = next
		}
		for _, b := range blocks {
			held := b.NumberU64() == 0 || b.NumberU64() >= first
			_, body := st.Body(b.Hash())
			_, receipts := st.Receipts(b.NumberU64())
			for _, err := range []error{body, receipts} {
				if held && err != nil || !held && !errors.Is(err, ErrPruned) {
					t.Errorf("block %d of those from %d on: %v", b.NumberU64(), first, err)
				}
			}
			if places, err := st.TxLookup(b.Transactions()[0].Hash()); err != nil || held != (len(places) == 1) {
				t.Errorf("the transaction of block %d, of those from %d on: at %v %v", b.NumberU64(), first, places, err)
			}
		}
	}
	pass(6, 3, 2)
	pass(9, 3)
	pass(10, 1)
}

// TestPruneBesideFill: a block that is filled in while one that was seen below the
// bound is deleted waits for that, and is not deleted with it.
func TestPruneBesideFill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, small(vfs.NewMem()))
		blocks := extend(t, st, nil, 6, 1)
		if err := st.RaiseBounds(Bounds{FirstBody: 4}, nil); err != nil {
			t.Fatal(err)
		}
		hold := &copying{room: 1 << 30, divided: make(chan struct{})} // a copy that no write can go past
		st.copying.Store(hold)
		done := make(chan error, 1)
		go func() {
			_, _, err := st.PruneBodies(0, 100)
			done <- err
		}()
		synctest.Wait() // it has read what it deletes
		st.copying.Store(nil)
		if st.boundsMu.TryLock() {
			t.Error("the bounds can move while what is below them is deleted")
			st.boundsMu.Unlock()
		}
		close(hold.divided)
		if err := errors.Join(<-done, st.Fill([]Filling{filling(blocks, 3)})); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Body(blocks[3].Hash()); err != nil || st.FirstBody() != 3 {
			t.Errorf("the first block is %d, and it is read with %v", st.FirstBody(), err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkPruneBodies prunes b.N blocks while all tombstones lie in one memtable,
// and reads between the batches: what it takes for each must not grow with b.N.
func BenchmarkPruneBodies(b *testing.B) {
	o := small(vfs.NewMem())
	o.MemTableBytes = 64 << 20
	st := open(b, o)
	var parent *types.Header
	for i := range b.N {
		block := testBlock(parent, uint64(i), i, 1)
		parent = block.Header()
		if err := errors.Join(st.PutBody(block.Hash(), raw(block)), st.Commit(commitOf(block, i > 0))); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(st.db.Flush(), st.RaiseBounds(Bounds{FirstBody: uint64(b.N)}, nil)); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for from, n := uint64(0), 1; n > 0; {
		var err error
		if from, n, err = st.PruneBodies(from, 64); err != nil {
			b.Fatal(err)
		}
		if _, err := st.Account(address(1)); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}
