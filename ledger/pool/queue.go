package pool

import (
	"math"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// entry is one transaction in the pool with what is asked of it often. Fields
// below the line change, under the pool's lock.
type entry struct {
	tx      *types.Transaction
	hash    crypto.Hash
	from    crypto.Address
	nonce   uint64
	size    int64
	cost    uint256.Int // balance that it needs
	feeCap  uint256.Int
	tipCap  uint256.Int
	arrival uint64 // counts up
	local   bool

	included bool   // in the block that Reset works on
	rank     uint64 // see rank
	minRank  uint64 // least rank from the head of the queue up to here; 0 = gapped
}

// newEntry needs a transaction that chain.CheckTransaction has passed.
func newEntry(cfg *chain.Config, tx *types.Transaction, from crypto.Address, local bool) (e *entry, overflow bool) {
	e = &entry{
		tx: tx, hash: tx.Hash(), from: from, nonce: tx.Nonce(), size: int64(tx.Size()), local: local,
	}
	e.cost, overflow = chain.Cost(&cfg.Rules, tx)
	e.feeCap.SetFromBig(tx.GasFeeCap())
	e.tipCap.SetFromBig(tx.GasTipCap())
	return e, overflow
}

// rank orders transactions by what they pay the proposer at a base fee: 0 = fee
// cap below the base fee, cannot be included now; else 1 + effective tip in wei
// per gas, at most 2^64−1. On a free network all are 1.
func (e *entry) rankAt(free bool, baseFee *uint256.Int) uint64 {
	if free {
		return 1
	}
	if e.feeCap.Lt(baseFee) {
		return 0
	}
	tip := new(uint256.Int).Sub(&e.feeCap, baseFee)
	if e.tipCap.Lt(tip) {
		tip = &e.tipCap
	}
	if !tip.IsUint64() || tip.Uint64() == math.MaxUint64 {
		return math.MaxUint64
	}
	return 1 + tip.Uint64()
}

// raises says whether e pays at least percent more than old in both fee fields,
// and more at all.
func (e *entry) raises(old *entry, percent int) bool {
	return raised(&e.feeCap, &old.feeCap, percent) && raised(&e.tipCap, &old.tipCap, percent)
}

func raised(now, before *uint256.Int, percent int) bool {
	least, over := new(uint256.Int).MulDivOverflow(before, uint256.NewInt(100+uint64(percent)), uint256.NewInt(100))
	return !over && now.Gt(before) && !now.Lt(least)
}

// queue holds the transactions of one sender.
type queue struct {
	sender     crypto.Address
	nonce      uint64 // of the account in the final state
	balance    uint256.Int
	entries    []*entry    // by nonce, all at least nonce
	executable int         // how many of them follow nonce without a gap
	cost       uint256.Int // sum of all costs; never above 2^256−1

	headIndex  int    // in Pool.heads, −1 = not there
	worstIndex int    // in Pool.worst, −1 = not there
	head       *entry // the one in Pool.heads
	since      uint64 // Pool.rounds when it became the head
}

func newQueue(sender crypto.Address) *queue {
	return &queue{sender: sender, headIndex: -1, worstIndex: -1}
}

// set takes nonce and balance from the state; nil is an absent account.
func (q *queue) set(a *chain.Account) {
	q.nonce = 0
	q.balance.Clear()
	if a != nil {
		q.nonce = a.Nonce
		q.balance.Set(a.Balance)
	}
}

// next is the first nonce that is missing.
func (q *queue) next() uint64 { return q.nonce + uint64(q.executable) }

// find answers where nonce is or belongs.
func (q *queue) find(nonce uint64) (i int, found bool) {
	// Nearly always the place is known without a search.
	if n := len(q.entries); n == 0 || q.entries[n-1].nonce < nonce {
		return n, false
	}
	if nonce >= q.nonce && nonce-q.nonce < uint64(q.executable) {
		return int(nonce - q.nonce), true
	}
	return slices.BinarySearchFunc(q.entries, nonce, func(e *entry, n uint64) int {
		switch {
		case e.nonce < n:
			return -1
		case e.nonce > n:
			return 1
		}
		return 0
	})
}

func (q *queue) tail() *entry { return q.entries[len(q.entries)-1] }

// settle recomputes from index i on what depends on the entries before: the
// executable count and minRank.
func (q *queue) settle(i int) {
	q.executable = min(q.executable, i)
	for ; i < len(q.entries); i++ {
		e := q.entries[i]
		if q.executable != i || e.nonce != q.nonce+uint64(i) {
			e.minRank = 0
			continue
		}
		q.executable++
		e.minRank = e.rank
		if i > 0 {
			e.minRank = min(e.rank, q.entries[i-1].minRank)
		}
	}
}
