package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger/store/storetest"
)

// always says that every block has a certificate of its own, but block 0, which
// needs none.
func always(height uint64) bool { return height > 0 }

// extend makes blocks final, each with a synced record before it.
func extend(t *testing.T, st *Store, blocks []*types.Block, count, transactions int) []*types.Block {
	t.Helper()
	for range count {
		var parent *types.Header
		if n := len(blocks); n > 0 {
			parent = blocks[n-1].Header()
		}
		view := uint64(len(blocks))
		b := testBlock(parent, view, len(blocks), transactions)
		if err := errors.Join(st.PutBody(b.Hash(), raw(b)), st.PutRecords([]Record{{recordKey(view), nil}}), st.Commit(commitOf(b, always(b.NumberU64())))); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// copied checks that a copy holds exactly these blocks and their state, and has
// no log.
func copied(t *testing.T, dir string, o Options, blocks []*types.Block) {
	t.Helper()
	names, err := o.FS.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			t.Errorf("the copy has the log %s", name)
		}
	}
	r, err := OpenReader(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(checkAt(&Store{View: r.View}, blocks, always), r.Close()); err != nil {
		t.Errorf("%s: %v", dir, err)
	}
}

// TestCheckpointHeadBeside: blocks become final while a copy is held up in the
// middle, and the copy has the state of the block at which it was begun.
func TestCheckpointHeadBeside(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(op errorfs.Op) bool{
		"moving to tables": func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") },
		"between": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpRemoveAll && strings.Contains(op.Path, "copies/")
		},
		"linking": func(op errorfs.Op) bool { return op.Kind == errorfs.OpLink },
		"naming":  func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename && strings.Contains(op.Path, "copies/") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held, release := make(chan struct{}, 64), make(chan struct{})
			hold := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if at(op) {
					held <- struct{}{}
					<-release
				}
				return nil
			})
			o := Options{FS: storetest.FS(errorfs.Wrap(vfs.NewMem(), hold)), CacheBytes: 1 << 20}
			st := open(t, o)
			blocks := extend(t, st, nil, 7, 3)
			done := make(chan error, 1)
			st.CheckpointHead("/copies/6", func(err error) { done <- err })
			<-held
			blocks = extend(t, st, blocks, 5, 3)
			if moved, err := st.flush(); err != nil { // as before the next copy: these blocks must not come into this one
				t.Fatal(err)
			} else if moved != nil {
				<-moved
			}
			select {
			case err := <-done:
				t.Fatalf("the copy was not held up: %v", err)
			default:
			}
			if head, err := st.Head(); err != nil || head.Height != 11 {
				t.Fatalf("head %+v, %v", head, err)
			}
			close(release)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			copied(t, "/copies/6", o, blocks[:7])
			if err := checkAt(st, blocks, always); err != nil {
				t.Error(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCheckpointHeadExact: also where memory is so small that tables are written
// all the time, each copy has the state of its height.
func TestCheckpointHeadExact(t *testing.T) {
	t.Parallel()
	o := small(vfs.NewMem())
	st := open(t, o)
	blocks := extend(t, st, nil, 1, 20)
	done := make(chan error, 1)
	for range 20 {
		if len(blocks)%3 == 0 {
			st.FlushSoon()
		}
		at, dir := len(blocks), fmt.Sprintf("/copies/%d", len(blocks)-1)
		st.CheckpointHead(dir, func(err error) { done <- err })
		blocks = extend(t, st, blocks, 5, 20)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		copied(t, dir, o, blocks[:at])
	}
	st.CheckpointHead("/copies/0", func(err error) { done <- err })
	if err := errors.Join(<-done, st.Close()); err == nil || !strings.Contains(err.Error(), "/copies/0") {
		t.Errorf("a name that is taken: %v", err)
	}
	st.CheckpointHead("/copies/1", func(err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// TestCheckpointHeadFails: a copy whose tables cannot be written ends with the
// database, and one that cannot be linked leaves nothing but a message.
func TestCheckpointHeadFails(t *testing.T) {
	t.Parallel()
	fault := errors.New("no room")
	for name, tc := range map[string]struct {
		bad  func(op errorfs.Op) bool
		want error
	}{
		"tables": {func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") }, ErrClosed},
		"list": {func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "copies/3.partial/MANIFEST")
		}, fault},
		"logs": {func(op errorfs.Op) bool { return op.Kind == errorfs.OpRemove && strings.Contains(op.Path, "copies/") }, fault},
		"name": {func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename && strings.Contains(op.Path, "copies/") }, fault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if tc.bad(op) {
					return fault
				}
				return nil
			})
			o := Options{FS: storetest.FS(errorfs.Wrap(vfs.NewMem(), inject)), CacheBytes: 1 << 20}
			st := open(t, o)
			blocks := extend(t, st, nil, 4, 3)
			done := make(chan error, 1)
			st.CheckpointHead("/copies/3", func(err error) { done <- err })
			blocks = extend(t, st, blocks, 4, 3)
			if tc.want != ErrClosed {
				if err := <-done; !errors.Is(err, tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
			}
			if err := checkAt(st, blocks, always); err != nil {
				t.Error(err)
			}
			_ = st.Close() // of a database that cannot write tables it says so
			if tc.want == ErrClosed {
				if err := <-done; !errors.Is(err, tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
			}
			if names, err := ListCheckpoints("/copies", o); err != nil && !errors.Is(err, fault) || len(names) > 0 {
				t.Errorf("copies %v, %v", names, err)
			}
		})
	}
}
