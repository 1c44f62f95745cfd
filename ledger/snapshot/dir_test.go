package snapshot_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/crypto"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
)

// names are what a directory holds.
func names(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	out, err := fs.List("/data/snapshots")
	check(t, err)
	slices.Sort(out)
	return out
}

// TestDir: the newest two states are kept; an older one stays while it is read;
// what an interruption left is gone after the next start.
func TestDir(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 30)
	n.grow()
	first := n.dir.Heights()[0]
	src, err := n.dir.Open(first)
	check(t, err)
	if _, err := n.dir.Open(first); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opened twice: %v, want ErrLocked", err)
	}
	if _, err := n.dir.Open(first + 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a height without one: %v, want ErrNotFound", err)
	}
	for range 4 {
		n.Seal(n.Transfer(0))
		for n.Ledger.HeadInfo().Height%interval != 0 {
			n.Seal(n.Transfer(1))
		}
	}
	n.dir.Close() // waits until it is kept
	head := n.Ledger.HeadInfo().Height
	want := []uint64{head - interval, head}
	if got := n.dir.Heights(); !slices.Equal(got, want) {
		t.Fatalf("heights %v, want %v", got, want)
	}
	n.dir.Close()
	if got := names(t, n.fs); len(got) != snapshot.Keep+1 {
		t.Fatalf("%v: the open one is not there", got)
	}
	if r, err := src.Accounts(crypto.Hash{}, crypto.Hash{0xff}, 1<<20); err != nil || len(r.Accounts) == 0 {
		t.Fatalf("a state that is no longer kept, while it is open: %v", err)
	}
	check(t, src.Close())
	n.dir.Close()
	if got := names(t, n.fs); len(got) != snapshot.Keep {
		t.Fatalf("%v: too many", got)
	}
	if _, err := n.dir.Open(first); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one that is gone: %v, want ErrNotFound", err)
	}
	check(t, n.Store.Checkpoint(n.dir.Path(1)))
	check(t, n.Store.Checkpoint(n.dir.Path(head+1)))
	check(t, n.fs.MkdirAll(n.dir.Path(head+interval)+".partial", 0o755))
	again, err := snapshot.OpenDir("/data/snapshots", store.Options{FS: n.fs}, head)
	check(t, err)
	if got := again.Heights(); !slices.Equal(got, want) || len(names(t, n.fs)) != snapshot.Keep {
		t.Errorf("after a restart: heights %v, files %v", got, names(t, n.fs))
	}
}

// TestSourceErrors: what is no state of a block is named.
func TestSourceErrors(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 30)
	height := n.grow()
	fs := vfs.NewMem()
	if _, err := snapshot.Open("/nothing", store.Options{FS: fs}); err == nil {
		t.Error("opened a directory that is not there")
	}
	empty, err := store.Open("/data/empty", store.Options{FS: fs})
	check(t, err)
	check(t, empty.Close())
	if _, err := snapshot.Open("/data/empty", store.Options{FS: fs}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a database without blocks: %v, want ErrNotFound", err)
	}
	src, err := n.dir.Open(height)
	check(t, err)
	if _, err := src.Code(crypto.Hash{1}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("code of nobody: %v", err)
	}
	if r, err := src.Slots(crypto.Address{1}, crypto.Hash{}, crypto.Hash{0xff}, 1000); err != nil || len(r.Slots)+len(r.Proof) != 0 {
		t.Errorf("slots of nobody: %v %v", r, err)
	}
	check(t, src.Close())
	if _, err := src.Accounts(crypto.Hash{}, crypto.Hash{0xff}, 1000); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}
