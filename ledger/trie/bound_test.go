package trie

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"cairn/crypto"
)

// A ledger that bounds after every block stays within the bound for good, and
// neither roots nor older versions notice.
func TestBoundHoldsOverManyUpdates(t *testing.T) {
	t.Parallel()
	seeds(t, 3, func(t *testing.T, r *rand.Rand) {
		const limit = 200
		s := shapes[0]
		o, d := newOracle(), disk{}
		v := New(EmptyRoot, d.source)
		cuts := 0
		for range 60 {
			entries := s.batch(r, o, 40, 0.1)
			next, set, err := v.Update(entries)
			if err != nil {
				t.Fatal(err)
			}
			o.apply(entries)
			d.apply(t, set)
			bounded := next.Bound(limit)
			if bounded.Resident() > limit || bounded.Hash() != o.trie.Hash() {
				t.Fatalf("%d nodes in memory, bound is %d", bounded.Resident(), limit)
			}
			if bounded != next {
				cuts++
				if bounded.Resident() > limit*3/4 {
					t.Fatalf("cut to %d of %d", bounded.Resident(), limit)
				}
			}
			checkMemory(t, next)
			checkMemory(t, bounded)
			v = bounded
		}
		if cuts == 0 || cuts == 60 {
			t.Fatalf("cut %d times in 60 updates", cuts)
		}
		if len(o.values) < 2*limit {
			t.Fatalf("%d entries do not try a bound of %d", len(o.values), limit)
		}
		d.mustEqual(t, reachable(t, v))
	})
}

// What stays in memory is what was made last, hanging together from the root.
func TestBoundKeepsTheYoungest(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	d := disk{}
	entries := make([]Entry, 500)
	for i := range entries {
		entries[i] = Entry{Key: benchKey(i), Value: accountValue(r)}
	}
	v, set, err := New(EmptyRoot, d.source).Update(entries)
	if err != nil {
		t.Fatal(err)
	}
	d.apply(t, set)
	hot := entries[17]
	hot.Value = []byte("hot")
	v, set, err = v.Update([]Entry{hot})
	if err != nil {
		t.Fatal(err)
	}
	d.apply(t, set)
	reads := 0
	b := v.Bound(12).WithSource(func(path []byte, hash crypto.Hash) ([]byte, error) {
		reads++
		return d.source(path, hash)
	})
	if got, err := b.Get(hot.Key[:]); err != nil || !bytes.Equal(got, hot.Value) || reads != 0 {
		t.Fatalf("youngest: %q, %v after %d reads", got, err, reads)
	}
	if got, err := b.Get(entries[3].Key[:]); err != nil || !bytes.Equal(got, entries[3].Value) || reads == 0 {
		t.Fatalf("other: %x, %v after %d reads", got, err, reads)
	}
	// Reading again reads again: readers do not add to a version's memory.
	resident, before := b.Resident(), reads
	if _, err := b.Get(entries[3].Key[:]); err != nil || reads != 2*before || b.Resident() != resident {
		t.Fatalf("%v, %d reads after %d, %d nodes after %d", err, reads, before, b.Resident(), resident)
	}
	checkMemory(t, b)
}

func TestBoundOfNothing(t *testing.T) {
	t.Parallel()
	empty := New(EmptyRoot, nil)
	for _, limit := range []int{-1, 0, 1} {
		if empty.Bound(limit) != empty {
			t.Fatal("the empty trie has nothing to drop")
		}
	}
	d := disk{}
	v, set, err := empty.WithSource(d.source).Update([]Entry{{Key: benchKey(1), Value: []byte{1}}})
	if err != nil {
		t.Fatal(err)
	}
	d.apply(t, set)
	k := benchKey(1)
	for _, limit := range []int{-1, 0} {
		b := v.Bound(limit)
		if got, err := b.Get(k[:]); b.Resident() != 0 || err != nil || !bytes.Equal(got, []byte{1}) {
			t.Fatalf("bound %d: %d in memory, %x, %v", limit, b.Resident(), got, err)
		}
	}
}

// A chain whose blocks are stored three behind the newest stays within bounds,
// and no node that only memory has is ever dropped.
func TestBoundAboveKeepsWhatIsNotStored(t *testing.T) {
	t.Parallel()
	seeds(t, 4, func(t *testing.T, r *rand.Rand) {
		const limit, lag = 150, 3
		s := shapes[r.IntN(len(shapes))]
		o, d := newOracle(), disk{}
		stored := New(EmptyRoot, d.source)
		v := stored
		type pending struct {
			trie *Trie
			set  *NodeSet
		}
		var waiting []pending
		for range 25 {
			entries := s.batch(r, o, 30, 0.1)
			next, set, err := v.Update(entries)
			if err != nil {
				t.Fatal(err)
			}
			o.apply(entries)
			fresh := 0
			if waiting = append(waiting, pending{next, set}); len(waiting) > lag {
				stored = waiting[0].trie
				d.apply(t, waiting[0].set)
				waiting = waiting[1:]
			}
			next.root.node.visit(0, func(n *node, _ int) {
				if n.gen > stored.gen {
					fresh++
				}
			})
			v = next.BoundAbove(stored, limit)
			if v.Resident() > max(limit, fresh) || v.Hash() != o.trie.Hash() {
				t.Fatalf("%d nodes in memory, bound is %d, %d are not stored", v.Resident(), limit, fresh)
			}
			checkMemory(t, v)
			checkValues(t, r, v, o, s)
			if none := next.BoundAbove(stored, 0); none.Resident() > fresh {
				t.Fatalf("%d nodes in memory, %d are not stored", none.Resident(), fresh)
			} else {
				checkValues(t, r, none, o, s)
			}
		}
		for _, p := range waiting {
			d.apply(t, p.set)
		}
		d.mustEqual(t, reachable(t, v))
	})
}
