package pool

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// workRounds is how many blocks with room may leave a transaction out before it
// no longer counts as work: leaders who could have taken it do not want it, and
// a network must not make empty blocks for it for ever.
const workRounds = 3

// HasWork says whether the pool holds a transaction that a builder would include
// now: the first of its sender, payable, with a fee cap that reaches the base
// fee, and not left out by three blocks with room since it became that.
func (p *Pool) HasWork() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for i := range min(p.rounds+1, workRounds) {
		if p.work[p.rounds-i] > 0 {
			return true
		}
	}
	return false
}

// HasWorkBesides is HasWork for a builder on an unfinalized block: what exclude
// says to be in that block or its unfinalized ancestors is no work, what follows
// it in its sender's queue is. It looks at as many senders as are excluded.
func (p *Pool) HasWorkBesides(exclude func(crypto.Hash) bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, h := range p.heads.items {
		q := h.queue
		if !exclude(h.entry.hash) {
			if q.since+workRounds > p.rounds {
				return true
			}
			continue
		}
		for _, e := range q.entries[1:q.executable] {
			if !exclude(e.hash) {
				if e.rank > 0 {
					return true
				}
				break
			}
		}
	}
	return false
}

// Has says whether a transaction is in the pool.
func (p *Pool) Has(hash crypto.Hash) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.all[hash] != nil
}

// Get is a transaction in the pool, nil if it is not there.
func (p *Pool) Get(hash crypto.Hash) *types.Transaction {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if e := p.all[hash]; e != nil {
		return e.tx
	}
	return nil
}

// Nonce is the next nonce of an account, its executable transactions in the pool
// counted. An error is a failure to read the state.
func (p *Pool) Nonce(addr crypto.Address) (uint64, error) {
	p.mu.RLock()
	q, state := p.queues[addr], p.state
	if q != nil {
		defer p.mu.RUnlock()
		return q.next(), nil
	}
	p.mu.RUnlock()
	if state == nil {
		return 0, ErrNoState
	}
	a, err := state.Account(addr)
	if err != nil {
		return 0, fmt.Errorf("read the account: %w", err)
	}
	if a == nil {
		return 0, nil
	}
	return a.Nonce, nil
}

// Dropped is why a transaction left the pool without being in a block. The
// oldest reasons are forgotten.
func (p *Pool) Dropped(hash crypto.Hash) (reason error, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.reasons.get(hash)
}

// Refused keeps the reason why a transaction that somebody was promised to be in
// the pool is not: Dropped answers it.
func (p *Pool) Refused(hash crypto.Hash, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all[hash] == nil {
		p.reasons.put(hash, reason)
	}
}

// Stats counts what is in the pool.
type Stats struct {
	Executable int // could be included one after the other
	Gapped     int // wait for a nonce before theirs
	Senders    int
	Bytes      int64
}

// Stats counts what is in the pool.
func (p *Pool) Stats() Stats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return Stats{Executable: p.ready, Gapped: len(p.all) - p.ready, Senders: len(p.queues), Bytes: p.bytes}
}

// fullMargin is how close to its limit of bytes a pool counts as full: a transfer
// or two.
const fullMargin = 512

// LeastTip is what a new transaction must leave for the proposer, in wei for gas,
// to be admitted now: 0 while there is room, and on a free network.
func (p *Pool) LeastTip() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.free || len(p.all) < p.cfg.Total && p.bytes+fullMargin <= p.cfg.Bytes {
		return 0
	}
	return p.leastTip()
}

// leastTip is the tip that is worth more than the worst in the pool.
func (p *Pool) leastTip() uint64 {
	if len(p.worst.items) == 0 {
		return 0
	}
	return p.worst.items[0].tail().minRank // 1 + its own tip; 0 = it cannot be included
}

// Content is what the pool holds of one sender, by nonce.
type Content struct {
	Executable []*types.Transaction
	Gapped     []*types.Transaction
}

func (q *queue) content() Content {
	var c Content
	for i, e := range q.entries {
		if i < q.executable {
			c.Executable = append(c.Executable, e.tx)
		} else {
			c.Gapped = append(c.Gapped, e.tx)
		}
	}
	return c
}

// Content is everything in the pool, by sender.
func (p *Pool) Content() map[crypto.Address]Content {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make(map[crypto.Address]Content, len(p.queues))
	for addr, q := range p.queues {
		out[addr] = q.content()
	}
	return out
}

// ContentFrom is what the pool holds of one sender.
func (p *Pool) ContentFrom(addr crypto.Address) Content {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if q := p.queues[addr]; q != nil {
		return q.content()
	}
	return Content{}
}

// Status is where a transaction in the pool stands.
type Status struct {
	Executable bool
	Missing    []uint64 // nonces of its sender that must come before it; none for an executable one
	Before     int      // executable: transactions of its sender that come before it
	LeftOut    uint64   // blocks with room that did not take it since it could be the next of its sender
}

// Status tells where a transaction stands; ok is false if it is not in the pool.
func (p *Pool) Status(hash crypto.Hash) (s Status, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	e := p.all[hash]
	if e == nil {
		return Status{}, false
	}
	q := p.queues[e.from]
	next := q.next()
	if e.nonce < next {
		s = Status{Executable: true, Before: int(e.nonce - q.nonce)}
		if e == q.head {
			s.LeftOut = p.rounds - q.since
		}
		return s, true
	}
	// At most PerSenderGapped nonces lie between.
	for _, g := range q.entries[q.executable:] {
		for ; next < g.nonce; next++ {
			s.Missing = append(s.Missing, next)
		}
		if g == e {
			break
		}
		next = g.nonce + 1
	}
	return s, true
}

// Executable are up to limit executable transactions, the best first: what is
// announced again to leaders.
func (p *Pool) Executable(limit int) []*types.Transaction {
	var out []*types.Transaction
	c := p.Candidates(nil)
	for len(out) < limit {
		tx := c.Next()
		if tx == nil {
			break
		}
		out = append(out, tx)
		c.Accept()
	}
	return out
}
