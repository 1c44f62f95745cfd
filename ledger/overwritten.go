package ledger

import (
	"bytes"
	"slices"
	"sync/atomic"

	"cairn/crypto"
	"cairn/ledger/trie"
)

// overwritten keeps, for each of the last final blocks, the trie nodes that the
// block replaced or deleted on disk: with them the roots before it stay
// readable. One goroutine adds, any reads.
type overwritten struct {
	maxRoots, maxBytes int
	blocks             atomic.Pointer[[]*oldNodes] // newest first; the slice is immutable
	bytes              int
}

// oldNodes are those of one block.
type oldNodes struct {
	tries []oldTrie
	bytes int
}

type oldTrie struct {
	owner crypto.Hash
	nodes []oldNode // sorted by path
}

type oldNode struct {
	path []byte
	hash crypto.Hash
	blob []byte
}

// oldNodeBytes is what a node takes besides path and blob.
const oldNodeBytes = 80

func (o *overwritten) add(layers []*layer) {
	var all []*oldNodes
	if p := o.blocks.Load(); p != nil {
		all = *p
	}
	for _, n := range layers {
		x := newOldNodes(n)
		o.bytes += x.bytes
		all = append([]*oldNodes{x}, all...)
	}
	for len(all) > o.maxRoots || len(all) > 0 && o.bytes > o.maxBytes {
		o.bytes -= all[len(all)-1].bytes
		all = all[:len(all)-1]
	}
	all = slices.Clip(all)
	o.blocks.Store(&all)
}

func newOldNodes(n *layer) *oldNodes {
	x := &oldNodes{}
	for _, t := range n.nodes {
		old := oldTrie{owner: t.owner, nodes: make([]oldNode, 0, len(t.nodes))}
		for i := range t.nodes {
			if b := t.nodes[i].OldBlob; b != nil {
				old.nodes = append(old.nodes, oldNode{t.nodes[i].Path, t.nodes[i].OldHash, b})
				x.bytes += oldNodeBytes + len(t.nodes[i].Path) + len(b)
			}
		}
		x.tries = append(x.tries, old)
	}
	return x
}

// count is the number of roots before the head that are readable.
func (o *overwritten) count() uint64 {
	if p := o.blocks.Load(); p != nil {
		return uint64(len(*p))
	}
	return 0
}

// find is a node that was on disk at path in one of the last versions.
func (o *overwritten) find(owner crypto.Hash, path []byte, hash crypto.Hash) []byte {
	p := o.blocks.Load()
	if p == nil {
		return nil
	}
	for _, b := range *p {
		for _, t := range b.tries {
			if t.owner != owner {
				continue
			}
			i, ok := slices.BinarySearchFunc(t.nodes, path, func(n oldNode, p []byte) int { return bytes.Compare(n.path, p) })
			if ok && t.nodes[i].hash == hash {
				return t.nodes[i].blob
			}
		}
	}
	return nil
}

// proofSource reads trie nodes of any final version that is still readable,
// from any goroutine. A commit keeps what it overwrites before it changes the
// disk; so a node that is no longer on disk is found after.
func (l *Ledger) proofSource(owner crypto.Hash) trie.Source {
	return func(path []byte, hash crypto.Hash) ([]byte, error) {
		blob, err := l.st.Node(owner, path)
		if err == nil && crypto.Keccak256(blob) == hash {
			return blob, nil
		}
		if old := l.old.find(owner, path, hash); old != nil {
			return old, nil
		}
		return nil, err
	}
}
