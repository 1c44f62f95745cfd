package trie

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	gethtrie "github.com/ethereum/go-ethereum/trie"

	"cairn/crypto"
)

// What the decoder accepts can be read without a check, and written again to
// the same bytes.
func FuzzDecode(f *testing.F) {
	for _, blob := range fuzzNodes(f) {
		f.Add(blob)
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		k, err := decode(blob)
		if err != nil {
			return
		}
		if again := encodeAgain(t, &node{blob: blob, kind: k}); !bytes.Equal(again, blob) {
			t.Fatalf("%x written again is %x", blob, again)
		}
	})
}

// encodeAgain reads all of a node and encodes what it read.
func encodeAgain(t *testing.T, n *node) []byte {
	t.Helper()
	u := &updater{}
	switch n.kind {
	case kindLeaf:
		key, value := n.leaf()
		return u.sealLeaf(&draft{kind: kindLeaf, key: key, content: value}).blob
	case kindExt:
		key, child := n.ext()
		return u.sealExt(&draft{kind: kindExt, key: key, child: u.keep(child)}, 0).blob
	default:
		d := &draft{kind: kindBranch, touched: 0xffff, kids: new([16]*draft)}
		for digit := range byte(16) {
			if kid := n.kid(digit); !kid.empty() {
				d.kids[digit] = u.keep(kid)
			}
		}
		return u.sealBranch(d, 0).blob
	}
}

// hole stands for the hash of the next node of a fuzzed proof: no fuzzer finds
// a hash by itself.
var hole = bytes.Repeat([]byte{0xee}, crypto.HashLength)

// splitProof cuts nodes, each after its length in two bytes, and fills holes.
func splitProof(b []byte) [][]byte {
	var proof [][]byte
	for len(b) >= 2 && len(proof) < 70 {
		size := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		proof = append(proof, bytes.Clone(b[2:2+size]))
		b = b[2+size:]
	}
	for i := len(proof) - 1; i > 0; i-- {
		h := crypto.Keccak256(proof[i])
		proof[i-1] = bytes.ReplaceAll(proof[i-1], hole, h[:])
	}
	return proof
}

func joinProof(proof [][]byte) []byte {
	var b []byte
	for i, n := range proof {
		if i+1 < len(proof) {
			h := crypto.Keccak256(proof[i+1])
			n = bytes.ReplaceAll(n, h[:], hole)
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(n))), n...)
	}
	return b
}

// What VerifyProof accepts, go-ethereum accepts with the same value.
func FuzzVerifyProof(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range shapes {
		entries := s.batch(r, newOracle(), 40, 0)
		v, _, err := New(EmptyRoot, nil).Update(entries)
		if err != nil {
			f.Fatal(err)
		}
		for _, k := range []crypto.Hash{entries[0].Key, s.key(r)} {
			proof, err := v.Prove(k[:])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(k[:], joinProof(proof))
		}
	}
	f.Fuzz(func(t *testing.T, key, b []byte) {
		proof := splitProof(b)
		root := EmptyRoot
		if len(proof) > 0 {
			root = crypto.Keccak256(proof[0])
		}
		value, err := VerifyProof(root, key, proof)
		if err != nil || root == EmptyRoot {
			if value != nil {
				t.Fatalf("a refused proof has the value %x", value)
			}
			return
		}
		db := memorydb.New()
		for _, n := range proof {
			h := crypto.Keccak256(n)
			if err := db.Put(h[:], n); err != nil {
				t.Fatal(err)
			}
		}
		theirs, err := gethtrie.VerifyProof(root, key, db)
		if err != nil || !bytes.Equal(theirs, value) || (theirs == nil) != (value == nil) {
			t.Fatalf("%x for %x; go-ethereum: %x, %v", value, key, theirs, err)
		}
	})
}

// fuzzNodes is nodes of every kind and size.
func fuzzNodes(f *testing.F) [][]byte {
	r := rand.New(rand.NewPCG(2, 2))
	var blobs [][]byte
	for _, s := range shapes {
		_, set, err := New(EmptyRoot, nil).Update(s.batch(r, newOracle(), 12, 0))
		if err != nil {
			f.Fatal(err)
		}
		for i, n := range set.Nodes {
			if i < 4 {
				blobs = append(blobs, n.Blob)
			}
		}
	}
	return blobs
}
