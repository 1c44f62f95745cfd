package ledger

import (
	"container/list"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// accountCache holds accounts of the final state in two generations: when the
// young one is full it becomes the old one, and what was not asked for since
// the last time is gone. Nil is an account that does not exist. Not safe for
// several goroutines.
type accountCache struct {
	young, old map[crypto.Address]*chain.Account
	half       int
}

func newAccountCache(limit int) *accountCache {
	half := max(limit/2, 1)
	return &accountCache{young: make(map[crypto.Address]*chain.Account), half: half}
}

func (c *accountCache) get(a crypto.Address) (*chain.Account, bool) {
	if acc, ok := c.young[a]; ok {
		return acc, true
	}
	acc, ok := c.old[a]
	if ok {
		c.put(a, acc)
	}
	return acc, ok
}

func (c *accountCache) put(a crypto.Address, acc *chain.Account) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[crypto.Address]*chain.Account, c.half)
	}
	c.young[a] = acc
}

// update puts an account after a commit. The copy cuts it loose from the memory
// of the block that changed it.
func (c *accountCache) update(a crypto.Address, acc *chain.Account) {
	if acc != nil {
		own := *acc
		own.Balance = acc.Balance.Clone()
		acc = &own
	}
	c.put(a, acc)
}

// blockCache holds the final blocks used last, decoded, with their receipts,
// within a number of RLP bytes. A decoded block takes several times its RLP.
type blockCache struct {
	mu    sync.Mutex
	limit int
	bytes int
	order *list.List // of *cachedBlock, the last used first
	index map[uint64]*list.Element
	asked map[uint64]int // single transactions read, by height
}

// maxCachedBlocks bounds a cache of small blocks.
const maxCachedBlocks = 1024

// oftenAsked single transactions of one block cost about as much as decoding all
// of it; more of them are cheaper from the cache.
const oftenAsked = 16

type cachedBlock struct {
	block    *types.Block
	receipts types.Receipts // nil: not needed yet
}

func newBlockCache(limit int) *blockCache {
	return &blockCache{limit: limit, order: list.New(), index: map[uint64]*list.Element{}, asked: map[uint64]int{}}
}

// askedOften counts a read of one transaction of a block that is not here, and
// says whether the block should be put here instead.
func (c *blockCache) askedOften(height uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) >= maxCachedBlocks {
		clear(c.asked)
	}
	if c.asked[height]++; c.asked[height] <= oftenAsked {
		return false
	}
	delete(c.asked, height)
	return true
}

func (c *blockCache) get(height uint64) (*types.Block, types.Receipts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.index[height]
	if !ok {
		return nil, nil
	}
	c.order.MoveToFront(e)
	b := e.Value.(*cachedBlock)
	return b.block, b.receipts
}

func (c *blockCache) put(block *types.Block, receipts types.Receipts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	height := block.NumberU64()
	if e, ok := c.index[height]; ok {
		b := e.Value.(*cachedBlock)
		if b.receipts == nil {
			b.receipts = receipts
		}
		c.order.MoveToFront(e)
		return
	}
	c.index[height] = c.order.PushFront(&cachedBlock{block, receipts})
	c.bytes += int(block.Size())
	for c.order.Len() > maxCachedBlocks || c.bytes > c.limit && c.order.Len() > 1 {
		b := c.order.Remove(c.order.Back()).(*cachedBlock)
		delete(c.index, b.block.NumberU64())
		c.bytes -= int(b.block.Size())
	}
}
