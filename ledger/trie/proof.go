package trie

import (
	"fmt"

	"cairn/crypto"
)

// VerifyProof checks a Merkle proof against a root and answers what it proves:
// the value of key, or nil if the trie has no such key. proof is the encodings
// of the nodes from the root towards the key, as Prove and EIP-1186 have them;
// nothing may be left over. The proof of absence from the empty trie has no
// nodes, or just 0x80.
//
// key has 1 to 32 bytes: other tries than ours (transactions, receipts: by the
// RLP of the index) have shorter keys. None may be a prefix of another. The
// value is a part of proof.
// Errors: ErrKeyLength, ErrProofTooLong, ErrProofTooShort, ErrProofHash,
// ErrProofExtra, ErrNode, ErrNodeDepth.
func VerifyProof(root crypto.Hash, key []byte, proof [][]byte) (value []byte, err error) {
	if len(key) == 0 || len(key) > KeyLength {
		return nil, fmt.Errorf("%w: %d bytes, want 1 to %d", ErrKeyLength, len(key), KeyLength)
	}
	digits := keyNibbles(key)
	if len(proof) > digits.len()+1 { // a node decides a digit or is the last
		return nil, fmt.Errorf("%w: %d nodes for a key of %d bytes", ErrProofTooLong, len(proof), len(key))
	}
	if root == EmptyRoot {
		return nil, verifyEmpty(proof)
	}
	used := 0
	at := New(root, nil).root
	for !at.empty() {
		blob := at.item
		if at.hashed() {
			if used == len(proof) {
				return nil, fmt.Errorf("%w: node %d", ErrProofTooShort, used)
			}
			blob = proof[used]
			if crypto.Keccak256(blob) != at.hash() {
				return nil, fmt.Errorf("%w: node %d", ErrProofHash, used)
			}
			used++
		}
		if value, digits, at, err = step(blob, digits); err != nil {
			return nil, fmt.Errorf("proof, last of %d nodes: %w", used, err)
		}
	}
	if used != len(proof) {
		return nil, fmt.Errorf("%w: %d of %d nodes", ErrProofExtra, used, len(proof))
	}
	return value, nil
}

// step goes through one node: the digits left below it and where to go on, or
// an empty link with the value, nil if the key is absent.
func step(blob []byte, digits nibbles) (value []byte, left nibbles, at link, err error) {
	k, err := decode(blob)
	if err != nil {
		return nil, digits, link{}, err
	}
	n := &node{blob: blob, kind: k}
	switch k {
	case kindLeaf:
		if key, value := n.leaf(); key.equal(digits) {
			return value, digits, link{}, nil
		}
		return nil, digits, link{}, nil
	case kindExt:
		key, child := n.ext()
		if !digits.hasPrefix(key) {
			return nil, digits, link{}, nil
		}
		return nil, digits.rest(key.len()), child, nil
	default:
		if digits.len() == 0 {
			return nil, digits, link{}, fmt.Errorf("%w: branch below the whole key", ErrNodeDepth)
		}
		return nil, digits.rest(1), n.kid(digits.at(0)), nil
	}
}

// verifyEmpty checks the proof that the empty trie has no key.
func verifyEmpty(proof [][]byte) error {
	switch {
	case len(proof) == 0:
		return nil
	case len(proof[0]) != 1 || proof[0][0] != emptyItem:
		return fmt.Errorf("%w: node 0 of the empty trie", ErrProofHash)
	case len(proof) > 1:
		return fmt.Errorf("%w: 1 of %d nodes", ErrProofExtra, len(proof))
	}
	return nil
}
