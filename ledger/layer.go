package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/trie"
)

// layer is an executed block that is not final: what it changes over its parent.
// Once its parent is committed, parent is nil and the store is below it. All
// else is immutable.
type layer struct {
	block    *types.Block
	parent   atomic.Pointer[layer]
	receipts types.Receipts
	changes  []chain.AccountChange // sorted by address
	slots    []chain.SlotChange    // sorted by address, slot
	codes    []chain.CodeChange
	nodes    []ownedNodes
	accounts *trie.Trie            // without a source: that of its user is put in
	nextSet  *genesis.ValidatorSet // nil unless closing

	included map[crypto.Hash]struct{} // made at the first call of Included
}

// ownedNodes are the changed nodes of one trie, sorted by path. The owner of the
// account trie is zero, that of a storage trie keccak256(address).
type ownedNodes struct {
	owner crypto.Hash
	nodes []trie.Node
}

func newLayer(block *types.Block, parent *layer, out *chain.Output) *layer {
	n := &layer{
		block: block, receipts: out.Receipts, changes: out.Changes, slots: out.Slots, codes: out.Codes,
		accounts: out.Accounts.WithSource(nil), nextSet: out.NextSet,
		nodes: []ownedNodes{{nodes: out.AccountNodes.Nodes}},
	}
	for _, s := range out.StorageNodes {
		n.nodes = append(n.nodes, ownedNodes{crypto.Keccak256(s.Address[:]), s.Nodes.Nodes})
	}
	n.parent.Store(parent)
	return n
}

// account is the change of one account in this layer.
func (n *layer) account(a crypto.Address) (acc *chain.Account, changed bool) {
	i, ok := slices.BinarySearchFunc(n.changes, a, func(c chain.AccountChange, a crypto.Address) int {
		return bytes.Compare(c.Address[:], a[:])
	})
	if !ok {
		return nil, false
	}
	return n.changes[i].New, true
}

func (n *layer) slot(a crypto.Address, slot crypto.Hash) (value crypto.Hash, changed bool) {
	i, ok := slices.BinarySearchFunc(n.slots, a, func(c chain.SlotChange, a crypto.Address) int {
		if o := bytes.Compare(c.Address[:], a[:]); o != 0 {
			return o
		}
		return bytes.Compare(c.Slot[:], slot[:])
	})
	if !ok {
		return crypto.Hash{}, false
	}
	return n.slots[i].New, true
}

// node is the trie node that this layer puts at a path, if it is the one with
// that hash.
func (n *layer) node(owner crypto.Hash, path []byte, hash crypto.Hash) []byte {
	for _, o := range n.nodes {
		if o.owner != owner {
			continue
		}
		i, ok := slices.BinarySearchFunc(o.nodes, path, func(x trie.Node, p []byte) int { return bytes.Compare(x.Path, p) })
		if ok && o.nodes[i].Hash == hash {
			return o.nodes[i].Blob
		}
	}
	return nil
}

// layerReader reads the state after a layer, or the newest final state if top
// is nil.
type layerReader struct {
	top  *layer
	base chain.Reader
}

func (r layerReader) Account(a crypto.Address) (*chain.Account, error) {
	for n := r.top; n != nil; n = n.parent.Load() {
		if acc, changed := n.account(a); changed {
			return acc, nil
		}
	}
	return r.base.Account(a)
}

func (r layerReader) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	for n := r.top; n != nil; n = n.parent.Load() {
		if v, changed := n.slot(a, slot); changed {
			return v, nil
		}
	}
	return r.base.Slot(a, slot)
}

// cachedReader reads the final state through the owner's cache. Only the owner
// may fill it: a reader that is overtaken by a commit would leave an old balance
// in it.
type cachedReader struct{ l *Ledger }

func (r cachedReader) Account(a crypto.Address) (*chain.Account, error) {
	if acc, ok := r.l.accounts.get(a); ok {
		return acc, nil
	}
	acc, err := r.l.st.Account(a)
	if err != nil {
		return nil, err
	}
	r.l.accounts.put(a, acc)
	return acc, nil
}

func (r cachedReader) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	return r.l.st.Slot(a, slot)
}

// storeSource reads trie nodes of the head's version, for the owner.
func (l *Ledger) storeSource(owner crypto.Hash) trie.Source {
	return func(path []byte, _ crypto.Hash) ([]byte, error) { return l.st.Node(owner, path) }
}

// layerSource reads trie nodes of the version after a layer.
func (l *Ledger) layerSource(top *layer, owner crypto.Hash) trie.Source {
	return func(path []byte, hash crypto.Hash) ([]byte, error) {
		for n := top; n != nil; n = n.parent.Load() {
			if blob := n.node(owner, path, hash); blob != nil {
				return blob, nil
			}
		}
		return l.st.Node(owner, path)
	}
}

// find answers the layer of a block; nil without an error is the final head.
func (l *Ledger) find(hash crypto.Hash) (*layer, error) {
	if n, ok := l.layers[hash]; ok {
		return n, nil
	}
	if l.head.Load().info.Hash == hash {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrMissingParent, hash)
}

// stateAfter is the state on which a child of top is executed. It also bounds
// the memory of top's trie: what is dropped is in the layers or in the store.
func (l *Ledger) stateAfter(top *layer) chain.State {
	accounts := &l.base
	if top != nil {
		accounts = &top.accounts
	}
	*accounts = (*accounts).Bound(l.options.TrieNodes)
	return chain.State{
		Reader:   layerReader{top, cachedReader{l}},
		Accounts: (*accounts).WithSource(l.layerSource(top, crypto.Hash{})),
		StorageTrie: func(a crypto.Address, root crypto.Hash) *trie.Trie {
			return trie.New(root, l.layerSource(top, crypto.Keccak256(a[:])))
		},
	}
}

// headerOf is the header of a layer, or of the final head for nil.
func (l *Ledger) headerOf(top *layer) *types.Header {
	if top == nil {
		return l.head.Load().header
	}
	return top.block.Header()
}
