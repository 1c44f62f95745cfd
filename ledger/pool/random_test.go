package pool

import (
	"math/rand/v2"
	"sort"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/internal/randtest"
	"cairn/ledger/chain"
)

// checkInvariants recomputes everything the pool keeps in sums and orders.
func checkInvariants(t testing.TB, p *Pool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var count, ready, empty, heads int
	var bytes int64
	work := make(map[uint64]int)
	for addr, q := range p.queues {
		if q.sender != addr || len(q.entries) == 0 {
			t.Fatalf("queue of %s under %s has %d entries", q.sender, addr, len(q.entries))
		}
		cost, executable, minRank := new(uint256.Int), 0, ^uint64(0)
		for i, e := range q.entries {
			if p.all[e.hash] != e || e.from != addr || i > 0 && q.entries[i-1].nonce >= e.nonce || e.nonce < q.nonce {
				t.Fatalf("entry %d of %s is out of place", i, addr)
			}
			if e.nonce == q.nonce+uint64(i) {
				executable++
				minRank = min(minRank, e.rank)
			} else {
				minRank = 0
			}
			if e.minRank != minRank || e.rank != e.rankAt(p.free, &p.baseFee) {
				t.Fatalf("entry %d of %s: rank %d, least %d, want %d", i, addr, e.rank, e.minRank, minRank)
			}
			if q.balance.Lt(&e.cost) {
				t.Fatal("an entry that cannot be paid")
			}
			cost.Add(cost, &e.cost)
			bytes += e.size
		}
		count += len(q.entries)
		ready += executable
		if p.free && q.balance.IsZero() {
			empty += len(q.entries)
		}
		if executable != q.executable || !cost.Eq(&q.cost) {
			t.Fatalf("%d executable, cost %d, want %d and %d", q.executable, &q.cost, executable, cost)
		}
		if len(q.entries) > q.executable && q.tail().nonce > q.next()+uint64(p.cfg.PerSenderGapped) {
			t.Fatal("an entry beyond the gap limit")
		}
		if p.worst.items[q.worstIndex] != q {
			t.Fatal("worst index is wrong")
		}
		if q.head == nil {
			if q.headIndex >= 0 || executable > 0 && q.entries[0].rank > 0 {
				t.Fatal("a head is missing")
			}
			continue
		}
		heads++
		work[q.since]++
		if h := p.heads.items[q.headIndex]; h.queue != q || h.entry != q.entries[0] || q.head != h.entry || h.rank != h.entry.rank || executable == 0 || h.rank == 0 {
			t.Fatal("head is wrong")
		}
	}
	if count != len(p.all) || ready != p.ready || empty != p.empty || bytes != p.bytes || heads != len(p.heads.items) || len(p.queues) != len(p.worst.items) {
		t.Fatalf("sums: %d %d %d %d %d, want %d %d %d %d %d", len(p.all), p.ready, p.empty, p.bytes, len(p.heads.items), count, ready, empty, bytes, heads)
	}
	if count > p.cfg.Total || bytes > p.cfg.Bytes || len(p.drops) != 0 || len(p.reasons.byHash) > p.cfg.Reasons {
		t.Fatal("a limit is exceeded")
	}
	if len(work) != len(p.work) {
		t.Fatalf("work %v, want %v", p.work, work)
	}
	for since, n := range work {
		if p.work[since] != n {
			t.Fatalf("work %v, want %v", p.work, work)
		}
	}
	for i := 1; i < len(p.heads.items); i++ {
		if p.heads.items[i].before(p.heads.items[(i-1)/2]) {
			t.Fatal("heads are no heap")
		}
	}
	for i := 1; i < len(p.worst.items); i++ {
		if worse(p.worst.items[i], p.worst.items[(i-1)/2]) {
			t.Fatal("worst is no heap")
		}
	}
}

// bestFirst is Candidates done the slow way.
func bestFirst(p *Pool) []*types.Transaction {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var heads []headItem
	for _, q := range p.queues {
		if q.executable > 0 && q.entries[0].rank > 0 {
			heads = append(heads, headItem{q, q.entries[0], q.entries[0].rank})
		}
	}
	var out []*types.Transaction
	for len(heads) > 0 {
		sort.Slice(heads, func(i, j int) bool { return heads[i].before(heads[j]) })
		h := heads[0]
		out = append(out, h.entry.tx)
		i := int(h.entry.nonce-h.queue.nonce) + 1
		if i < h.queue.executable && h.queue.entries[i].rank > 0 {
			e := h.queue.entries[i]
			heads[0] = headItem{h.queue, e, e.rank}
		} else {
			heads = heads[1:]
		}
	}
	return out
}

// TestRandomPool does random things and checks every invariant after each; a
// transaction that was accepted is in the pool, in a block, or has a reason.
func TestRandomPool(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/pool")
	for round := range 8 {
		l := newLedger(t, round%2 == 0, 8)
		l.keys = append(l.keys, key(t, 50), key(t, 51))
		drops := make(map[crypto.Hash]bool)
		p := l.newPool(func(c *Config) {
			c.Total, c.PerSenderGapped, c.PerSenderExecutable = 20+r.IntN(30), r.IntN(6), 4+r.IntN(20)
			c.Bytes = int64(2000 + r.IntN(5000))
			c.OnDrop = func(d Drop) { drops[d.Transaction.Hash()] = true }
		})
		accepted, included := make(map[crypto.Hash]*types.Transaction), make(map[crypto.Hash]bool)
		for range 300 {
			if r.IntN(8) > 0 {
				randomAdd(t, r, l, p, accepted, drops)
			} else {
				randomInclude(r, l, p, included)
			}
			checkInvariants(t, p)
			same(t, drain(p.Candidates(nil)), bestFirst(p)...)
		}
		for h, tx := range accepted {
			_, reason := p.Dropped(h)
			if p.Has(h) == (drops[h] || included[h]) || drops[h] != reason {
				t.Fatalf("nonce %d: in the pool %v, dropped %v (reason %v), included %v", tx.Nonce(), p.Has(h), drops[h], reason, included[h])
			}
		}
	}
}

func randomAdd(t *testing.T, r *rand.Rand, l *ledger, p *Pool, accepted map[crypto.Hash]*types.Transaction, drops map[crypto.Hash]bool) {
	i := r.IntN(len(l.keys))
	nonce, err := p.Nonce(l.keys[i].Address())
	if err != nil {
		t.Fatal(err)
	}
	switch r.IntN(6) {
	case 0:
		nonce += r.Uint64N(8)
	case 1:
		nonce -= min(nonce, r.Uint64N(4))
	}
	tip := r.Uint64N(100)
	tx := l.tx(i, nonce, r.Uint64N(1e17), tip, tip+50+r.Uint64N(150))
	if r.IntN(10) == 0 {
		tx = l.tx(i, nonce, 0, tip, tip+200)
	}
	before := p.Stats()
	if err := p.Add(tx, r.IntN(2) == 0); err == nil {
		accepted[tx.Hash()] = tx
		delete(drops, tx.Hash())
	} else if p.Has(tx.Hash()) && accepted[tx.Hash()] == nil || p.Stats().Senders > before.Senders {
		t.Fatalf("refused (%v), and left something behind", err)
	}
}

// randomInclude makes a block of some candidates and of a few transactions that
// the pool has never seen.
func randomInclude(r *rand.Rand, l *ledger, p *Pool, included map[crypto.Hash]bool) {
	if !l.free {
		l.baseFee = 60 + r.Uint64N(120)
	}
	var txs []*types.Transaction
	next := make(map[int]uint64)
	txs = append(txs, p.Executable(r.IntN(6))...)
	taken := make(map[crypto.Address]bool)
	for _, tx := range txs {
		from, _ := chain.Sender(p.signer, tx)
		taken[from] = true
	}
	if i := r.IntN(len(l.keys)); r.IntN(2) == 0 && !taken[l.keys[i].Address()] {
		a, _ := l.Account(l.keys[i].Address())
		if a != nil {
			next[i] = a.Nonce
			txs = append(txs, l.tx(i, next[i], a.Balance.Uint64()/2, 1, 500))
		}
	}
	// What the builder would have skipped for want of funds.
	var ok []*types.Transaction
	spent := make(map[crypto.Address]*uint256.Int)
	stopped := make(map[crypto.Address]bool)
	for _, tx := range txs {
		from, _ := chain.Sender(p.signer, tx)
		if spent[from] == nil {
			spent[from] = new(uint256.Int)
		}
		a, _ := l.Account(from)
		spent[from].Add(spent[from], uint256.MustFromBig(tx.Value()))
		if stopped[from] || a != nil && a.Balance.Lt(spent[from]) {
			stopped[from] = true
			continue
		}
		ok = append(ok, tx)
		included[tx.Hash()] = true
	}
	if r.IntN(10) == 0 {
		l.head = &types.Header{Number: l.head.Number, Extra: []byte{byte(r.Uint32())}} // a gap in the chain
	}
	l.include(p, ok...)
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 4)
	p := l.newPool(func(c *Config) { c.Total = 60 })
	txs := make([][]*types.Transaction, 4)
	for i := range txs {
		for n := range 60 {
			txs[i] = append(txs[i], l.tx(i, uint64(n), 1, 0, 0))
		}
	}
	var wg sync.WaitGroup
	for i := range txs {
		wg.Go(func() {
			for _, tx := range txs[i] {
				_ = p.Add(tx, false) // the pool may be full
				p.Has(tx.Hash())
				_, _ = p.Nonce(l.keys[i].Address())
			}
		})
	}
	wg.Go(func() {
		for range 40 {
			l.include(p, p.Executable(5)...)
			p.HasWork()
			p.Stats()
			p.Content()
		}
	})
	wg.Wait()
	checkInvariants(t, p)
}
