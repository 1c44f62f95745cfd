package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/internal/randtest"
	"cairn/ledger/store/storetest"
)

// script is what a validator writes: for each height a few rival bodies, a
// record that says that they are held, and the commit of one of them; now and
// then two blocks in one batch. progress counts what has returned.
type script struct {
	blocks    []*types.Block // final ones
	rivals    map[uint64][]*types.Block
	certified map[uint64]bool

	mu        sync.Mutex
	records   uint64 // records 1..records are synced
	started   int    // commits begun reach this many blocks
	committed int    // commits returned reach this many blocks
}

func newScript(heights int) *script {
	s := &script{rivals: map[uint64][]*types.Block{}, certified: map[uint64]bool{}}
	var parent *types.Header
	for h := range heights {
		b := testBlock(parent, uint64(2*h+1), h, h%40)
		s.blocks = append(s.blocks, b)
		if h > 0 {
			s.rivals[uint64(h)] = []*types.Block{testBlock(parent, uint64(2*h), 1000+h, 3)}
		}
		s.certified[uint64(h)] = h%5 != 3
		parent = b.Header()
	}
	return s
}

func (s *script) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// run plays the script until a write fails.
func (s *script) run(st *Store) error {
	for h := 0; h < len(s.blocks); {
		batch := s.blocks[h : h+1]
		if !s.certified[uint64(h)] {
			batch = s.blocks[h : h+2]
		}
		for i, b := range batch {
			for _, body := range append(s.rivals[b.NumberU64()], b) {
				if err := st.PutBody(body.Hash(), raw(body)); err != nil {
					return err
				}
			}
			view := uint64(2*(h+i) + 1)
			if err := st.PutRecords([]Record{{recordKey(view), b.Hash().Bytes()}}); err != nil {
				return err
			}
			s.note(func() { s.records = view })
		}
		var commits []*Commit
		for i, b := range batch {
			commits = append(commits, commitOf(b, i == len(batch)-1))
		}
		h += len(batch)
		s.note(func() { s.started = h })
		if err := st.Commit(commits...); err != nil {
			return err
		}
		s.note(func() { s.committed = h })
	}
	return nil
}

// moment is a file system after a power loss, and what had returned before.
type moment struct {
	fs                 *vfs.MemFS
	op                 string
	records            uint64
	started, committed int
}

// lose is the moment when the power goes now.
func (s *script) lose(mem *vfs.MemFS) (m moment) {
	s.note(func() {
		m = moment{fs: mem.CrashClone(vfs.CrashCloneCfg{}), records: s.records, started: s.started, committed: s.committed}
	})
	return m
}

// check opens the store after the loss.
func (s *script) check(m moment) error {
	st, err := Open("/home/node/ledger", small(m.fs))
	if err != nil {
		return err
	}
	defer st.Close()
	at, err := st.Head()
	height := int(at.Height)
	switch {
	case errors.Is(err, ErrNotFound):
		if m.committed > 0 {
			return fmt.Errorf("no head after %d commits", m.committed)
		}
		height = -1
	case err != nil:
		return err
	case height+1 < m.committed || height+1 > m.started:
		return fmt.Errorf("head %d, commits begun up to %d and returned up to %d", height, m.started-1, m.committed-1)
	default:
		if err := checkAt(st, s.blocks[:height+1], func(h uint64) bool { return s.certified[h] }); err != nil {
			return err
		}
	}
	for h, rivals := range s.rivals {
		for _, r := range rivals {
			if held, err := st.HasBody(r.Hash()); err != nil || held && int(h) <= height {
				return fmt.Errorf("a dead body of height %d is held at head %d: %v", h, height, err)
			}
		}
	}
	return s.checkRecords(st, m, at)
}

// checkRecords: a synced record is there unless a commit pruned it, and whatever
// record is there, the bodies before it are too.
func (s *script) checkRecords(st *Store, m moment, at Head) error {
	held := map[uint64]bool{}
	err := st.Records(func(k, v []byte) error {
		view := bytesToView(k)
		held[view] = true
		b := s.blocks[(view-1)/2]
		if crypto.Hash(v) != b.Hash() {
			return fmt.Errorf("record %d says %x", view, v)
		}
		for _, body := range append(s.rivals[b.NumberU64()], b) {
			if ok, err := st.HasBody(body.Hash()); err != nil || !ok {
				return fmt.Errorf("record %d is there, the body put before it is not: %v", view, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for view := at.Floor.View + 1; view <= m.records; view++ {
		if view%2 == 1 && !held[view] {
			return fmt.Errorf("synced record %d is lost, floor is %d", view, at.Floor.View)
		}
	}
	for view := range held {
		if view <= at.Floor.View {
			return fmt.Errorf("record %d is at or below the floor %d", view, at.Floor.View)
		}
	}
	return nil
}

func bytesToView(k []byte) (v uint64) {
	for _, b := range k {
		v = v<<8 | uint64(b)
	}
	return v
}

// TestPowerLoss cuts the power before every write to the file system while a
// validator's writes are played: once losing all that was not synced, once
// losing a part of it.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/store")
	mem := vfs.NewCrashableMem()
	s := newScript(31)
	var mu sync.Mutex
	var moments []moment
	opened := false
	observe := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		s.mu.Lock()
		m := moment{op: fmt.Sprintf("%v %s", op.Kind, op.Path), records: s.records, started: s.started, committed: s.committed}
		s.mu.Unlock()
		// What had returned is noted before the copy is made: it must be in it.
		all, part := m, m
		all.fs = mem.CrashClone(vfs.CrashCloneCfg{})
		moments = append(moments, all)
		if !opened {
			// While it opens, Pebble relies on the file system to make new names
			// durable in order, as journalling ones do: a partial copy does not.
			return nil
		}
		part.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: rand.New(rand.NewPCG(r.Uint64(), 0))})
		moments = append(moments, part)
		return nil
	})
	st := open(t, small(storetest.FS(errorfs.Wrap(mem, observe))))
	mu.Lock()
	opened = true
	mu.Unlock()
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	heads := 0
	for i, m := range moments {
		// A copy is noted before it is made, so later commits may be in it.
		m.started = len(s.blocks)
		if err := s.check(m); err != nil {
			t.Fatalf("power lost at moment %d (%s): %v", i, m.op, err)
		}
		if m.committed > 0 {
			heads++
		}
	}
	if len(moments) < 100 || heads < 50 {
		t.Fatalf("only %d moments, %d with a head", len(moments), heads)
	}
}

// failing is a store in a file system that fails while it is on.
type failing struct {
	*Store
	mem *vfs.MemFS
	on  errorfs.Toggle
}

// openFailing opens one whose file system fails as fails says. told, if there is
// one, hears of a failure in the background, where the process would end.
func openFailing(t *testing.T, told chan<- error, fails func(errorfs.Op) error) *failing {
	t.Helper()
	f := &failing{mem: vfs.NewCrashableMem()}
	f.on.Injector = errorfs.InjectorFunc(fails)
	o := small(errorfs.Wrap(f.mem, &f.on))
	if told != nil {
		o.OnFailure = func(err error) {
			told <- err
			select {} // the process would end here
		}
	}
	f.Store = open(t, o)
	return f
}

// TestFailedSyncIsFinal: when the disk refuses a write or sync, the call says
// so, no later call claims success, and what returned before is still there.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileWrite} {
		for skip := range 3 {
			left := skip * 3
			st := openFailing(t, nil, func(op errorfs.Op) error {
				if op.Kind != kind || !strings.HasSuffix(op.Path, ".log") {
					return nil
				}
				if left--; left >= 0 {
					return nil
				}
				return errorfs.ErrInjected
			})
			s := newScript(11)
			st.on.On()
			err := s.run(st.Store)
			st.on.Off()
			if err == nil {
				continue // this kind of call was not used
			}
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("%v: %v, want ErrFailed", kind, err)
			}
			for name, call := range map[string]func() error{
				"PutRecords": func() error { return st.PutRecords([]Record{{[]byte("x"), nil}}) },
				"PutMeta":    func() error { return st.PutMeta("x", nil) },
				"Sync":       st.Sync,
				"Close":      st.Close,
			} {
				if err := call(); !errors.Is(err, ErrFailed) && !errors.Is(err, ErrClosed) {
					t.Errorf("%v: %s after the failure: %v, want ErrFailed", kind, name, err)
				}
			}
			if st.Failed() == nil {
				t.Errorf("%v: no failure is remembered", kind)
			}
			if err := s.check(s.lose(st.mem)); err != nil {
				t.Errorf("%v failed after %d: after a restart: %v", kind, skip, err)
			}
		}
	}
}

// TestFlippedBitInLog: damage in the synced part of the newest log is an error
// at the start, never a shorter log.
func TestFlippedBitInLog(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/store")
	for range 20 {
		mem := vfs.NewCrashableMem()
		st := open(t, Options{FS: mem})
		for i := range 50 {
			if err := st.PutRecords([]Record{{recordKey(uint64(i)), noise(i, 0)}}); err != nil {
				t.Fatal(err)
			}
		}
		after := mem.CrashClone(vfs.CrashCloneCfg{})
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		flipBit(t, after, r)
		st, err := Open("/home/node/ledger", small(after))
		if err == nil {
			n := 0
			if err := st.Records(func(_, _ []byte) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			t.Fatalf("opened with %d of 50 synced records", n)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%v, want ErrCorrupt", err)
		}
	}
}

// flipBit damages the log somewhere among the first 45 of 50 records.
func flipBit(t *testing.T, fs *vfs.MemFS, r *rand.Rand) {
	t.Helper()
	names, err := fs.List("/home/node/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		path := "/home/node/ledger/" + name
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() < 1000 {
			continue
		}
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		at, b := r.Int64N(info.Size()*8/10), make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1 << r.IntN(8)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no log")
}

// TestFailedSyncInBackground: when the disk refuses to sync a table, Pebble goes on
// with the log and writes the table anew; when it refuses the manifest, the process
// is told to end and nothing is written any more. Either way what had returned is
// there after a power loss.
func TestFailedSyncInBackground(t *testing.T) {
	t.Parallel()
	for _, file := range []string{".sst", "MANIFEST"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			failures, told := new(atomic.Int64), make(chan error, 1)
			st := openFailing(t, told, func(op errorfs.Op) error {
				sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
				if !sync || !strings.Contains(op.Path, file) || failures.Add(1) > 5 && file == ".sst" {
					return nil
				}
				return errorfs.ErrInjected
			})
			s := newScript(151)
			st.on.On()
			ran := make(chan error, 1)
			go func() { ran <- s.run(st.Store) }()
			if file == "MANIFEST" {
				select {
				case failure := <-told: // the writer may wait for room in memory for ever
					if !errors.Is(failure, ErrFailed) {
						t.Errorf("told %v, want ErrFailed", failure)
					}
				case <-time.After(time.Minute):
					t.Fatal("nobody was told")
				}
				for range 2 {
					if err := st.PutRecords([]Record{{[]byte("x"), nil}}); !errors.Is(err, ErrFailed) {
						t.Errorf("a write after the failure: %v, want ErrFailed", err)
					}
				}
			} else if err := <-ran; err != nil {
				t.Fatal(err)
			}
			if failures.Load() == 0 {
				t.Fatal("no sync failed")
			}
			if err := s.check(s.lose(st.mem)); err != nil {
				t.Errorf("after %d failures: %v", failures.Load(), err)
			}
			if file == ".sst" {
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestFailedCheckpoint: a copy of which a file or a directory cannot be synced is
// an error and has no name. The database goes on as it was, or, where the disk
// refused a sync that Pebble takes for fatal, writes no more.
func TestFailedCheckpoint(t *testing.T) {
	t.Parallel()
	failed, fatal := 0, 0
	for skip := 0; ; skip++ {
		left := skip
		st := openFailing(t, nil, func(op errorfs.Op) error {
			sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
			if !sync || !strings.Contains(op.Path, "/copy") {
				return nil
			}
			if left--; left >= 0 {
				return nil
			}
			return errorfs.ErrInjected
		})
		s := newScript(11)
		if err := s.run(st.Store); err != nil {
			t.Fatal(err)
		}
		st.on.On()
		err := st.Checkpoint("/home/node/copy")
		st.on.Off()
		next := st.PutMeta("x", nil)
		switch {
		case err == nil && next == nil:
		case errors.Is(err, ErrFailed) && errors.Is(next, ErrFailed):
			fatal++
		case errors.Is(err, errorfs.ErrInjected) && next == nil:
			failed++
		default:
			t.Errorf("sync %d failed: %v, then %v", skip, err, next)
		}
		if _, missing := st.mem.Stat("/home/node/copy"); (missing == nil) != (err == nil) {
			t.Errorf("sync %d failed: %v, and the copy: %v", skip, err, missing)
		}
		if err := s.check(s.lose(st.mem)); err != nil {
			t.Errorf("sync %d failed, after a restart: %v", skip, err)
		}
		if err := st.Close(); err != nil && !errors.Is(err, ErrFailed) {
			t.Error(err)
		}
		if err == nil {
			break
		}
	}
	t.Logf("%d failures of the copy alone, %d final ones", failed, fatal)
	if failed == 0 || fatal == 0 {
		t.Error("not both kinds were seen")
	}
}
