package trie

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/crypto"
)

// After every batch: the root is go-ethereum's, the NodeSet brings the disk to
// exactly the nodes of the new version, the old version has not changed, and
// it does not matter whether the next batch meets nodes in memory or on disk.
func TestUpdateMatchesGoEthereum(t *testing.T) {
	t.Parallel()
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			seeds(t, 25, func(t *testing.T, r *rand.Rand) { runBatches(t, r, s) })
		})
	}
}

func runBatches(t *testing.T, r *rand.Rand, s shape) {
	t.Helper()
	o, d := newOracle(), disk{}
	v := New(EmptyRoot, d.source)
	for round := range 14 {
		// Grow, then shrink, at last to nothing.
		entries := s.batch(r, o, 1+r.IntN(60), []float64{0, 0.2, 0.5, 0.9}[min(round/3, 3)])
		if round == 13 {
			entries = nil
			for _, k := range o.keys() {
				entries = append(entries, Entry{Key: k})
			}
			r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		}
		given := slices.Clone(entries)
		before := v.Hash()
		next, set, err := v.Update(entries)
		if err != nil {
			t.Fatal(err)
		}
		o.apply(entries)
		if next.Hash() != o.trie.Hash() {
			t.Fatalf("round %d: root %x, go-ethereum has %x", round, next.Hash(), o.trie.Hash())
		}
		if !slices.EqualFunc(entries, given, func(a, b Entry) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value)
		}) {
			t.Fatal("update changed its argument")
		}
		if v.Hash() != before || (next.Hash() == before) != (next == v) || (next == v) != (len(set.Nodes) == 0) {
			t.Fatalf("round %d: versions %x to %x with %d nodes", round, before, next.Hash(), len(set.Nodes))
		}
		checkMemory(t, next)
		d.apply(t, set)
		d.mustEqual(t, reachable(t, next))
		v = next
		switch r.IntN(4) {
		case 0:
			v = New(v.Hash(), d.source)
		case 1:
			limit := r.IntN(40)
			if v = v.Bound(limit); v.Resident() > limit {
				t.Fatalf("%d nodes in memory, bound is %d", v.Resident(), limit)
			}
			checkMemory(t, v)
		}
		d.mustEqual(t, reachable(t, v))
		checkValues(t, r, v, o, s)
	}
	if v.Hash() != EmptyRoot || len(d) != 0 || v.Resident() != 0 {
		t.Fatalf("emptied: root %x, %d nodes on disk, %d in memory", v.Hash(), len(d), v.Resident())
	}
}

func checkValues(t *testing.T, r *rand.Rand, v *Trie, o *oracle, s shape) {
	t.Helper()
	check := func(k crypto.Hash) {
		if got, err := v.Get(k[:]); err != nil || !bytes.Equal(got, o.values[k]) || (got == nil) != (o.values[k] == nil) {
			t.Fatalf("value of %x: %x, %v, want %x", k, got, err, o.values[k])
		}
	}
	for k := range o.values {
		check(k)
	}
	for range 10 {
		check(s.key(r))
	}
}

// One batch, the same in another order, and the same entry by entry make the
// same version; their NodeSets make the same disk.
func TestUpdateIgnoresOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.Custom(func(rt *rapid.T) (k crypto.Hash) {
			k[rapid.SampledFrom([]int{0, 1, 15, 31}).Draw(rt, "byte")] = rapid.Byte().Draw(rt, "digits")
			return k
		})
		entry := rapid.Custom(func(rt *rapid.T) Entry {
			return Entry{Key: key.Draw(rt, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "value")}
		})
		byKey := func(e Entry) crypto.Hash { return e.Key }
		base := rapid.SliceOfDistinct(entry, byKey).Draw(rt, "base")
		batch := rapid.SliceOfDistinct(entry, byKey).Draw(rt, "batch")
		order := rapid.Permutation(batch).Draw(rt, "order")

		run := func(batches ...[]Entry) (crypto.Hash, disk) {
			d := disk{}
			v := New(EmptyRoot, d.source)
			for _, b := range batches {
				next, set, err := v.Update(b)
				if err != nil {
					rt.Fatal(err)
				}
				d.apply(t, set)
				v = next
			}
			return v.Hash(), d
		}
		single := [][]Entry{base}
		for _, e := range order {
			single = append(single, []Entry{e})
		}
		want, disk := run(base, batch)
		for _, other := range [][][]Entry{{base, order}, single, {slices.Concat(base, order)}} {
			root, d := run(other...)
			if root != want {
				rt.Fatalf("root %x, want %x", root, want)
			}
			d.mustEqual(t, disk)
		}
	})
}

// Two versions made from one do not see each other.
func TestUpdateBranchesOff(t *testing.T) {
	t.Parallel()
	seeds(t, 20, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			o, d := newOracle(), disk{}
			v, set, err := New(EmptyRoot, d.source).Update(s.batch(r, o, 50, 0))
			if err != nil {
				t.Fatal(err)
			}
			d.apply(t, set)
			root, nodes := v.Hash(), reachable(t, v)
			left, right := s.batch(r, o, 20, 0.3), s.batch(r, o, 20, 0.3)
			a, _, errA := v.Update(left)
			b, _, errB := v.Update(right)
			fresh, _, errF := New(root, d.source).Update(right)
			if err := errors.Join(errA, errB, errF); err != nil {
				t.Fatal(err)
			}
			if b.Hash() != fresh.Hash() || v.Hash() != root {
				t.Fatal("one branch changed another")
			}
			nodes.mustEqual(t, reachable(t, v))
			checkMemory(t, a)
			checkMemory(t, b)
		}
	})
}

// A version whose nodes were overwritten on disk answers rightly or that a
// node is missing. With the old nodes in front of the disk it answers all.
func TestStaleVersionNeverAnswersWrongly(t *testing.T) {
	t.Parallel()
	seeds(t, 15, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			runStale(t, r, s)
		}
	})
}

func runStale(t *testing.T, r *rand.Rand, s shape) {
	t.Helper()
	o, d := newOracle(), disk{}
	v := New(EmptyRoot, d.source)
	first := s.batch(r, o, 60, 0)
	v, set, err := v.Update(first)
	if err != nil {
		t.Fatal(err)
	}
	o.apply(first)
	d.apply(t, set)
	want := newOracle()
	want.apply(first)

	cold, partly := New(v.Hash(), d.source), v.Bound(v.Resident()/2)
	undo := disk{}
	head := v.Bound(0)
	for range 4 {
		entries := s.batch(r, o, 10, 0.4)
		if head, set, err = head.Update(entries); err != nil {
			t.Fatal(err)
		}
		o.apply(entries)
		d.apply(t, set)
		for _, n := range set.Nodes {
			// The oldest blob of a path is the one of the first version.
			if _, known := undo[string(n.Path)]; !known {
				undo[string(n.Path)] = n.OldBlob
			}
		}
	}
	whole := cold.WithSource(func(path []byte, _ crypto.Hash) ([]byte, error) {
		if blob, ok := undo[string(path)]; ok {
			return blob, nil
		}
		return d[string(path)], nil
	})
	for _, k := range append(want.keys(), s.key(r), s.key(r)) {
		for _, old := range []*Trie{cold, partly, v, whole} {
			got, err := old.Get(k[:])
			var missing *MissingNodeError
			if errors.As(err, &missing) && old != v && old != whole {
				if crypto.Keccak256(d[string(missing.Path)]) == missing.Hash {
					t.Fatalf("node at path %x is there", missing.Path)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, want.values[k]) {
				t.Fatalf("old value of %x: %x, %v, want %x", k, got, err, want.values[k])
			}
		}
	}
	// A stale version cannot be built upon by mistake either.
	entries := s.batch(r, want, 20, 0.5)
	next, _, err := cold.Update(entries)
	want.apply(entries)
	var missing *MissingNodeError
	if err != nil && !errors.As(err, &missing) || err == nil && next.Hash() != want.trie.Hash() {
		t.Fatalf("update of a stale version: %v", err)
	}
}
