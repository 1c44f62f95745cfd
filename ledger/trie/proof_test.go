package trie

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"cairn/crypto"
)

// proofList puts go-ethereum's set of proof nodes in order.
func proofList(t *testing.T, root crypto.Hash, key []byte, db *memorydb.Database) [][]byte {
	t.Helper()
	var proof [][]byte
	digits, at := keyNibbles(key), New(root, nil).root
	for !at.empty() {
		blob := at.item
		if at.hashed() {
			h := at.hash()
			var err error
			if blob, err = db.Get(h[:]); err != nil {
				t.Fatal(err)
			}
			proof = append(proof, blob)
		}
		var err error
		if _, digits, at, err = step(blob, digits); err != nil {
			t.Fatal(err)
		}
	}
	if len(proof) != db.Len() {
		t.Fatalf("go-ethereum's proof has %d nodes, %d are used", db.Len(), len(proof))
	}
	return proof
}

// Proofs of present and absent keys: ours by go-ethereum, its own by ours.
func TestProofsMatchGoEthereum(t *testing.T) {
	t.Parallel()
	seeds(t, 20, func(t *testing.T, r *rand.Rand) {
		for _, s := range shapes {
			o, d := newOracle(), disk{}
			entries := s.batch(r, o, 1+r.IntN(80), 0)
			v, set, err := New(EmptyRoot, d.source).Update(entries)
			if err != nil {
				t.Fatal(err)
			}
			d.apply(t, set)
			o.apply(entries)
			if r.IntN(2) == 0 {
				v = New(v.Hash(), d.source)
			}
			keys := o.keys()
			for range 20 {
				keys = append(keys, s.key(r), uniformKey(r))
			}
			for _, k := range keys {
				checkProof(t, r, v, o, k)
			}
		}
	})
}

func checkProof(t *testing.T, r *rand.Rand, v *Trie, o *oracle, k crypto.Hash) {
	t.Helper()
	want := o.values[k]
	proof, err := v.Prove(k[:])
	if err != nil {
		t.Fatal(err)
	}
	if v.Hash() == EmptyRoot { // go-ethereum has no proofs from an empty trie
		if got, err := VerifyProof(EmptyRoot, k[:], proof); got != nil || err != nil || len(proof) != 0 {
			t.Fatalf("empty trie: %x, %v, %d nodes", got, err, len(proof))
		}
		return
	}
	db := memorydb.New()
	for _, blob := range proof {
		h := crypto.Keccak256(blob)
		if err := db.Put(h[:], blob); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := gethtrie.VerifyProof(v.Hash(), k[:], db); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("go-ethereum has %x, %v for %x, want %x", got, err, k, want)
	}
	theirs := proofList(t, v.Hash(), k[:], o.prove(t, k))
	if len(theirs) != len(proof) {
		t.Fatalf("proof of %d nodes, go-ethereum's has %d", len(proof), len(theirs))
	}
	for i := range proof {
		if !bytes.Equal(proof[i], theirs[i]) {
			t.Fatalf("proof node %d differs from go-ethereum's", i)
		}
	}
	got, err := VerifyProof(v.Hash(), k[:], theirs)
	if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Fatalf("we have %x, %v for %x, want %x", got, err, k, want)
	}
	// One flipped bit anywhere is noticed.
	i := r.IntN(len(proof))
	at, bit := r.IntN(len(proof[i])), byte(1)<<r.UintN(8)
	proof[i][at] ^= bit
	if _, err := VerifyProof(v.Hash(), k[:], proof); err == nil {
		t.Fatal("a proof with a flipped bit was accepted")
	}
	// The proof is a copy: the trie has not changed.
	if got, err := v.Get(k[:]); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("changing a proof changed the trie: %x, %v", got, err)
	}
}

// The tries of a block's transactions and receipts have short keys.
func TestVerifyProofOfShortKeys(t *testing.T) {
	t.Parallel()
	seeds(t, 1, func(t *testing.T, r *rand.Rand) {
		const count = 300
		list := gethtrie.NewEmpty(nil)
		key := func(i int) []byte {
			b, err := rlp.EncodeToBytes(uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		values := make([][]byte, count)
		for i := range values {
			values[i] = randomBytes(r, 1+r.IntN(200))
			list.MustUpdate(key(i), values[i])
		}
		root := list.Hash()
		for i := range count + 20 {
			db := memorydb.New()
			if err := list.Prove(key(i), db); err != nil {
				t.Fatal(err)
			}
			got, err := VerifyProof(root, key(i), proofList(t, root, key(i), db))
			if err != nil || i < count && !bytes.Equal(got, values[i]) || i >= count && got != nil {
				t.Fatalf("index %d: %x, %v", i, got, err)
			}
		}
	})
}
