package trie

import (
	"fmt"

	"cairn/crypto"
)

// EmptyRoot is the root of a trie without entries: keccak256(0x80).
var EmptyRoot = crypto.Keccak256([]byte{emptyItem})

// KeyLength is the length of every key in bytes: tries of accounts and of
// storage slots are keyed by keccak256.
const KeyLength = crypto.HashLength

// maxDepth is the number of nibbles in a key.
const maxDepth = 2 * KeyLength

// Source reads the encoding of the node at path (nibbles, one a byte; empty
// for the root). hash is the keccak256 that the caller expects; a source may
// ignore it, since the trie checks the bytes. No node is (nil, nil) or an
// error. The trie keeps the bytes: they must never change afterwards. path is
// only lent. Several goroutines may call a source at once.
type Source func(path []byte, hash crypto.Hash) ([]byte, error)

// Entry is one change: Value becomes the value of Key; an empty Value deletes.
type Entry struct {
	Key   crypto.Hash
	Value []byte
}

// Node is one place on disk that differs between two versions.
type Node struct {
	Path    []byte      // nibbles, one a byte; empty for the root
	Hash    crypto.Hash // keccak256 of Blob; zero if deleted
	Blob    []byte      // RLP; nil if the newer version has no node here
	OldHash crypto.Hash // keccak256 of OldBlob; zero if there was none
	OldBlob []byte      // RLP; nil if the older version had no node here
}

// NodeSet is the difference on disk between a version and the next: put each
// Blob at its Path, delete where Blob is nil. Nodes are sorted by Path (byte
// order, a prefix first) and no Path is there twice. The bytes are shared with
// the trie and must not be changed.
type NodeSet struct{ Nodes []Node }

// Trie is one version of a map from 32-byte keys to non-empty values. It never
// changes; every method may be called by any number of goroutines at once.
type Trie struct {
	root     link // empty for the empty trie
	hash     crypto.Hash
	src      Source
	resident int    // nodes in memory below root
	gen      uint32 // number of the update that made this version
}

// New is the version with the given root. Nothing is read yet: a root that the
// source does not have is a *MissingNodeError of the first call that needs it.
// src may be nil if root is EmptyRoot.
func New(root crypto.Hash, src Source) *Trie {
	t := &Trie{hash: root, src: src}
	if root != EmptyRoot {
		t.root.item = appendString(make([]byte, 0, refLength), root[:])
	}
	return t
}

// Hash is the root of the version.
func (t *Trie) Hash() crypto.Hash { return t.hash }

// WithSource is the same version, with the same nodes in memory, that reads
// all others from src.
func (t *Trie) WithSource(src Source) *Trie {
	c := *t
	c.src = src
	return &c
}

// Get is the value of a 32-byte key, nil if there is none. It must not be
// changed. Nodes that it reads from the source are not kept.
// Errors: ErrKeyLength, *MissingNodeError, ErrNode, ErrNodeDepth.
func (t *Trie) Get(key []byte) (value []byte, err error) {
	value, err = t.walk(key, nil)
	return value, err
}

// Prove is the Merkle proof of the value of a 32-byte key, or of its absence,
// as EIP-1186 has it: the encodings of the nodes from the root towards the
// key, without those embedded in their parents. The proof of a key in the
// empty trie has no nodes. The slices are the caller's.
// Errors: as Get.
func (t *Trie) Prove(key []byte) ([][]byte, error) {
	proof := [][]byte{}
	_, err := t.walk(key, func(blob []byte) {
		proof = append(proof, append([]byte(nil), blob...))
	})
	if err != nil {
		return nil, err
	}
	return proof, nil
}

// walk goes from the root towards key and answers its value. It shows each
// node that is stored on its own to visit.
func (t *Trie) walk(key []byte, visit func(blob []byte)) ([]byte, error) {
	if len(key) != KeyLength {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrKeyLength, len(key), KeyLength)
	}
	var path [maxDepth]byte
	digits := keyNibbles(key)
	digits.appendUnpacked(path[:0])
	at, depth := t.root, 0
	for !at.empty() {
		n, err := resolve(t.src, at, path[:depth])
		if err != nil {
			return nil, err
		}
		if visit != nil && at.hashed() {
			visit(n.blob)
		}
		switch n.kind {
		case kindLeaf:
			if own, value := n.leaf(); own.equal(digits.rest(depth)) {
				return value, nil
			}
			return nil, nil
		case kindExt:
			var own nibbles
			own, at = n.ext()
			if !digits.rest(depth).hasPrefix(own) {
				return nil, nil
			}
			depth += own.len()
		default:
			at = n.kid(digits.at(depth))
			depth++
		}
	}
	return nil, nil
}

// resolve is the node that a link refers to: the one in memory, else one that
// only the caller has. It is at path, which is shorter than maxDepth, or
// exactly as long for a leaf. Readers never hang what they read into the
// trie; so nodes are never written after they are made, and what readers
// touch does not grow the memory of a version.
// Errors: *MissingNodeError, ErrNode, ErrNodeDepth.
func resolve(src Source, l link, path []byte) (*node, error) {
	if l.node != nil {
		return l.node, nil
	}
	blob := l.item
	if l.hashed() {
		var err error
		if blob, err = read(src, path, l.hash()); err != nil {
			return nil, err
		}
	}
	k, err := decode(blob)
	if err != nil {
		return nil, fmt.Errorf("trie node at path %x: %w", path, err)
	}
	n := &node{blob: blob, kind: k}
	if !n.fits(maxDepth - len(path)) {
		return nil, fmt.Errorf("trie node at path %x: %w", path, ErrNodeDepth)
	}
	return n, nil
}

// read asks the source and checks its answer.
func read(src Source, path []byte, hash crypto.Hash) ([]byte, error) {
	missing := func(err error) error {
		return &MissingNodeError{Path: append([]byte{}, path...), Hash: hash, Err: err}
	}
	if src == nil {
		return nil, missing(nil)
	}
	blob, err := src(path, hash)
	if err != nil {
		return nil, missing(err)
	}
	if len(blob) == 0 || crypto.Keccak256(blob) != hash {
		return nil, missing(nil)
	}
	return blob, nil
}

// fits tells if a node can be where left digits of the keys are undecided:
// a leaf has all of them, an extension and its branch at least one each.
func (n *node) fits(left int) bool {
	switch n.kind {
	case kindLeaf:
		key, _ := n.short()
		return key.len() == left
	case kindExt:
		key, _ := n.short()
		return key.len() < left
	default:
		return left > 0
	}
}
