package node

import (
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
)

// maxBodies bounds the decoded bodies of blocks that are not final: one proposal
// a view is taken, so that the newest are those that count.
const maxBodies = 64

// maxLayers is the number of executed blocks that are not final beyond which
// those of failed views are dropped: without finality for long, each view may
// leave one.
const maxLayers = 64

// intake lets one proposal of each view near ours be decoded: a leader, or
// whoever repeats it, costs the decoding of one block a view.
type intake struct {
	mu    sync.Mutex
	epoch uint32
	taken map[uint64]crypto.Hash // by view
}

// take says whether the body of a proposal is worth decoding, given the core's
// view. It is, once, for the view before ours, ours and the next.
func (i *intake) take(s consensus.Subject, view uint64) bool {
	if s.View+1 < view || s.View > view+1 {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.epoch != s.Epoch || i.taken == nil {
		i.epoch, i.taken = s.Epoch, make(map[uint64]crypto.Hash)
	}
	if _, ok := i.taken[s.View]; ok {
		return false
	}
	for v := range i.taken {
		if v+1 < view {
			delete(i.taken, v)
		}
	}
	i.taken[s.View] = s.Block
	return true
}

// giveBack lets another sender bring the body that did not fit.
func (i *intake) giveBack(s consensus.Subject) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.epoch == s.Epoch {
		delete(i.taken, s.View)
	}
}

// bodies are decoded blocks that are not final yet, the oldest first. They are a
// cache: what was executed is in the store, and the rest can be fetched again.
type bodies struct {
	byHash map[crypto.Hash]*types.Block
	order  []crypto.Hash
}

func (b *bodies) get(hash crypto.Hash) *types.Block { return b.byHash[hash] }

func (b *bodies) put(block *types.Block) {
	if b.byHash == nil {
		b.byHash = make(map[crypto.Hash]*types.Block)
	}
	hash := block.Hash()
	if _, ok := b.byHash[hash]; ok {
		return
	}
	if len(b.order) >= maxBodies {
		delete(b.byHash, b.order[0])
		b.order = slices.Delete(b.order, 0, 1)
	}
	b.byHash[hash] = block
	b.order = append(b.order, hash)
}

// dropUpTo forgets the bodies at or below a final height.
func (b *bodies) dropUpTo(height uint64) {
	b.order = slices.DeleteFunc(b.order, func(hash crypto.Hash) bool {
		if b.byHash[hash].NumberU64() > height {
			return false
		}
		delete(b.byHash, hash)
		return true
	})
}
