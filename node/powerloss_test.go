package node

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/internal/randtest"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/store/storetest"
	"cairn/light/lighttest"
	"cairn/node/archive"
)

var losses = flag.Int("losses", 30, "power losses of TestPowerLoss")

// lossDir is where the database is in the file system that loses power.
const lossDir = "/home/node/data"

// lossOptions turn logs and memtables over often.
func lossOptions(fs vfs.FS) store.Options {
	return store.Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 64 << 10, MaxOpenFiles: 64}
}

// openLoss opens the database in a file system, and the ledger on it.
func openLoss(t *testing.T, fs vfs.FS, c *lighttest.Chain) (*store.Store, *ledger.Ledger) {
	t.Helper()
	st, err := store.Open(lossDir, lossOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	live, err := ledger.Open(st, c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return st, live
}

// lossPoint is a file system after a power loss, and what had returned before.
type lossPoint struct {
	fs        *vfs.MemFS
	op        string
	finalized uint64 // height
	voted     uint64 // view
}

// TestPowerLoss cuts the power at random writes to a file system that forgets
// what was not synced, or a part of it, while a validator's ledger grows through
// several epochs: what had returned is there, db check finds nothing, and after
// the rest of the chain every block is the one that all others have.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, fmt.Sprintf("./node -losses=%d", *losses))
	c := lighttest.New(t, 4)
	for i := range 4 {
		c.Change(4+i, true)
		for k := range 12 {
			b := c.Build(nil, c.Transfer(k%4), c.Transfer((k+1)%4))
			if k%3 == 0 { // final through its child
				b = c.Build(b, c.Transfer(k%4))
			}
			c.Finalize(b)
		}
	}
	total := new(atomic.Int64)
	grow(t, c, vfs.NewCrashableMem(), func(_ *vfs.MemFS, _ errorfs.Op, _ *growth) { total.Add(1) })

	var points []lossPoint
	for len(points) < *losses { // the background's writes vary: the last ones of a draw may never come
		at := make(map[int64]bool)
		for len(at) < min(*losses-len(points), int(total.Load()/2)) {
			at[r.Int64N(total.Load())] = true
		}
		points = append(points, losePower(t, c, r, at)...)
	}
	for i, p := range points {
		if err := recovered(t, c, p); err != nil {
			t.Fatalf("power lost at %d of %d (%s), height %d, view %d: %v", i, len(points), p.op, p.finalized, p.voted, err)
		}
	}
}

// losePower grows a database and cuts the power at some of its writes.
func losePower(t *testing.T, c *lighttest.Chain, r *rand.Rand, at map[int64]bool) (points []lossPoint) {
	t.Helper()
	now := int64(0)
	grow(t, c, vfs.NewCrashableMem(), func(mem *vfs.MemFS, op errorfs.Op, g *growth) {
		if now++; !at[now-1] {
			return
		}
		// What had returned is read before the copy is made: it must be in it.
		p := lossPoint{op: fmt.Sprintf("%v %s", op.Kind, op.Path), finalized: g.finalized.Load(), voted: g.voted.Load()}
		cfg := vfs.CrashCloneCfg{}
		if g.opened.Load() && r.IntN(2) == 0 { // see the store's own test
			cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: rand.New(rand.NewPCG(r.Uint64(), 0))}
		}
		p.fs = mem.CrashClone(cfg)
		points = append(points, p)
	})
	return points
}

// growth is how far grow is.
type growth struct {
	opened    atomic.Bool
	finalized atomic.Uint64
	voted     atomic.Uint64
}

// grow plays a chain into a new database as a validator does: a synced vote for
// each block, then its finalization.
func grow(t *testing.T, c *lighttest.Chain, mem *vfs.MemFS, write func(*vfs.MemFS, errorfs.Op, *growth)) {
	t.Helper()
	g := new(growth)
	var mu sync.Mutex
	observe := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			write(mem, op, g)
		}
		return nil
	})
	st, live := openLoss(t, storetest.FS(errorfs.Wrap(mem, observe)), c)
	g.opened.Store(true)
	for e, err := range archive.Stored(c.Store.View, 1, c.Ledger.HeadInfo().Height) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := chain.DecodeBlock(e.Block, &c.Spec.Rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := live.Execute(b); err != nil {
			t.Fatal(err)
		}
		facts := blockFacts(b)
		vote := consensus.Vote{Subject: consensus.Subject{Kind: consensus.Notarize, Epoch: facts.Epoch, View: facts.View, ParentView: facts.View - 1, Block: b.Hash()}}
		vote.Signature = lighttest.Key(0).Sign(vote.Digest(c.Network()))
		if err := st.PutRecords([]store.Record{voteRecord(consensus.Record{Vote: &vote})}); err != nil {
			t.Fatal(err)
		}
		g.voted.Store(facts.View)
		if len(e.Certificate) == 0 {
			continue
		}
		cert, err := consensus.DecodeCertificate(e.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		floor := ledger.Floor{Epoch: cert.Epoch, View: cert.View}
		if live.Closing(b.Hash()) {
			floor = ledger.Floor{Epoch: cert.Epoch + 1}
		}
		if _, err := live.Finalize(b.Hash(), e.Certificate, floor, []store.RecordRange{prunable(floor)}); err != nil {
			t.Fatal(err)
		}
		g.finalized.Store(b.NumberU64())
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// recovered opens a database after a power loss.
func recovered(t *testing.T, c *lighttest.Chain, p lossPoint) (err error) {
	st, err := store.Open(lossDir, lossOptions(p.fs))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	live, err := ledger.Open(st, c.Spec)
	if err != nil {
		return err
	}
	if h := live.HeadInfo().Height; h < p.finalized {
		return fmt.Errorf("head %d", h)
	}
	if err := keptVotes(st, c, p); err != nil {
		return err
	}
	if err := soundStore(t, st, c); err != nil {
		return err
	}
	head := c.Ledger.HeadInfo().Height
	err = archive.Apply(t.Context(), live, archive.Stored(c.Store.View, live.HeadInfo().Height+1, head), archive.Options{Prune: prunable, Progress: func(uint64) {}})
	if err != nil {
		return err
	}
	for h := range head + 1 {
		want, errW := c.Ledger.HashByHeight(h)
		got, errG := live.HashByHeight(h)
		if err := errors.Join(errW, errG); err != nil || want != got {
			return fmt.Errorf("block %d: %s, want %s: %w", h, got, want, err)
		}
	}
	return soundStore(t, st, c)
}

// keptVotes: each vote above the floor whose write had returned is there.
func keptVotes(st *store.Store, c *lighttest.Chain, p lossPoint) error {
	head, err := st.Head()
	if err != nil {
		return err
	}
	held := map[crypto.Hash]bool{}
	records, err := loadVoteLog(st)
	if err != nil {
		return err
	}
	for _, r := range records {
		held[r.Vote.Block] = true
	}
	for h := head.Height + 1; h <= c.Ledger.HeadInfo().Height; h++ {
		b, err := c.Ledger.BlockByHeight(h)
		if err != nil {
			return err
		}
		if blockFacts(b).View <= p.voted && !held[b.Hash()] {
			return fmt.Errorf("the vote for block %d is lost", h)
		}
	}
	return nil
}

func soundStore(t *testing.T, st *store.Store, c *lighttest.Chain) error {
	found, _, err := findings(t, st, c.Spec)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("db check: %q", found)
	}
	return err
}
