package pool

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// refresh is a queue whose account may have changed, with the account.
type refresh struct {
	queue   *queue
	account *chain.Account
}

// Reset tells the pool a new final block: its header, the base fee of the next
// block, the state after it and its transactions. Only the senders and
// recipients of the block are looked at, unless the block is not a child of the
// last one (at the start, after catching up), when all are. An error is a
// failure to read the state; the pool then takes the next Reset for one after a
// gap.
func (p *Pool) Reset(head *types.Header, nextBaseFee *uint256.Int, state chain.Reader, included []*types.Transaction) error {
	p.resetting.Lock()
	defer p.resetting.Unlock()
	affected := p.begin(head, state, included)
	for i := range affected {
		a, err := state.Account(affected[i].queue.sender)
		if err != nil {
			p.mu.Lock()
			p.head = nil
			p.unlock()
			return fmt.Errorf("read the account of a sender: %w", err)
		}
		affected[i].account = a
	}
	p.mu.Lock()
	defer p.unlock()
	if hasRoom(p.chain, head, included) {
		p.rounds++
	}
	for _, r := range affected {
		p.update(r.queue, r.account)
	}
	p.setBaseFee(nextBaseFee)
	return nil
}

// begin makes the new state the one that Add reads, marks what the block has
// included, and answers the queues whose account may have changed.
func (p *Pool) begin(head *types.Header, state chain.Reader, included []*types.Transaction) []refresh {
	p.mu.Lock()
	defer p.unlock()
	follows := p.head != nil && head.ParentHash == p.head.Hash()
	p.state, p.head = state, head
	p.version++
	for _, tx := range included {
		if e := p.all[tx.Hash()]; e != nil {
			e.included = true
		}
	}
	var out []refresh
	if !follows {
		for _, q := range p.queues {
			out = append(out, refresh{queue: q})
		}
		return out
	}
	seen := make(map[*queue]bool)
	touch := func(addr crypto.Address) {
		if q := p.queues[addr]; q != nil && !seen[q] {
			seen[q] = true
			out = append(out, refresh{queue: q})
		}
	}
	touch(head.Coinbase)
	if r := p.chain.Rules.Fees.BaseFeeRecipient; r != nil {
		touch(*r)
	}
	for _, tx := range included {
		if from, err := chain.Sender(p.signer, tx); err == nil {
			touch(from)
		}
		if to := tx.To(); to != nil {
			touch(*to)
		}
	}
	return out
}

// update gives a queue its account's new nonce and balance: what is in the
// block or can be in none any more leaves.
func (p *Pool) update(q *queue, account *chain.Account) {
	if p.queues[q.sender] != q {
		return // emptied since, by an eviction
	}
	p.change(q, func() {
		q.set(account)
		for len(q.entries) > 0 && q.entries[0].nonce < q.nonce {
			e := p.detach(q, 0)
			if !e.included {
				p.drop(e, chain.CheckNonce(e.from, e.nonce, q.nonce))
			}
		}
		q.clearFront()
		for i := 0; i < len(q.entries); {
			if e := q.entries[i]; q.balance.Lt(&e.cost) {
				p.drop(p.detach(q, i), rejected(chain.ErrInsufficientFunds, "address %s have %d want %d", e.from, &q.balance, &e.cost))
				continue
			}
			i++
		}
		q.executable = 0
		q.settle(0)
		p.cutGapped(q)
	})
}

// cutGapped drops what lies beyond the gap limit after an entry before it left.
func (p *Pool) cutGapped(q *queue) {
	gap := p.gapLimit(q)
	last := q.next() + gap
	i := len(q.entries)
	for i > q.executable && q.entries[i-1].nonce > last {
		i--
	}
	p.cut(q, i, rejected(chain.ErrNonceTooHigh, "address %s, next: %d, at most %d beyond it", q.sender, q.next(), gap))
}

// setBaseFee ranks everything anew when the base fee has changed.
func (p *Pool) setBaseFee(fee *uint256.Int) {
	if p.baseFee.Eq(fee) {
		return
	}
	p.baseFee.Set(fee)
	for _, q := range p.queues {
		for _, e := range q.entries {
			e.rank = e.rankAt(p.free, &p.baseFee)
		}
		q.executable = 0 // settle counts the same again
		q.settle(0)
		p.setHead(q)
	}
	p.worst.init()
}

// hasRoom says whether more would have fitted into a block: at most half full
// by each measure.
func hasRoom(cfg *chain.Config, head *types.Header, included []*types.Transaction) bool {
	var size uint64
	for _, tx := range included {
		size += tx.Size()
	}
	rules := &cfg.Rules
	return head.GasUsed <= rules.GasLimit/2 && size <= rules.BlockBytes/2 && uint64(len(included)) <= rules.BlockTransactions/2
}
