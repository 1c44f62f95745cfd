package trie

import (
	"cairn/crypto"
)

// EmptyRoot is the root of a trie without entries: keccak256(0x80).
var EmptyRoot = crypto.Keccak256([]byte{0x80})

// KeyLength is the length of every key in bytes: tries of accounts and of
// storage slots are keyed by keccak256.
const KeyLength = crypto.HashLength

// maxDepth is the number of nibbles in a key.
const maxDepth = 2 * KeyLength

// Source reads the encoding of the node at path (nibbles, one a byte; empty
// for the root). hash is the keccak256 that the caller expects; a source may
// ignore it, since the trie checks the bytes. No node is (nil, nil) or an
// error. The trie keeps the bytes: they must never change afterwards. path is
// only lent. A source is called by any reader's goroutine.
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

type Trie struct{ hash crypto.Hash }

func New(root crypto.Hash, src Source) *Trie                    { return &Trie{hash: root} }
func (t *Trie) Hash() crypto.Hash                               { return t.hash }
func (t *Trie) Get(key []byte) ([]byte, error)                  { panic("not yet") }
func (t *Trie) Update(entries []Entry) (*Trie, *NodeSet, error) { panic("not yet") }
func (t *Trie) Prove(key []byte) ([][]byte, error)              { panic("not yet") }
func (t *Trie) WithSource(src Source) *Trie                     { panic("not yet") }
func (t *Trie) Bound(maxNodes int) *Trie                        { panic("not yet") }
func (t *Trie) Resident() int                                   { panic("not yet") }
func VerifyProof(root crypto.Hash, key []byte, proof [][]byte) (value []byte, err error) {
	panic("not yet")
}
