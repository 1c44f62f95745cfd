package pool

import (
	"errors"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// candidates walks the pool best first without changing it. It has a copy of
// the heap of heads as it was at the start and a small heap, the frontier, of
// what may come next: a head enters the frontier when its parent in the copied
// heap leaves it, the next transaction of a sender when the one before it is in
// the block.
type candidates struct {
	pool     *Pool
	exclude  func(crypto.Hash) bool
	heads    []headItem
	frontier heap[candidate]
	current  candidate
}

// candidate is a transaction of a queue; index is its place in the copied heap,
// −1 when it is no head.
type candidate struct {
	headItem
	index int
}

// Candidates are the pool's executable transactions for a builder: the best
// effective tip first, then the oldest, in nonce order for each sender. exclude,
// if not nil, says which are in an unfinalized ancestor already; what follows
// such a one in its queue comes at its place in the order. Transactions that come
// later are not among them; those that leave the pool meanwhile are left out.
// Making it costs a copy of three words a sender.
func (p *Pool) Candidates(exclude func(crypto.Hash) bool) chain.Candidates {
	if exclude == nil {
		exclude = func(crypto.Hash) bool { return false }
	}
	c := &candidates{pool: p, exclude: exclude}
	c.frontier.before = func(a, b candidate) bool { return a.headItem.before(b.headItem) }
	c.frontier.moved = func(candidate, int) {}
	p.mu.RLock()
	c.heads = append(c.heads, p.heads.items...)
	p.mu.RUnlock()
	c.enter(0)
	return c
}

// enter puts the head at index i of the copied heap on the frontier.
func (c *candidates) enter(i int) {
	if i < len(c.heads) {
		c.frontier.push(candidate{headItem: c.heads[i], index: i})
	}
}

// Next implements chain.Candidates.
func (c *candidates) Next() *types.Transaction {
	for len(c.frontier.items) > 0 {
		c.current = c.frontier.remove(0)
		if i := c.current.index; i >= 0 {
			c.enter(2*i + 1)
			c.enter(2*i + 2)
		}
		e := c.current.entry
		if !c.exclude(e.hash) && c.pool.Has(e.hash) {
			return e.tx
		}
		c.advance()
	}
	return nil
}

// Accept implements chain.Candidates.
func (c *candidates) Accept() { c.advance() }

// Skip implements chain.Candidates. A nonce that is used already in the state of
// the builder says nothing against the sender's next one.
func (c *candidates) Skip(err error) {
	if errors.Is(err, chain.ErrNonceTooLow) {
		c.advance()
	}
}

// advance puts the transaction after the current one, if it is in the pool and
// could be included, on the frontier.
func (c *candidates) advance() {
	q, nonce := c.current.queue, c.current.entry.nonce+1
	c.pool.mu.RLock()
	defer c.pool.mu.RUnlock()
	if nonce < q.nonce || nonce >= q.next() {
		return
	}
	if e := q.entries[nonce-q.nonce]; e.rank > 0 {
		c.frontier.push(candidate{headItem: headItem{queue: q, entry: e, rank: e.rank}, index: -1})
	}
}
