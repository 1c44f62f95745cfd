package chain

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// listRoot computes the root of the trie of a transaction or receipt list for
// types.DeriveSha. The keys are RLP(index): they come in ascending order and
// none is a prefix of another, so the trie is built once, bottom up, and no
// branch has a value. It is ours because go-ethereum's StackTrie brings its
// database packages into the wallet.
type listRoot struct {
	keys   [][]byte // nibbles
	values [][]byte
}

var _ types.ListHasher = (*listRoot)(nil)

// Reset implements types.ListHasher.
func (l *listRoot) Reset() { l.keys, l.values = l.keys[:0], l.values[:0] }

// Update implements types.ListHasher.
func (l *listRoot) Update(key, value []byte) error {
	nibbles := make([]byte, 2*len(key))
	for i, b := range key {
		nibbles[2*i], nibbles[2*i+1] = b>>4, b&15
	}
	l.keys = append(l.keys, nibbles)
	l.values = append(l.values, bytes.Clone(value))
	return nil
}

// Hash implements types.ListHasher.
func (l *listRoot) Hash() crypto.Hash {
	if len(l.keys) == 0 {
		return types.EmptyRootHash
	}
	return crypto.Keccak256(l.node(0, len(l.keys), 0))
}

// node is the RLP of the node that holds entries [from, to), whose keys agree
// in their first depth nibbles.
func (l *listRoot) node(from, to, depth int) []byte {
	first := l.keys[from]
	if to-from == 1 {
		content := appendString(nil, compact(first[depth:], true))
		return list(appendString(content, l.values[from]))
	}
	// Sorted: what the first and the last key share, all share.
	last, end := l.keys[to-1], depth
	for first[end] == last[end] {
		end++
	}
	if end > depth {
		content := appendString(nil, compact(first[depth:end], false))
		return list(l.appendReference(content, from, to, end))
	}
	return l.branch(from, to, depth)
}

func (l *listRoot) branch(from, to, depth int) []byte {
	content := make([]byte, 0, 17*33)
	for nibble := byte(0); nibble < 16; nibble++ {
		end := from
		for end < to && l.keys[end][depth] == nibble {
			end++
		}
		if end == from {
			content = append(content, 0x80)
			continue
		}
		content = l.appendReference(content, from, end, depth+1)
		from = end
	}
	return list(append(content, 0x80))
}

// appendReference puts a child into its parent: itself when shorter than a
// hash, else its hash.
func (l *listRoot) appendReference(b []byte, from, to, depth int) []byte {
	child := l.node(from, to, depth)
	if len(child) < crypto.HashLength {
		return append(b, child...)
	}
	h := crypto.Keccak256(child)
	return append(append(b, 0x80+crypto.HashLength), h[:]...)
}

// compact is the hex-prefix encoding of a path.
func compact(nibbles []byte, leaf bool) []byte {
	var flag byte
	if leaf {
		flag = 0x20
	}
	out := make([]byte, 1, len(nibbles)/2+1)
	if len(nibbles)%2 == 1 {
		flag |= 0x10 | nibbles[0]
		nibbles = nibbles[1:]
	}
	out[0] = flag
	for i := 0; i < len(nibbles); i += 2 {
		out = append(out, nibbles[i]<<4|nibbles[i+1])
	}
	return out
}

// appendString appends the RLP of a byte string.
func appendString(b, s []byte) []byte {
	if len(s) == 1 && s[0] < 0x80 {
		return append(b, s[0])
	}
	return append(appendHeader(b, 0x80, len(s)), s...)
}

// list is the RLP list of already encoded content.
func list(content []byte) []byte {
	return append(appendHeader(make([]byte, 0, len(content)+9), 0xc0, len(content)), content...)
}

// appendHeader appends the RLP header of a string (base 0x80) or list (0xc0).
func appendHeader(b []byte, base byte, length int) []byte {
	if length < 56 {
		return append(b, base+byte(length))
	}
	size := 0
	for n := length; n > 0; n >>= 8 {
		size++
	}
	b = append(b, base+55+byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(length>>(8*i)))
	}
	return b
}
