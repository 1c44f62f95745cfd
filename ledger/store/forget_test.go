package store

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestForget: a block's batch deletes the records of the views up to its floor,
// those that came late among them, and no other.
func TestForget(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	st := open(t, small(fs))
	left := func(what string, want ...uint64) {
		t.Helper()
		var keys [][]byte
		if err := st.Records(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(keys) != len(want) {
			t.Fatalf("%s: records %x, want those of views %v", what, keys, want)
		}
		for i, view := range want {
			if !bytes.Equal(keys[i], recordKey(view)) {
				t.Fatalf("%s: records %x, want those of views %v", what, keys, want)
			}
		}
	}
	put := func(views ...uint64) {
		t.Helper()
		for _, v := range views {
			if err := st.PutRecords([]Record{{recordKey(v), []byte{1}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	blocks := extend(t, st, nil, 3, 1)
	left("blocks to view 2")
	put(3, 4, 7)
	blocks = extend(t, st, blocks, 1, 1)
	left("a block of view 3", 4, 7)
	put(1, 2)
	left("late ones", 1, 2, 4, 7)
	blocks = extend(t, st, blocks, 1, 1)
	left("a block of view 4", 7)
	put(2)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, small(fs))
	blocks = extend(t, st, blocks, 1, 1)
	left("a block after a restart", 7)
	put(6)
	if err := st.Certify(blocks[5].Hash(), []byte{1}, Floor{View: 6}, []RecordRange{{From: recordKey(0), To: recordKey(7)}}); err != nil {
		t.Fatal(err)
	}
	left("a certificate with a floor of its own", 7)
	put(5)
	if err := st.Certify(blocks[5].Hash(), []byte{1}, Floor{View: 6}, []RecordRange{{From: recordKey(2), To: recordKey(6)}}); err != nil {
		t.Fatal(err)
	}
	left("another range", 7)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestForgetUnseen: a record that was being written while a commit looked for
// those to delete is deleted by the next one.
func TestForgetUnseen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, small(vfs.NewMem()))
		blocks := extend(t, st, nil, 3, 1)
		next := testBlock(blocks[2].Header(), 3, 3, 1)
		if err := st.PutBody(next.Hash(), raw(next)); err != nil {
			t.Fatal(err)
		}
		hold := &copying{room: 1 << 30, divided: make(chan struct{})} // a copy that no write can go past
		st.copying.Store(hold)
		done := make(chan error, 2)
		go func() { done <- st.PutRecords([]Record{{recordKey(1), []byte{1}}}) }()
		synctest.Wait()
		go func() { done <- st.Commit(commitOf(next, true)) }()
		synctest.Wait()
		st.copying.Store(nil)
		close(hold.divided)
		if err := errors.Join(<-done, <-done); err != nil {
			t.Fatal(err)
		}
		extend(t, st, append(blocks, next), 1, 1)
		if err := st.Records(func(k, _ []byte) error {
			t.Errorf("record %x is left", k)
			return nil
		}); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkManyBlocks makes blocks final that all lie in one memtable: the last
// must not cost more than the first. A late record is of the view before, as a node
// writes it that fetches blocks.
func BenchmarkManyBlocks(b *testing.B) {
	for name, late := range map[string]uint64{"": 0, "late": 1} {
		b.Run("records="+name, func(b *testing.B) { benchmarkManyBlocks(b, late) })
	}
}

func benchmarkManyBlocks(b *testing.B, late uint64) {
	o := small(vfs.NewMem())
	o.MemTableBytes = 64 << 20
	st := open(b, o)
	var parent *types.Header
	for i := range b.N {
		b.StopTimer()
		block := testBlock(parent, uint64(i), i, 1)
		parent = block.Header()
		b.StartTimer()
		if err := errors.Join(st.PutBody(block.Hash(), raw(block)), st.PutRecords([]Record{{recordKey(max(uint64(i), late) - late), nil}}), st.Commit(commitOf(block, i > 0))); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}
