package trie

import (
	"bytes"
	"fmt"
	"slices"

	"cairn/crypto"
)

// ProveRange is the proof that VerifyRange wants for the entries with from ≤ key
// ≤ last: the nodes on the path to from, whether it is there or not, and then
// those on the path to last that are not among them. Errors: as Get.
func (t *Trie) ProveRange(from, last crypto.Hash) ([][]byte, error) {
	proof, err := t.Prove(from[:])
	if err != nil || from == last {
		return proof, err
	}
	right, err := t.Prove(last[:])
	if err != nil {
		return nil, err
	}
	for _, blob := range right {
		if !slices.ContainsFunc(proof, func(b []byte) bool { return bytes.Equal(b, blob) }) {
			proof = append(proof, blob)
		}
	}
	return proof, nil
}

// VerifyRange checks that entries are all those of the trie with that root whose
// key is from or above, up to the last of them; none means that there is no such
// key at all. more says whether the trie has keys above the last.
//
// proof is what ProveRange answers for from and the last key, or for from twice
// if there are no entries, in any order; nothing may be left over. Without a
// proof the entries must be the whole trie.
// Errors: ErrOrder, ErrRange, ErrProofTooShort, ErrProofTooLong, ErrProofExtra,
// ErrNode, ErrNodeDepth.
func VerifyRange(root, from crypto.Hash, entries []Entry, proof [][]byte) (more bool, err error) {
	if err := checkEntries(from, entries); err != nil {
		return false, err
	}
	if len(proof) == 0 {
		return false, verifyWhole(root, entries)
	}
	if len(proof) > 2*(maxDepth+1) {
		return false, fmt.Errorf("%w: %d nodes for two keys", ErrProofTooLong, len(proof))
	}
	v := &rangeVerifier{from: keyNibbles(from[:]), nodes: make(map[crypto.Hash]proofNode, len(proof))}
	for _, blob := range proof {
		v.nodes[crypto.Keccak256(blob)] = proofNode{blob: blob}
	}
	if len(v.nodes) != len(proof) {
		return false, fmt.Errorf("%w: a node is there twice", ErrProofExtra)
	}
	if n := len(entries); n > 0 {
		v.last = keyNibbles(entries[n-1].Key[:])
	}
	if err := v.node(New(root, nil).root, 0, true, len(entries) > 0, entries); err != nil {
		return false, err
	}
	for hash, n := range v.nodes {
		if !n.used {
			return false, fmt.Errorf("%w: node %s", ErrProofExtra, hash)
		}
	}
	return v.more, nil
}

// checkEntries: rising keys from from on, and no empty value.
func checkEntries(from crypto.Hash, entries []Entry) error {
	for i := range entries {
		e := &entries[i]
		switch {
		case i == 0 && bytes.Compare(e.Key[:], from[:]) < 0:
			return fmt.Errorf("%w: key %s is below the start %s", ErrOrder, e.Key, from)
		case i > 0 && bytes.Compare(entries[i-1].Key[:], e.Key[:]) >= 0:
			return fmt.Errorf("%w: %s after %s", ErrOrder, e.Key, entries[i-1].Key)
		case len(e.Value) == 0:
			return fmt.Errorf("%w: key %s has an empty value", ErrRange, e.Key)
		}
	}
	return nil
}

// verifyWhole checks that entries are all of a trie.
func verifyWhole(root crypto.Hash, entries []Entry) error {
	if len(entries) == 0 && root != EmptyRoot {
		return fmt.Errorf("%w: neither entries nor nodes", ErrProofTooShort)
	}
	var b Builder
	for i := range entries {
		if err := b.Add(entries[i].Key, entries[i].Value); err != nil {
			return err
		}
	}
	if got, err := b.Root(); err != nil || got != root {
		return fmt.Errorf("%w: %d entries have the root %s, not %s", ErrRange, len(entries), got, root)
	}
	return nil
}

// rangeVerifier walks down the paths to both ends of a range. What lies between
// them it makes from the entries and compares; what lies outside it only sees.
type rangeVerifier struct {
	from, last nibbles // last is of use only on the right edge
	nodes      map[crypto.Hash]proofNode
	more       bool
}

type proofNode struct {
	blob []byte
	used bool
}

// node checks what a link at depth refers to against the entries that belong
// there. left says that the digits above are those of from, so that what is
// below it is outside; right says the same of last and what is above.
func (v *rangeVerifier) node(at link, depth int, left, right bool, entries []Entry) error {
	if !left && !right {
		return v.inside(at, depth, entries)
	}
	if at.empty() {
		return v.none(depth, entries)
	}
	n, err := v.resolve(at, depth)
	if err != nil {
		return err
	}
	switch n.kind {
	case kindLeaf:
		return v.leaf(n, depth, left, right, entries)
	case kindExt:
		return v.ext(n, depth, left, right, entries)
	}
	for digit := range byte(16) {
		mine := entries
		if i := slices.IndexFunc(entries, func(e Entry) bool { return keyNibbles(e.Key[:]).at(depth) != digit }); i >= 0 {
			mine = entries[:i]
		}
		entries = entries[len(mine):]
		kid := n.kid(digit)
		switch {
		case left && digit < v.from.at(depth): // its entries would be below from
		case right && digit > v.last.at(depth):
			v.more = v.more || !kid.empty()
		default:
			if err := v.node(kid, depth+1, left && digit == v.from.at(depth), right && digit == v.last.at(depth), mine); err != nil {
				return err
			}
		}
	}
	return nil
}

// inside compares a link with what the entries below it make.
func (v *rangeVerifier) inside(at link, depth int, entries []Entry) error {
	if len(entries) == 0 {
		if !at.empty() {
			return fmt.Errorf("%w: the trie has keys in a gap, at depth %d", ErrRange, depth)
		}
		return nil
	}
	b := Builder{base: depth}
	for i := range entries {
		if err := b.Add(entries[i].Key, entries[i].Value); err != nil {
			return err
		}
	}
	if got, err := b.finish(false); err != nil || !bytes.Equal(got.item(), at.item) {
		return fmt.Errorf("%w: %d entries from %s on", ErrRange, len(entries), entries[0].Key)
	}
	return nil
}

// none refuses entries where the trie has none.
func (v *rangeVerifier) none(depth int, entries []Entry) error {
	if len(entries) > 0 {
		return fmt.Errorf("%w: key %s is not in the trie, which ends at depth %d", ErrRange, entries[0].Key, depth)
	}
	return nil
}

// leaf checks a leaf on an edge.
func (v *rangeVerifier) leaf(n *node, depth int, left, right bool, entries []Entry) error {
	own, value := n.leaf()
	switch {
	case left && compareDigits(own, v.from.rest(depth)) < 0:
		return v.none(depth, entries)
	case right && compareDigits(own, v.last.rest(depth)) > 0:
		return v.none(depth, entries) // there is the last entry: an error
	case len(entries) != 1 || !keyNibbles(entries[0].Key[:]).rest(depth).equal(own) || !bytes.Equal(entries[0].Value, value):
		return fmt.Errorf("%w: a leaf at depth %d is not among the entries", ErrRange, depth)
	}
	return nil
}

// ext checks an extension on an edge.
func (v *rangeVerifier) ext(n *node, depth int, left, right bool, entries []Entry) error {
	own, child := n.ext()
	below := depth + own.len()
	if left {
		order := compareDigits(own, v.from.slice(depth, below))
		if order < 0 {
			return v.none(depth, entries)
		}
		left = order == 0
	}
	if right {
		right = own.equal(v.last.slice(depth, below)) // if it is less, an entry is not below it
	}
	for i := range entries {
		if !keyNibbles(entries[i].Key[:]).rest(depth).hasPrefix(own) {
			return fmt.Errorf("%w: key %s is not in the trie", ErrRange, entries[i].Key)
		}
	}
	return v.node(child, below, left, right, entries)
}

// compareDigits compares two runs of one length.
func compareDigits(a, b nibbles) int {
	i := a.commonPrefix(b)
	if i == a.len() {
		return 0
	}
	return int(a.at(i)) - int(b.at(i))
}

// resolve is the node that a link on an edge refers to.
func (v *rangeVerifier) resolve(at link, depth int) (*node, error) {
	blob := at.item
	if at.hashed() {
		p, ok := v.nodes[at.hash()]
		if !ok {
			return nil, fmt.Errorf("%w: node %s at depth %d", ErrProofTooShort, at.hash(), depth)
		}
		p.used = true
		v.nodes[at.hash()] = p
		blob = p.blob
	}
	k, err := decode(blob)
	if err != nil {
		return nil, fmt.Errorf("proof node at depth %d: %w", depth, err)
	}
	n := &node{blob: blob, kind: k}
	if !n.fits(maxDepth - depth) {
		return nil, fmt.Errorf("proof node at depth %d: %w", depth, ErrNodeDepth)
	}
	return n, nil
}
