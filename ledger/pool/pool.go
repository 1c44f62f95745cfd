package pool

import (
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// Pool holds the transactions that wait. New makes one; it refuses everything
// until the first Reset has told it the state.
type Pool struct {
	cfg    Config
	chain  *chain.Config
	signer types.Signer
	free   bool

	resetting sync.Mutex // held by Reset, taken before mu

	mu      sync.RWMutex
	state   chain.Reader // after head
	head    *types.Header
	version uint64 // counts Resets
	baseFee uint256.Int
	all     map[crypto.Hash]*entry
	queues  map[crypto.Address]*queue
	bytes   int64
	ready   int    // executable entries
	empty   int    // entries of senders with balance 0, counted on a free network
	arrival uint64 // of the last entry

	heads heap[headItem] // of each queue whose head could be included now, best first
	worst heap[*queue]   // every queue, by its tail, the first to be evicted first

	rounds uint64         // blocks with room that Reset has seen
	work   map[uint64]int // heads by the round since when they are heads

	reasons reasons
	drops   []Drop // to be told to OnDrop when the lock is free
}

// headItem is the head of a queue in Pool.heads. It holds what the order needs,
// so that a copy of the heap stays ordered.
type headItem struct {
	queue *queue
	entry *entry
	rank  uint64
}

func (a headItem) before(b headItem) bool {
	if a.rank != b.rank {
		return a.rank > b.rank
	}
	return a.entry.arrival < b.entry.arrival
}

// worse says whether the tail of a is evicted before the tail of b: the lower
// rank, then the younger one.
func worse(a, b *queue) bool {
	x, y := a.tail(), b.tail()
	if x.minRank != y.minRank {
		return x.minRank < y.minRank
	}
	return x.arrival > y.arrival
}

// New makes an empty pool. A limit out of range panics: Config.Validate is for
// what an operator wrote.
func New(cfg Config, chainCfg *chain.Config) *Pool {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	p := &Pool{
		cfg: cfg, chain: chainCfg, signer: chainCfg.Signer(), free: chainCfg.Rules.Fees.Free,
		all:    make(map[crypto.Hash]*entry),
		queues: make(map[crypto.Address]*queue),
		work:   make(map[uint64]int),
	}
	p.heads.before = headItem.before
	p.heads.moved = func(h headItem, i int) { h.queue.headIndex = i }
	p.worst.before = worse
	p.worst.moved = func(q *queue, i int) { q.worstIndex = i }
	p.reasons.limit = cfg.Reasons
	return p
}

// unlock frees the lock and tells OnDrop what was dropped under it.
func (p *Pool) unlock() {
	drops := p.drops
	p.drops = nil
	p.mu.Unlock()
	if p.cfg.OnDrop != nil {
		for _, d := range drops {
			p.cfg.OnDrop(d)
		}
	}
}

// detach takes entry i out of its queue and of the pool's sums. The caller
// settles the queue and calls reorder.
func (p *Pool) detach(q *queue, i int) *entry {
	e := q.entries[i]
	if i == 0 {
		q.entries[0] = nil
		q.entries = q.entries[1:]
	} else {
		copy(q.entries[i:], q.entries[i+1:])
		q.entries[len(q.entries)-1] = nil
		q.entries = q.entries[:len(q.entries)-1]
	}
	delete(p.all, e.hash)
	p.bytes -= e.size
	q.cost.Sub(&q.cost, &e.cost)
	return e
}

// attach puts e at index i of its queue.
func (p *Pool) attach(q *queue, i int, e *entry) {
	q.entries = append(q.entries, nil)
	copy(q.entries[i+1:], q.entries[i:])
	q.entries[i] = e
	p.all[e.hash] = e
	p.bytes += e.size
	q.cost.Add(&q.cost, &e.cost)
}

// drop keeps the reason why e left.
func (p *Pool) drop(e *entry, reason error) {
	p.reasons.put(e.hash, reason)
	if p.cfg.OnDrop != nil {
		p.drops = append(p.drops, Drop{Transaction: e.tx, Local: e.local, Reason: reason})
	}
}

// change runs f, which may change everything in q, and brings the pool's sums
// and orders up to date with it. A queue that is left empty leaves the pool.
func (p *Pool) change(q *queue, f func()) {
	p.ready -= q.executable
	p.empty -= p.countEmpty(q)
	f()
	p.ready += q.executable
	p.empty += p.countEmpty(q)
	p.reorder(q)
}

// countEmpty is how many entries of q count against Config.EmptySenders.
func (p *Pool) countEmpty(q *queue) int {
	if p.free && q.balance.IsZero() {
		return len(q.entries)
	}
	return 0
}

// reorder puts q where it belongs in both orders.
func (p *Pool) reorder(q *queue) {
	p.setHead(q)
	switch {
	case len(q.entries) == 0:
		if q.worstIndex >= 0 {
			p.worst.remove(q.worstIndex)
		}
		delete(p.queues, q.sender)
	case q.worstIndex < 0:
		p.queues[q.sender] = q
		p.worst.push(q)
	default:
		p.worst.fix(q.worstIndex)
	}
}

// setHead brings q's place among the heads up to date. A new head counts as
// work from now on.
func (p *Pool) setHead(q *queue) {
	var head *entry
	if q.executable > 0 && q.entries[0].rank > 0 {
		head = q.entries[0]
	}
	if head != q.head {
		if q.head != nil {
			p.countWork(q.since, -1)
		}
		if head != nil {
			q.since = p.rounds
			p.countWork(q.since, 1)
		}
		q.head = head
	}
	switch {
	case head == nil:
		if q.headIndex >= 0 {
			p.heads.remove(q.headIndex)
		}
	case q.headIndex < 0:
		p.heads.push(headItem{queue: q, entry: head, rank: head.rank})
	default:
		p.heads.items[q.headIndex] = headItem{queue: q, entry: head, rank: head.rank}
		p.heads.fix(q.headIndex)
	}
}

func (p *Pool) countWork(since uint64, n int) {
	if p.work[since] += n; p.work[since] == 0 {
		delete(p.work, since)
	}
}

// reasons remembers the last drops, the oldest forgotten first.
type reasons struct {
	limit  int
	byHash map[crypto.Hash]reason
	order  []crypto.Hash // ring; next is the oldest
	next   int
}

// reason is why a transaction was dropped and where in the ring it is.
type reason struct {
	err  error
	slot int
}

func (r *reasons) put(hash crypto.Hash, err error) {
	if r.limit == 0 {
		return
	}
	if r.byHash == nil {
		r.byHash = make(map[crypto.Hash]reason)
	}
	if old, ok := r.byHash[hash]; ok {
		r.byHash[hash] = reason{err, old.slot}
		return
	}
	if len(r.order) < r.limit {
		r.byHash[hash] = reason{err, len(r.order)}
		r.order = append(r.order, hash)
		return
	}
	delete(r.byHash, r.order[r.next])
	r.order[r.next] = hash
	r.byHash[hash] = reason{err, r.next}
	r.next = (r.next + 1) % r.limit
}

func (r *reasons) get(hash crypto.Hash) (error, bool) {
	v, ok := r.byHash[hash]
	return v.err, ok && v.err != nil
}

// forget is for a transaction that is back. Its place in the ring stays.
func (r *reasons) forget(hash crypto.Hash) {
	if v, ok := r.byHash[hash]; ok {
		r.byHash[hash] = reason{nil, v.slot}
	}
}
