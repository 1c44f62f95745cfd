package snapshot_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cairn/internal/randtest"
	"cairn/ledger"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/ledger/store/storetest"
)

var pointFlag = flag.Int("points", 40, "power losses that TestPowerLoss goes on from")

// small makes logs and memtables turn over often.
func small(fs vfs.FS) store.Options {
	return store.Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10, MaxOpenFiles: 64}
}

// TestResume: a join that is closed after every few answers goes on where it was
// and never asks again for what it has.
func TestResume(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 200)
	height := n.grow()
	src, err := n.dir.Open(height)
	check(t, err)
	defer func() { check(t, src.Close()) }()
	fs := vfs.NewMem()
	s, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), small(fs))
	check(t, err)
	if _, err := store.Open("/data/joining", small(fs)); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a join under way: %v, want ErrLocked", err)
	}
	for round := 0; !s.Done(); round++ {
		segs, err := s.Next(3)
		check(t, err)
		again, err := s.Next(100)
		if err != nil || !disjoint(segs, again) {
			t.Fatalf("handed out twice: %v %v (%v)", segs, again, err)
		}
		for _, seg := range again {
			s.Fail(seg)
		}
		before := s.Progress()
		check(t, answer(src, s, segs[0], 300))
		if err := answer(src, s, segs[0], 300); !errors.Is(err, snapshot.ErrSegment) {
			t.Fatalf("an answer for the second time: %v", err)
		}
		after := s.Progress()
		if after == before || after.Bytes < before.Bytes || after.Done < before.Done {
			t.Fatalf("progress from %+v to %+v", before, after)
		}
		if round%5 != 0 {
			for _, seg := range segs[1:] {
				s.Fail(seg)
			}
			continue
		}
		check(t, s.Close())
		if _, err := store.Open("/data/joining", small(fs)); !errors.Is(err, store.ErrUnfinished) {
			t.Fatalf("an unfinished join is opened: %v", err)
		}
		if _, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), small(fs)); !errors.Is(err, store.ErrForeign) {
			t.Fatalf("a second join in one place: %v", err)
		}
		other := *n.Spec
		other.Name = "another"
		if _, err := snapshot.Resume("/data/joining", &other, small(fs)); !errors.Is(err, snapshot.ErrOtherTarget) {
			t.Fatalf("for another network: %v", err)
		}
		s, err = snapshot.Resume("/data/joining", n.Spec, small(fs))
		check(t, err)
		if got := s.Progress(); got != after {
			t.Fatalf("progress after a restart %+v, before it %+v", got, after)
		}
		if round == 0 {
			if err := s.Finish(context.Background()); !errors.Is(err, snapshot.ErrIncomplete) {
				t.Fatalf("finished too early: %v", err)
			}
		}
	}
	if p := s.Progress(); p.Done != 1 || p.Pending != 0 || p.Accounts == 0 || p.Slots == 0 || p.Codes == 0 {
		t.Fatalf("progress %+v", p)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Finish(canceled); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	check(t, s.Finish(context.Background()))
	if _, err := snapshot.Resume("/data/joining", n.Spec, small(fs)); !errors.Is(err, snapshot.ErrNone) {
		t.Fatalf("resumed what is complete: %v", err)
	}
	st, _ := n.joined(t, fs)
	check(t, sameState(n.Store.View, st.View, n.Ledger.Head().Root))
}

func disjoint(a, b []snapshot.Segment) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return false
			}
		}
	}
	return true
}

// TestPowerLoss cuts the power at every write of a whole join, and goes on from
// what is left: to the same database, always.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, fmt.Sprintf("./ledger/snapshot -points=%d", *pointFlag))
	n := newNetwork(t, 300)
	height := n.grow()
	src, err := n.dir.Open(height)
	check(t, err)
	defer func() { check(t, src.Close()) }()
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	var moments []*vfs.MemFS
	begun := false
	observe := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		cfg := vfs.CrashCloneCfg{}
		if begun && r.IntN(2) == 0 { // Pebble's start relies on names that become durable in order
			cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: rand.New(rand.NewPCG(r.Uint64(), 0))}
		}
		moments = append(moments, mem.CrashClone(cfg))
		return nil
	})
	s, err := snapshot.Create("/data/joining", n.Spec, n.target(t, height), small(storetest.FS(errorfs.Wrap(mem, observe))))
	check(t, err)
	var ends []int // of the moments while it is made, fetched and finished
	stage := func() {
		mu.Lock()
		defer mu.Unlock()
		begun, ends = true, append(ends, len(moments))
	}
	stage()
	check(t, fetch(src, s, 4, 1))
	stage()
	check(t, s.Finish(context.Background()))
	stage()
	count := map[string]int{}
	for point := range max(2, *pointFlag) {
		at, from := point%len(ends), 0
		if at > 0 {
			from = ends[at-1]
		}
		i := from + r.IntN(max(1, ends[at]-from)) // an answer may be written a little later
		switch point {
		case 0:
			i = ends[1] // all is here, nothing is finished
		case 1:
			i = len(moments) - 1
		}
		how, err := n.recover(t, moments[i].CrashClone(vfs.CrashCloneCfg{}), src, height)
		if err != nil {
			t.Fatalf("power lost at moment %d of %v: %v", i, ends, err)
		}
		if i >= ends[0] && how == "begun again" {
			t.Errorf("power lost at moment %d of %v: %s", i, ends, how)
		}
		count[how]++
	}
	t.Logf("moments %v; %v", ends, count)
	if count["resumed"] == 0 || count["complete"] == 0 {
		t.Error("not both were seen")
	}
}

// recover goes on after a power loss.
func (n *network) recover(t *testing.T, fs *vfs.MemFS, src *snapshot.Source, height uint64) (how string, err error) {
	s, err := snapshot.Resume("/data/joining", n.Spec, small(fs))
	how = "resumed"
	if errors.Is(err, snapshot.ErrNone) {
		if st, err := store.Open("/data/joining", small(fs)); err == nil {
			if _, err := st.Head(); err == nil {
				return "complete", errors.Join(n.checkJoined(st, height), st.Close())
			}
			check(t, st.Close())
		}
		how = "begun again"
		s, err = snapshot.Create("/data/joining", n.Spec, n.target(t, height), small(fs))
	}
	if err != nil {
		return how, err
	}
	if err := fetch(src, s, 4, 4000); err != nil {
		return how, fmt.Errorf("%s: %w", how, errors.Join(err, s.Close()))
	}
	if err := s.Finish(context.Background()); err != nil {
		return how, fmt.Errorf("%s: %w", how, errors.Join(err, s.Close()))
	}
	st, err := store.Open("/data/joining", small(fs))
	if err != nil {
		return how, err
	}
	return how, errors.Join(n.checkJoined(st, height), st.Close())
}

// checkJoined: the database is what the network had at height.
func (n *network) checkJoined(st *store.Store, height uint64) error {
	l, err := ledger.Open(st, n.Spec)
	if err != nil {
		return err
	}
	if l.HeadInfo().Height != height || l.HeadInfo().Hash != n.Ledger.HeadInfo().Hash {
		return fmt.Errorf("head %+v, want height %d", l.HeadInfo(), height)
	}
	return sameState(n.Store.View, st.View, l.Head().Root)
}
