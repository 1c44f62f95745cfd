package node

import (
	"errors"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/ledger"
	"cairn/ledger/store"
	"cairn/light/lighttest"
	"cairn/node/archive"
)

// longChain has several epochs and transfers between a few accounts.
func longChain(t *testing.T) *lighttest.Chain {
	t.Helper()
	c := lighttest.New(t, 4)
	for i := range 3 {
		c.Change(4+i, true)
		for k := range 10 {
			c.Seal(c.Transfer(k%4), c.Transfer((k+1)%4))
		}
	}
	return c
}

// pruneTo prunes a database by a rule, as a node does over its life.
func pruneTo(t *testing.T, live *ledger.Ledger, st *store.Store, rule HistoryConfig) pruned {
	t.Helper()
	p := pruner{live: live, st: st, rule: rule}
	done, err := p.pass(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestPrune: what the rule keeps is as before, what it does not is refused with
// ErrPruned, the walk through the epochs stays whole, and db check finds nothing;
// again after a restart and after more blocks.
func TestPrune(t *testing.T) {
	t.Parallel()
	c := longChain(t)
	fs := vfs.NewMem()
	st, live := openLoss(t, fs, c)
	apply := func(to uint64) {
		t.Helper()
		err := archive.Apply(t.Context(), live, archive.Stored(c.Store.View, live.HeadInfo().Height+1, to), archive.Options{Prune: prunable, Progress: func(uint64) {}})
		if err != nil {
			t.Fatal(err)
		}
	}
	head := c.Ledger.HeadInfo().Height
	steps := c.Steps()
	rule := HistoryConfig{KeepBlocks: 8, KeepStates: 5}
	for i, to := range []uint64{head - 9, head} {
		apply(to)
		done := pruneTo(t, live, st, rule)
		if done.blocks == 0 || done.rows == 0 {
			t.Errorf("round %d: pruned %+v", i, done)
		}
		if b := st.Bounds(); b.FirstBody != to-7 || b.Base != to-4 {
			t.Errorf("bounds %+v at head %d", b, to)
		}
		if i == 0 { // a restart goes on with the same bounds
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			st, live = openLoss(t, fs, c)
		}
		if err := soundStore(t, st, c); err != nil {
			t.Error(err)
		}
		fresh, err := ledger.Open(st, c.Spec) // without blocks in memory, which it may still answer
		if err != nil {
			t.Fatal(err)
		}
		compareKept(t, c, fresh, to, rule)
	}
	if done := pruneTo(t, live, st, rule); done != (pruned{}) {
		t.Errorf("again: %+v", done)
	}
	for e := range uint32(len(steps)) {
		height, err := live.EpochEnd(e)
		if err != nil {
			t.Fatal(err)
		}
		want, _, errW := c.Ledger.ValidatorsAt(height)
		got, _, errG := live.ValidatorsAt(height)
		if errW != nil || errG != nil || want.Hash() != got.Hash() {
			t.Errorf("the set after epoch %d: %v, %v", e, errW, errG)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// compareKept holds a pruned ledger against a whole one.
func compareKept(t *testing.T, c *lighttest.Chain, live *ledger.Ledger, head uint64, rule HistoryConfig) {
	t.Helper()
	for h := uint64(1); h <= head; h++ {
		want, err := c.Ledger.Receipts(h)
		if err != nil {
			t.Fatal(err)
		}
		got, err := live.Receipts(h)
		if kept := h+rule.KeepBlocks > head; kept && (err != nil || !reflect.DeepEqual(want, got)) || !kept && !errors.Is(err, ledger.ErrPruned) {
			t.Errorf("receipts %d at head %d: %v", h, head, err)
		}
		block, err := c.Ledger.BlockByHeight(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			if _, _, _, _, err := live.Transaction(tx.Hash()); (err == nil) != (h+rule.KeepBlocks > head) {
				t.Errorf("transaction of block %d at head %d: %v", h, head, err)
			}
		}
		if header, err := live.HeaderByHeight(h); err != nil || header.Hash() != block.Hash() {
			t.Errorf("header %d: %v", h, err)
		}
		for i := range 4 {
			a := lighttest.Account(i).Address()
			want, err := c.Ledger.AccountAt(a, h)
			if err != nil {
				t.Fatal(err)
			}
			got, err := live.AccountAt(a, h)
			if kept := h+rule.KeepStates > head; kept && (err != nil || !reflect.DeepEqual(want, got)) || !kept && !errors.Is(err, ledger.ErrPruned) {
				t.Errorf("account %d at height %d, head %d: %v", i, h, head, err)
			}
		}
	}
}

// TestPruneInterrupted: power losses in the middle of pruning: the next run
// deletes what is left, and the database is sound at any time.
func TestPruneInterrupted(t *testing.T) {
	t.Parallel()
	c := longChain(t)
	mem := vfs.NewCrashableMem()
	st, live := openLoss(t, mem, c)
	head := c.Ledger.HeadInfo().Height
	if err := archive.Apply(t.Context(), live, archive.Stored(c.Store.View, 1, head), archive.Options{Prune: prunable, Progress: func(uint64) {}}); err != nil {
		t.Fatal(err)
	}
	if err := live.RaiseBounds(store.Bounds{Base: head - 5, FirstBody: head - 5}); err != nil {
		t.Fatal(err)
	}
	var clones []*vfs.MemFS
	lose := func(synced bool) {
		if synced {
			if err := st.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{}))
	}
	lose(false)
	if _, n, err := st.PruneBodies(0, 3); err != nil || n != 3 {
		t.Fatal(n, err)
	}
	lose(false)
	lose(true)
	if _, n, err := st.PruneHistory(nil, 20); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	lose(true)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	var want map[string]int
	for i, fs := range clones {
		st, live := openLoss(t, fs, c)
		if err := soundStore(t, st, c); err != nil {
			t.Errorf("power loss %d: %v", i, err)
		}
		p := pruner{live: live, st: st, rule: HistoryConfig{KeepBlocks: 1 << 40}}
		if _, err := p.pass(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if err := soundStore(t, st, c); err != nil {
			t.Errorf("power loss %d, pruned again: %v", i, err)
		}
		tables, err := st.Tables()
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]int{}
		for _, table := range tables {
			rows[table.Name] = int(table.Rows)
		}
		if want == nil {
			want = rows
		}
		if !reflect.DeepEqual(want, rows) || rows["bodies"] > 7 {
			t.Errorf("power loss %d leaves %v, others %v", i, rows, want)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPruneRule: when bounds move, and what a configuration may ask for.
func TestPruneRule(t *testing.T) {
	t.Parallel()
	p := pruner{rule: HistoryConfig{KeepBlocks: 1600, KeepStates: 0}}
	for _, tc := range []struct{ first, head, want uint64 }{
		{0, 0, 0},
		{0, 1600, 0},
		{0, 1698, 0},
		{0, 1699, 100},
		{100, 1798, 100},
		{100, 1799, 200},
		{5000, 1799, 5000}, // joined from a snapshot
	} {
		if got := p.bounds(store.Bounds{FirstBody: tc.first}, tc.head); got.FirstBody != tc.want || got.Base != 0 {
			t.Errorf("first %d, head %d: %+v, want %d", tc.first, tc.head, got, tc.want)
		}
	}
	for _, tc := range []struct {
		rule HistoryConfig
		fill bool
		ok   bool
	}{
		{HistoryConfig{}, true, true},
		{HistoryConfig{KeepBlocks: minKept, KeepStates: minKept}, false, true},
		{HistoryConfig{KeepBlocks: minKept - 1}, false, false},
		{HistoryConfig{KeepStates: 1}, false, false},
		{HistoryConfig{KeepBlocks: minKept}, true, false},
	} {
		if err := tc.rule.validate(tc.fill); (err == nil) != tc.ok {
			t.Errorf("%+v, fill %v: %v", tc.rule, tc.fill, err)
		}
	}
}
