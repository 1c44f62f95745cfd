package store

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store/storetest"
)

// TestCheckpointPowerLoss: wherever the power is cut while a checkpoint is made
// or removed, what has its name is whole, and what is not whole is gone after the
// next look.
func TestCheckpointPowerLoss(t *testing.T) {
	t.Parallel()
	const dir = "/home/node/snapshots"
	mem := vfs.NewCrashableMem()
	s := newScript(11)
	var mu sync.Mutex
	var moments []*vfs.MemFS
	on := false
	observe := errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if on && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			moments = append(moments, mem.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	})
	o := small(storetest.FS(errorfs.Wrap(mem, observe)))
	st := open(t, o)
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	if _, err := ListCheckpoints(dir, o); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	on = true
	mu.Unlock()
	for _, name := range []string{"1", "2"} {
		if err := st.Checkpoint(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	st.CheckpointHead(dir+"/3", func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := st.Checkpoint(dir + "/1"); !errors.Is(err, os.ErrExist) {
		t.Errorf("a name that is taken: %v, want os.ErrExist", err)
	}
	if err := RemoveCheckpoint(dir+"/1", o); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	seen := map[string]bool{}
	for i, fs := range moments {
		names, err := ListCheckpoints(dir, small(fs))
		if err != nil {
			t.Fatal(err)
		}
		seen[strings.Join(names, " ")] = true
		for _, name := range names {
			r, err := OpenReader(dir+"/"+name, small(fs))
			if err != nil {
				t.Fatalf("moment %d of %d: checkpoint %s: %v", i, len(moments), name, err)
			}
			if err := checkAt(&Store{View: r.View}, s.blocks, func(h uint64) bool { return s.certified[h] }); err != nil {
				t.Fatalf("moment %d: checkpoint %s: %v", i, name, err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if left, err := fs.List(dir); err != nil || len(left) != len(names) {
			t.Fatalf("moment %d: %v is left of %v", i, left, names)
		}
	}
	for _, want := range []string{"", "1", "1 2", "1 2 3", "2 3"} {
		if !seen[want] {
			t.Errorf("no moment had the checkpoints %q", want)
		}
	}
}

// TestReader: a checkpoint is read and not written, and what is none is named.
func TestReader(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	o := small(fs)
	st := open(t, o)
	s := newScript(5)
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	st.FlushSoon()
	if err := st.Checkpoint("/copy"); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader("/copy", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader("/copy", o); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v, want ErrLocked", err)
	}
	var keys []crypto.Hash
	if err := r.AccountsFrom(crypto.Hash{0x10}, func(k crypto.Hash, _ crypto.Address, _ *chain.Account) error {
		keys = append(keys, k)
		return nil
	}); err != nil || len(keys) == 0 || keys[0].Cmp(crypto.Hash{0x10}) < 0 || !slices.IsSortedFunc(keys, crypto.Hash.Cmp) {
		t.Errorf("accounts %v: %v", keys, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Head(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	if _, err := OpenReader("/nothing", o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	edit(t, fs, formatKey, []byte{0, 0, 0, 1})
	if _, err := OpenReader("/home/node/ledger", o); !errors.Is(err, ErrForeign) {
		t.Errorf("another format: %v, want ErrForeign", err)
	}
}
