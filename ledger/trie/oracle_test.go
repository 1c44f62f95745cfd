package trie

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"cairn/crypto"
)

var seedFlag = flag.Uint64("seed", 0, "run the random tests of this package with this seed only")

// seeds runs a random test with several seeds, or the one that the flag names,
// and prints how to repeat a failure.
func seeds(t *testing.T, count uint64, run func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	first := uint64(1)
	if *seedFlag != 0 {
		first, count = *seedFlag, 1
	}
	for seed := first; seed < first+count; seed++ {
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test ./ledger/trie -run '^%s$' -seed %d", t.Name(), seed)
				}
			}()
			run(t, rand.New(rand.NewPCG(seed, 0)))
		}()
		if t.Failed() {
			return
		}
	}
}

// disk is a path-keyed store of nodes.
type disk map[string][]byte

func (d disk) source(path []byte, _ crypto.Hash) ([]byte, error) { return d[string(path)], nil }

// apply writes a NodeSet and checks that it is sorted, and that it tells
// exactly what it overwrites.
func (d disk) apply(t *testing.T, set *NodeSet) {
	t.Helper()
	for i, n := range set.Nodes {
		if i > 0 && bytes.Compare(set.Nodes[i-1].Path, n.Path) >= 0 {
			t.Fatalf("node set: path %x after %x", n.Path, set.Nodes[i-1].Path)
		}
		before, found := d[string(n.Path)]
		if found != (n.OldBlob != nil) || !bytes.Equal(before, n.OldBlob) {
			t.Fatalf("path %x: old blob %x, on disk is %x", n.Path, n.OldBlob, before)
		}
		if bytes.Equal(n.Blob, n.OldBlob) {
			t.Fatalf("path %x: nothing changed", n.Path)
		}
		if found && crypto.Keccak256(before) != n.OldHash || !found && n.OldHash != (crypto.Hash{}) {
			t.Fatalf("path %x: wrong old hash", n.Path)
		}
		if n.Blob == nil {
			if n.Hash != (crypto.Hash{}) {
				t.Fatalf("path %x: deleted with a hash", n.Path)
			}
			delete(d, string(n.Path))
			continue
		}
		if crypto.Keccak256(n.Blob) != n.Hash {
			t.Fatalf("path %x: wrong hash", n.Path)
		}
		d[string(n.Path)] = n.Blob
	}
}

// reachable is every node that must be on disk for a version, and no other.
func reachable(t *testing.T, v *Trie) disk {
	t.Helper()
	all := disk{}
	var walk func(l link, path []byte)
	walk = func(l link, path []byte) {
		if l.empty() {
			return
		}
		n, err := resolve(v.src, l, path)
		if err != nil {
			t.Fatal(err)
		}
		if l.hashed() {
			all[string(path)] = n.blob
		}
		switch n.kind {
		case kindExt:
			key, child := n.ext()
			walk(child, key.appendUnpacked(slices.Clone(path)))
		case kindBranch:
			for digit := range byte(16) {
				walk(n.kid(digit), append(slices.Clone(path), digit))
			}
		}
	}
	walk(v.root, nil)
	return all
}

func (d disk) mustEqual(t *testing.T, want disk) {
	t.Helper()
	for path, blob := range want {
		if !bytes.Equal(d[path], blob) {
			t.Fatalf("disk at path %x: %x, want %x", path, d[path], blob)
		}
	}
	for path := range d {
		if _, ok := want[path]; !ok {
			t.Fatalf("disk at path %x: left behind", path)
		}
	}
}

// checkMemory counts the nodes in memory, and checks that each agrees with
// its parent's reference and is not younger than its parent.
func checkMemory(t *testing.T, v *Trie) {
	t.Helper()
	count := 0
	var walk func(l link, gen uint32)
	walk = func(l link, gen uint32) {
		n := l.node
		if n == nil {
			return
		}
		count++
		if n.gen > gen {
			t.Fatalf("node of update %d below one of update %d", n.gen, gen)
		}
		if l.hashed() && crypto.Keccak256(n.blob) != l.hash() || !l.hashed() && !bytes.Equal(n.blob, l.item) {
			t.Fatal("node in memory is not the one that its parent refers to")
		}
		if k, err := decode(n.blob); err != nil || k != n.kind {
			t.Fatalf("node in memory of kind %d: decoded as %d, %v", n.kind, k, err)
		}
		switch n.kind {
		case kindExt:
			_, child := n.ext()
			walk(child, n.gen)
		case kindBranch:
			for digit := range byte(16) {
				walk(n.kid(digit), n.gen)
			}
		}
	}
	walk(v.root, v.gen)
	if count != v.Resident() {
		t.Fatalf("%d nodes in memory, Resident says %d", count, v.Resident())
	}
}

// oracle is go-ethereum's trie and a plain map with the same entries.
type oracle struct {
	trie   *gethtrie.Trie
	values map[crypto.Hash][]byte
}

func newOracle() *oracle {
	return &oracle{trie: gethtrie.NewEmpty(nil), values: map[crypto.Hash][]byte{}}
}

func (o *oracle) apply(entries []Entry) {
	for _, e := range entries {
		o.trie.MustUpdate(e.Key[:], e.Value)
		if len(e.Value) == 0 {
			delete(o.values, e.Key)
		} else {
			o.values[e.Key] = e.Value
		}
	}
}

// keys is the present keys in order, so that a seed decides a choice of them.
func (o *oracle) keys() []crypto.Hash {
	keys := make([]crypto.Hash, 0, len(o.values))
	for k := range o.values {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b crypto.Hash) int { return a.Cmp(b) })
	return keys
}

func (o *oracle) prove(t *testing.T, key crypto.Hash) *memorydb.Database {
	t.Helper()
	db := memorydb.New()
	if err := o.trie.Prove(key[:], db); err != nil {
		t.Fatal(err)
	}
	return db
}

// shape draws keys and values so that a kind of trie comes out.
type shape struct {
	name  string
	key   func(r *rand.Rand) crypto.Hash
	value func(r *rand.Rand) []byte
}

func randomBytes(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func uniformKey(r *rand.Rand) crypto.Hash { return crypto.Hash(randomBytes(r, 32)) }

// tailKey differs from others in the last digits only: leaves and even
// branches become short enough to be embedded in their parents.
func tailKey(r *rand.Rand) (k crypto.Hash) {
	k[31] = byte(r.Uint32())
	k[30] = byte(r.Uint32()) & 0x11
	k[2] = byte(r.Uint32N(2))
	return k
}

// stepKey flips a few digits of one path: long extensions that split, merge
// and nest at every offset.
func stepKey(r *rand.Rand) (k crypto.Hash) {
	for range 1 + r.IntN(3) {
		k[r.IntN(32)] ^= 1 << r.UintN(8)
	}
	return k
}

// denseKey has few values, so that keys meet often.
func denseKey(r *rand.Rand) crypto.Hash {
	return crypto.Keccak256([]byte{byte(r.Uint32N(48))})
}

func accountValue(r *rand.Rand) []byte { return randomBytes(r, 68+r.IntN(12)) }

func slotValue(r *rand.Rand) []byte {
	b := randomBytes(r, 1+r.IntN(3))
	b[0] |= 1
	return b
}

func mixedValue(r *rand.Rand) []byte {
	sizes := []int{1, 2, 5, 20, 31, 32, 33, 54, 55, 56, 57, 255, 256, 300}
	return randomBytes(r, sizes[r.IntN(len(sizes))])
}

var shapes = []shape{
	{"accounts", uniformKey, accountValue},
	{"slots", uniformKey, slotValue},
	{"tails", tailKey, slotValue},
	{"steps", stepKey, mixedValue},
	{"steps of slots", stepKey, slotValue},
	{"dense", denseKey, mixedValue},
}

// batch draws changes: new and old keys, values and deletes, sometimes without
// effect, sometimes the same key twice.
func (s shape) batch(r *rand.Rand, o *oracle, size int, deletes float64) []Entry {
	present := o.keys()
	entries := make([]Entry, 0, size)
	for range size {
		e := Entry{Key: s.key(r)}
		if len(present) > 0 && r.IntN(2) == 0 {
			e.Key = present[r.IntN(len(present))]
		}
		switch {
		case r.Float64() < deletes:
		case r.IntN(16) == 0:
			e.Value = o.values[e.Key]
		default:
			e.Value = s.value(r)
		}
		entries = append(entries, e)
		if r.IntN(16) == 0 {
			entries = append(entries, Entry{Key: e.Key, Value: s.value(r)})
		}
	}
	return entries
}
