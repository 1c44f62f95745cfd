package trie

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"cairn/crypto"
)

// drawn is a trie of a shape, on disk and as its sorted entries.
type drawn struct {
	trie    *Trie
	disk    disk
	entries []Entry
}

func draw(t testing.TB, r *rand.Rand, s shape, size int) drawn {
	t.Helper()
	o := newOracle()
	o.apply(s.batch(r, o, size, 0))
	for k, v := range o.values { // batch may draw an old value of nothing
		if len(v) == 0 {
			delete(o.values, k)
		}
	}
	out := drawn{disk: disk{}}
	for _, k := range o.keys() {
		out.entries = append(out.entries, Entry{Key: k, Value: o.values[k]})
	}
	v, set, err := New(EmptyRoot, nil).Update(out.entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range set.Nodes {
		out.disk[string(n.Path)] = n.Blob
	}
	out.trie = New(v.Hash(), out.disk.source)
	return out
}

// slice is what a server answers: the entries from a key on, at most limit.
func (d *drawn) slice(from crypto.Hash, limit int) []Entry {
	i, _ := slices.BinarySearchFunc(d.entries, from, func(e Entry, k crypto.Hash) int { return e.Key.Cmp(k) })
	return slices.Clone(d.entries[i:min(len(d.entries), i+limit)])
}

func (d *drawn) prove(t testing.TB, from crypto.Hash, entries []Entry) [][]byte {
	t.Helper()
	last := from
	if n := len(entries); n > 0 {
		last = entries[n-1].Key
	}
	proof, err := d.trie.ProveRange(from, last)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// truth says whether entries are all of the trie from a key on to their last.
func (d *drawn) truth(from crypto.Hash, entries []Entry) (more, ok bool) {
	limit := len(entries)
	if limit == 0 {
		limit = 1
	}
	want := d.slice(from, limit)
	if len(want) != len(entries) {
		return false, false
	}
	for i := range want {
		if want[i].Key != entries[i].Key || !bytes.Equal(want[i].Value, entries[i].Value) {
			return false, false
		}
	}
	return len(want) > 0 && want[len(want)-1].Key != d.entries[len(d.entries)-1].Key, true
}

// TestBuilderMatchesUpdate: a stream makes the nodes and the root that an update
// makes, a child before its parent, in any shape.
func TestBuilderMatchesUpdate(t *testing.T) {
	t.Parallel()
	seeds(t, 30, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			d := draw(t, r, s, 1+r.IntN(300))
			got := disk{}
			b := Builder{Emit: func(path []byte, hash crypto.Hash, blob []byte) error {
				if crypto.Keccak256(blob) != hash {
					t.Fatalf("%s: wrong hash at path %x", s.name, path)
				}
				for p := range got {
					if len(p) < len(path) && bytes.HasPrefix(path, []byte(p)) {
						t.Fatalf("%s: %x comes after its parent %x", s.name, path, p)
					}
				}
				got[string(path)] = blob
				return nil
			}}
			for _, e := range d.entries {
				if err := b.Add(e.Key, e.Value); err != nil {
					t.Fatal(err)
				}
			}
			root, err := b.Root()
			if err != nil || root != d.trie.Hash() {
				t.Fatalf("%s: root %s %v, want %s", s.name, root, err, d.trie.Hash())
			}
			got.mustEqual(t, d.disk)
		}
	})
}

func TestBuilderRefuses(t *testing.T) {
	t.Parallel()
	var b Builder
	if root, err := b.Root(); err != nil || root != EmptyRoot {
		t.Errorf("nothing: %s %v", root, err)
	}
	if err := b.Add(crypto.Hash{5}, nil); !errors.Is(err, ErrNode) {
		t.Errorf("empty value: %v", err)
	}
	if err := b.Add(crypto.Hash{5}, []byte{1}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []crypto.Hash{{5}, {4}} {
		if err := b.Add(k, []byte{1}); !errors.Is(err, ErrOrder) {
			t.Errorf("key %s: %v", k, err)
		}
	}
	full := errors.New("the disk is full")
	b = Builder{Emit: func([]byte, crypto.Hash, []byte) error { return full }}
	if err := b.Add(crypto.Hash{5}, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Root(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

// starts are places where a range can begin: on a key, beside one, anywhere,
// and at both ends.
func starts(r *rand.Rand, s shape, d drawn) []crypto.Hash {
	out := []crypto.Hash{{}, crypto.Hash(bytes.Repeat([]byte{0xff}, 32)), s.key(r), uniformKey(r)}
	for range 4 {
		k := d.entries[r.IntN(len(d.entries))].Key
		beside := k
		beside[31-r.IntN(4)] ^= 1 << r.IntN(8)
		out = append(out, k, beside)
	}
	return out
}

// TestVerifyRangeMatchesGoEthereum: every true range with its proof holds, with
// the same answer as go-ethereum's.
func TestVerifyRangeMatchesGoEthereum(t *testing.T) {
	t.Parallel()
	seeds(t, 20, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			d := draw(t, r, s, 1+r.IntN(120))
			for _, from := range starts(r, s, d) {
				entries := d.slice(from, 1+r.IntN(len(d.entries)+2))
				proof := d.prove(t, from, entries)
				more, err := VerifyRange(d.trie.Hash(), from, entries, proof)
				if err != nil {
					t.Fatalf("%s: %d entries of %d from %s: %v", s.name, len(entries), len(d.entries), from, err)
				}
				if want, _ := d.truth(from, entries); more != want {
					t.Fatalf("%s: more is %v, want %v", s.name, more, want)
				}
				theirs, err := gethRange(d.trie.Hash(), from, entries, proof)
				if err != nil || theirs != more {
					t.Fatalf("%s: %d entries from %s: more %v; go-ethereum: %v %v", s.name, len(entries), from, more, theirs, err)
				}
			}
			if more, err := VerifyRange(d.trie.Hash(), crypto.Hash{}, d.entries, nil); more || err != nil {
				t.Fatalf("%s: a whole trie: %v %v", s.name, more, err)
			}
		}
	})
}

func gethRange(root, from crypto.Hash, entries []Entry, proof [][]byte) (bool, error) {
	db := memorydb.New()
	for _, n := range proof {
		h := crypto.Keccak256(n)
		if err := db.Put(h[:], n); err != nil {
			return false, err
		}
	}
	var keys, values [][]byte
	for _, e := range entries {
		keys, values = append(keys, e.Key.Bytes()), append(values, e.Value)
	}
	return gethtrie.VerifyRangeProof(root, from[:], keys, values, db)
}

// lies are ways to change a true answer. Each may leave it as it was.
var lies = []struct {
	name string
	tell func(r *rand.Rand, d *drawn, from *crypto.Hash, entries []Entry, proof [][]byte) ([]Entry, [][]byte)
}{
	{"leave one out", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) == 0 {
			return e, p
		}
		i := r.IntN(len(e))
		return slices.Delete(e, i, i+1), p
	}},
	{"leave many out", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) == 0 {
			return e, p
		}
		i := r.IntN(len(e))
		return slices.Delete(e, i, i+1+r.IntN(len(e)-i)), p
	}},
	{"add one", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		k := uniformKey(r)
		if len(e) > 0 && r.IntN(2) == 0 {
			k = e[r.IntN(len(e))].Key
			k[31] ^= 1
		}
		e = append(e, Entry{Key: k, Value: []byte{1, 2, 3}})
		slices.SortFunc(e, func(a, b Entry) int { return a.Key.Cmp(b.Key) })
		return e, p
	}},
	{"change a value", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) == 0 {
			return e, p
		}
		i := r.IntN(len(e))
		e[i].Value = slices.Clone(e[i].Value)
		e[i].Value[r.IntN(len(e[i].Value))] ^= 1 << r.IntN(8)
		return e, p
	}},
	{"change a key", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) == 0 {
			return e, p
		}
		e[r.IntN(len(e))].Key[r.IntN(32)] ^= 1 << r.IntN(8)
		return e, p
	}},
	{"swap two", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) < 2 {
			return e, p
		}
		i := r.IntN(len(e) - 1)
		e[i].Value, e[i+1].Value = e[i+1].Value, e[i].Value
		return e, p
	}},
	{"empty a value", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		if len(e) > 0 {
			e[r.IntN(len(e))].Value = nil
		}
		return e, p
	}},
	{"say that there is nothing", func(_ *rand.Rand, _ *drawn, _ *crypto.Hash, _ []Entry, p [][]byte) ([]Entry, [][]byte) {
		return nil, p
	}},
	{"begin elsewhere", func(r *rand.Rand, _ *drawn, from *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		from[r.IntN(32)] ^= 1 << r.IntN(8)
		return e, p
	}},
	{"cut the proof", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		i := r.IntN(len(p))
		return e, slices.Delete(p, i, i+1)
	}},
	{"add a node", func(r *rand.Rand, d *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		paths := make([]string, 0, len(d.disk))
		for path := range d.disk {
			paths = append(paths, path)
		}
		slices.Sort(paths)
		return e, append(p, d.disk[paths[r.IntN(len(paths))]])
	}},
	{"change a node", func(r *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, p [][]byte) ([]Entry, [][]byte) {
		i := r.IntN(len(p))
		p[i] = slices.Clone(p[i])
		p[i][r.IntN(len(p[i]))] ^= 1 << r.IntN(8)
		return e, p
	}},
	{"no proof", func(_ *rand.Rand, _ *drawn, _ *crypto.Hash, e []Entry, _ [][]byte) ([]Entry, [][]byte) { return e, nil }},
}

// TestVerifyRangeLies: whatever is changed, what is accepted is the truth, and
// each way to lie is found out at least once.
func TestVerifyRangeLies(t *testing.T) {
	t.Parallel()
	refused := make([]int, len(lies))
	seeds(t, 30, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			d := draw(t, r, s, 2+r.IntN(100))
			for _, start := range starts(r, s, d) {
				for i, lie := range lies {
					from, entries := start, d.slice(start, 1+r.IntN(len(d.entries)+2))
					entries, proof := lie.tell(r, &d, &from, entries, d.prove(t, start, entries))
					more, err := VerifyRange(d.trie.Hash(), from, entries, proof)
					if err != nil {
						refused[i]++
						continue
					}
					if want, ok := d.truth(from, entries); !ok || want != more {
						t.Fatalf("%s, %s: accepted %d entries from %s, more %v", s.name, lie.name, len(entries), from, more)
					}
				}
			}
		}
	})
	for i, n := range refused {
		if n == 0 {
			t.Errorf("%s: never found out", lies[i].name)
		}
	}
}

// TestVerifyRangeErrors: one case for each kind of refusal.
func TestVerifyRangeErrors(t *testing.T) {
	t.Parallel()
	d := draw(t, rand.New(rand.NewPCG(7, 7)), shapes[0], 60)
	from := d.entries[10].Key
	entries := d.slice(from, 20)
	proof := d.prove(t, from, entries)
	root := d.trie.Hash()
	swapped := slices.Clone(entries)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	long := slices.Clone(proof)
	for i := range 2 * (maxDepth + 1) {
		long = append(long, fmt.Appendf(nil, "node %d", i))
	}
	for _, c := range []struct {
		name    string
		root    crypto.Hash
		from    crypto.Hash
		entries []Entry
		proof   [][]byte
		want    error
	}{
		{"order", root, from, swapped, proof, ErrOrder},
		{"below the start", root, entries[1].Key, entries, proof, ErrOrder},
		{"gap", root, from, slices.Delete(slices.Clone(entries), 5, 6), proof, ErrRange},
		{"another root", crypto.Hash{1}, from, entries, proof, ErrProofTooShort},
		{"node missing", root, from, entries, proof[:len(proof)-1], ErrProofTooShort},
		{"node twice", root, from, entries, append(slices.Clone(proof), proof[0]), ErrProofExtra},
		{"node too many", root, from, entries, append(slices.Clone(proof), []byte("node")), ErrProofExtra},
		{"proof too long", root, from, entries, long, ErrProofTooLong},
		{"nothing at all", root, from, nil, nil, ErrProofTooShort},
		{"not the whole", root, from, entries, nil, ErrRange},
		{"root of nonsense", crypto.Keccak256([]byte("node")), from, entries, [][]byte{[]byte("node")}, ErrNode},
		{"entries of an empty trie", EmptyRoot, from, entries, nil, ErrRange},
		{"nodes of an empty trie", EmptyRoot, from, nil, proof, ErrProofExtra},
	} {
		if _, err := VerifyRange(c.root, c.from, c.entries, c.proof); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if more, err := VerifyRange(EmptyRoot, from, nil, nil); more || err != nil {
		t.Errorf("empty trie: %v %v", more, err)
	}
}

// FuzzVerifyRange: what is accepted against a root is what the trie has.
func FuzzVerifyRange(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	var tries []drawn
	for i, s := range shapes {
		d := draw(f, r, s, 30)
		tries = append(tries, d)
		for _, from := range []crypto.Hash{{}, d.entries[3].Key, d.entries[len(d.entries)-1].Key} {
			entries := d.slice(from, 5)
			list, err := rlp.EncodeToBytes(entries)
			if err != nil {
				f.Fatal(err)
			}
			proof, err := rlp.EncodeToBytes(d.prove(f, from, entries))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), from[:], list, proof)
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, start, list, nodes []byte) {
		var entries []Entry
		var proof [][]byte
		if rlp.DecodeBytes(list, &entries) != nil || rlp.DecodeBytes(nodes, &proof) != nil || len(start) != 32 {
			return
		}
		d, from := &tries[int(i)%len(tries)], crypto.Hash(start)
		if len(proof) > 0 { // no root of a trie commits to nodes that a fuzzer makes: take its own
			_, _ = VerifyRange(crypto.Keccak256(proof[0]), from, entries, proof)
		}
		more, err := VerifyRange(d.trie.Hash(), from, entries, proof)
		if err != nil {
			return
		}
		if want, ok := d.truth(from, entries); !ok || want != more {
			t.Fatalf("accepted %d entries from %s, more %v", len(entries), from, more)
		}
	})
}

func BenchmarkVerifyRange(b *testing.B) {
	d := draw(b, rand.New(rand.NewPCG(1, 1)), shapes[0], 20_000)
	from := d.entries[1000].Key
	entries := d.slice(from, 5_000)
	proof := d.prove(b, from, entries)
	for b.Loop() {
		if _, err := VerifyRange(d.trie.Hash(), from, entries, proof); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/entry")
}
