package pool

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// ErrNoState says that the pool was not told the state yet.
var ErrNoState = errors.New("transaction pool has no state yet")

// Add admits tx or says why not, with a *chain.InvalidError whose text starts as
// geth's; any other error is a failure to read the state. local marks a
// transaction that came through this node's own RPC; it changes nothing in what
// is admitted or evicted. The sender is recovered here, outside the lock, unless
// tx holds it already.
//
// Errors: those of chain.CheckTransaction and of the signer; ErrAlreadyKnown,
// ErrNonceTooLow, ErrNonceTooHigh (beyond the gap limit only),
// ErrInsufficientFunds, ErrFeeCapTooLow, ErrReplaceUnderpriced,
// ErrAccountLimitExceeded, ErrUnderpriced and ErrPoolFull (a limit of the pool is
// reached and nothing in it is worth less), all of chain.
func (p *Pool) Add(tx *types.Transaction, local bool) error {
	if p.Has(tx.Hash()) {
		return rejected(chain.ErrAlreadyKnown, "")
	}
	if err := chain.CheckTransaction(p.chain, tx); err != nil {
		return err
	}
	from, err := chain.Sender(p.signer, tx)
	if err != nil {
		return err
	}
	e, overflow := newEntry(p.chain, tx, from, local)
	if overflow {
		return rejected(chain.ErrInsufficientFunds, "address %s want more than 2^256-1", from)
	}
	for {
		r, err := p.account(from)
		if err != nil {
			return err
		}
		done, err := p.tryAdd(e, r)
		if done {
			return err
		}
	}
}

// reading is the account of a sender as it was read outside the lock.
type reading struct {
	account *chain.Account // nil = absent, or not read
	known   bool           // not read, because the sender has a queue
	version uint64         // of the state it is of
}

// account reads the account of a sender that the pool does not know.
func (p *Pool) account(from crypto.Address) (reading, error) {
	p.mu.RLock()
	state, r := p.state, reading{version: p.version}
	_, r.known = p.queues[from]
	p.mu.RUnlock()
	if state == nil {
		return r, ErrNoState
	}
	if r.known {
		return r, nil
	}
	var err error
	if r.account, err = state.Account(from); err != nil {
		return r, fmt.Errorf("read the account of the sender: %w", err)
	}
	return r, nil
}

// tryAdd admits e; done is false when the account must be read again: the state
// has moved on, or the sender's queue has been evicted meanwhile.
func (p *Pool) tryAdd(e *entry, r reading) (done bool, err error) {
	p.mu.Lock()
	defer p.unlock()
	q := p.queues[e.from]
	if r.version != p.version || r.known && q == nil {
		return false, nil
	}
	if q == nil {
		q = newQueue(e.from)
		q.set(r.account)
	}
	if _, ok := p.all[e.hash]; ok {
		return true, rejected(chain.ErrAlreadyKnown, "")
	}
	i, replaces := q.find(e.nonce)
	var old *entry
	if replaces {
		old = q.entries[i]
	}
	if err := p.check(q, e, old); err != nil {
		return true, err
	}
	p.arrival++
	e.arrival = p.arrival
	e.rank = e.rankAt(p.free, &p.baseFee)
	p.change(q, func() {
		if old != nil {
			p.drop(p.detach(q, i), rejected(chain.ErrReplaced, "by %s", e.hash))
		}
		p.attach(q, i, e)
		q.settle(i)
	})
	return true, p.trim(e)
}

// check holds the rules of admission that need the sender's queue. old is what
// e would replace.
func (p *Pool) check(q *queue, e, old *entry) error {
	if e.nonce < q.nonce {
		return chain.CheckNonce(e.from, e.nonce, q.nonce)
	}
	if !p.free && e.feeCap.Lt(&p.baseFee) {
		return rejected(chain.ErrFeeCapTooLow, "address %s, maxFeePerGas: %d, baseFee: %d", e.from, &e.feeCap, &p.baseFee)
	}
	if old != nil {
		if !e.raises(old, p.cfg.PriceBump) {
			return rejected(chain.ErrReplaceUnderpriced, "at least %d %% more in both fee fields than %s", p.cfg.PriceBump, old.hash)
		}
		if p.bytes-old.size+e.size > p.cfg.Bytes {
			return rejected(chain.ErrPoolFull, "%d bytes", p.bytes)
		}
	} else if err := p.checkLimits(q, e); err != nil {
		return err
	}
	return p.checkBalance(q, e, old)
}

// checkLimits holds the limits of one sender.
func (p *Pool) checkLimits(q *queue, e *entry) error {
	if next, gap := q.next(), p.gapLimit(q); e.nonce > next && e.nonce-next > gap {
		return rejected(chain.ErrNonceTooHigh, "address %s, tx: %d next: %d, at most %d beyond it", e.from, e.nonce, next, gap)
	}
	if q.executable >= p.cfg.PerSenderExecutable {
		return rejected(chain.ErrAccountLimitExceeded, "%d transactions of %s wait already", len(q.entries), e.from)
	}
	if !p.free || !q.balance.IsZero() {
		return nil
	}
	// Nothing bounds what costs nothing: every new account would grow the ledger.
	if len(q.entries) >= p.cfg.PerEmptySender {
		return rejected(chain.ErrAccountLimitExceeded, "%d transactions of %s, which has no balance, wait already", len(q.entries), e.from)
	}
	if p.empty >= p.cfg.EmptySenders {
		return rejected(chain.ErrPoolFull, "%d transactions of senders without balance wait already", p.empty)
	}
	return nil
}

// gapLimit is how far beyond its next nonce a sender may be: not at all if it has
// no balance on a free network. What costs nothing and waits for ever would take
// the places of all such senders.
func (p *Pool) gapLimit(q *queue) uint64 {
	if p.free && q.balance.IsZero() {
		return 0
	}
	return uint64(p.cfg.PerSenderGapped)
}

// checkBalance asks that the sender can pay all its transactions in the pool.
func (p *Pool) checkBalance(q *queue, e, old *entry) error {
	if q.balance.Lt(&e.cost) {
		return rejected(chain.ErrInsufficientFunds, "address %s have %d want %d", e.from, &q.balance, &e.cost)
	}
	queued := q.cost
	if old != nil {
		queued.Sub(&queued, &old.cost)
	}
	total, over := new(uint256.Int).AddOverflow(&queued, &e.cost)
	if over || q.balance.Lt(total) {
		return rejected(chain.ErrInsufficientFunds, "address %s have %d queued cost %d tx cost %d", e.from, &q.balance, &queued, &e.cost)
	}
	return nil
}

// trim evicts the worst until the pool is within its limits. When it is e itself
// that goes, e was not admitted.
func (p *Pool) trim(e *entry) error {
	for len(p.all) > p.cfg.Total || p.bytes > p.cfg.Bytes {
		q := p.worst.items[0]
		var out *entry
		p.change(q, func() {
			out = p.detach(q, len(q.entries)-1)
			q.settle(len(q.entries))
		})
		if out != e {
			p.drop(out, rejected(chain.ErrPoolFull, "evicted for a better one"))
			continue
		}
		if p.free || e.minRank == 0 {
			return rejected(chain.ErrPoolFull, "%d transactions, %d bytes", len(p.all), p.bytes)
		}
		return rejected(chain.ErrUnderpriced, "the pool is full: a tip of at least %d wei for gas is needed", p.leastTip())
	}
	p.reasons.forget(e.hash)
	return nil
}

// rejected is a *chain.InvalidError.
func rejected(kind chain.ErrorKind, format string, args ...any) error {
	return &chain.InvalidError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// cut drops the entries from index i on with one reason.
func (p *Pool) cut(q *queue, i int, reason error) {
	for len(q.entries) > i {
		p.drop(p.detach(q, len(q.entries)-1), reason)
	}
}

// clearFront lets the queue's memory go with the entries that left at the front.
func (q *queue) clearFront() {
	if cap(q.entries) > 64 && len(q.entries) < cap(q.entries)/4 {
		q.entries = slices.Clone(q.entries)
	}
}
