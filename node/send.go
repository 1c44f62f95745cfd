package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
)

// Limits of what is sent and asked for.
const (
	announceLimit = 512 // pending transactions that are sent again at once
	maxRanges     = 8   // ranges of certificates being fetched
)

// send hands messages to the network. It runs after their records are durable.
func (d *driver) send(e *consensus.Effects) {
	now := d.era.Load()
	for i := range e.Broadcast {
		raw := d.envelope(&e.Broadcast[i])
		if raw == nil {
			continue
		}
		for j, p := range now.peers {
			if j != now.self {
				d.host.SendConsensus(p, raw)
			}
		}
	}
	for _, to := range e.SendTo {
		if to.To < 0 || to.To >= len(now.peers) || to.To == now.self {
			continue
		}
		for i := range to.Messages {
			if raw := d.envelope(&to.Messages[i]); raw != nil {
				d.host.SendConsensus(now.peers[to.To], raw)
			}
		}
	}
}

// envelope encodes a message, with the body if it is a proposal; nil when the
// body is gone, which is so only for blocks that became final meanwhile.
func (d *driver) envelope(m *consensus.Message) []byte {
	env := consensus.Envelope{Vote: m.Vote, Certificate: m.Certificate}
	if p := m.Proposal; p != nil {
		block, err := d.body(p.Block.Hash)
		if err != nil || block == nil {
			return nil
		}
		env.Proposal = &consensus.ProposalEnvelope{
			Vote: p.Vote, Parent: p.Parent, Nullifications: d.fitting(p.Nullifications), Body: chain.EncodeBlock(block),
		}
	}
	return consensus.EncodeEnvelope(&env)
}

// fitting are the newest nullifications that take no more than a quarter of the
// message limit; the others are fetched by range.
func (d *driver) fitting(all []consensus.Certificate) []consensus.Certificate {
	size, limit := 0, d.maxConsensusBytes()/4
	for i := range all {
		if size += len(consensus.EncodeCertificate(&all[i])); size > limit {
			return all[:i]
		}
	}
	return all
}

// publishFinalization tells full nodes. The leader of the finalized view and
// that of the next one do it, so that one dead member costs nothing and the
// others' copies, equal but for the signers, do not flood the topic.
func (d *driver) publishFinalization(c *consensus.Certificate) {
	now := d.era.Load()
	n := len(now.addrs)
	if now.self == consensus.Leader(c.Epoch, c.View, n) || now.self == consensus.Leader(c.Epoch, c.View+1, n) {
		d.host.PublishFinalization(consensus.EncodeCertificate(c))
	}
}

// announce sends pending transactions again: gossip drops identical bytes for
// minutes, and the leader may never have had them.
func (d *driver) announce(to consensus.Announce) {
	if to == consensus.AnnounceNone {
		return
	}
	raws := d.pendingRaws(announceLimit)
	if len(raws) == 0 {
		return
	}
	leader := d.core.Status().Leader
	now := d.era.Load()
	for i, p := range now.peers {
		if i != now.self && (to == consensus.AnnounceAll || i == leader) && d.announcing.begin(p) {
			// Not in this goroutine, which must never wait for the network.
			go func() {
				defer d.announcing.end(p)
				_ = d.host.SendTransactions(p, raws) // repeated anyway
			}()
		}
	}
}

func (d *driver) pendingRaws(limit int) [][]byte {
	txs := d.pool.Executable(limit)
	raws := make([][]byte, len(txs))
	for i, tx := range txs {
		raws[i] = chain.EncodeTransaction(tx)
	}
	return raws
}

// fetch starts the requests that the core asked for. Answers come back through
// the inbox.
func (d *driver) fetch(e *consensus.Effects) {
	for _, r := range e.FetchCertificates {
		if len(d.ranges) < maxRanges && !d.ranges[r] {
			d.ranges[r] = true
			go d.fetchCertificates(r)
		}
	}
	for _, hash := range e.FetchBlocks {
		if block, err := d.body(hash); err == nil && block != nil {
			d.deliverLater(&fetchedBlock{hash: hash, block: block})
			continue
		}
		if !d.fetching[hash] {
			d.fetching[hash] = true
			go d.fetchBlock(hash)
		}
	}
}

// deliverLater puts a value into the inbox from the owner goroutine itself,
// which must never wait for its own inbox.
func (d *driver) deliverLater(v any) {
	select {
	case d.inbox <- v:
	default:
		go d.deliver(d.ctx, v)
	}
}

// askable are the peers to ask, validators first, each part in random order, and
// after all of them those that left the last request unanswered.
func (d *driver) askable() []peer.ID {
	now := d.era.Load()
	var members, others []peer.ID
	for _, p := range d.host.Peers() {
		if now.indexOf(p.ID) >= 0 {
			members = append(members, p.ID)
		} else {
			others = append(others, p.ID)
		}
	}
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return d.deaf.last(append(members, others...), time.Now())
}

func (d *driver) fetchBlock(hash crypto.Hash) {
	answer := &fetchedBlock{hash: hash}
	if d.era.Load().self < 0 && d.sync.follow(d.ctx, hash) {
		d.deliver(d.ctx, answer) // without the block: the ledger has it
		return
	}
	for _, p := range d.sync.heardFirst(d.askable()) {
		block, err := d.requestBlock(p, hash)
		if err != nil {
			d.refuse(p, "block answer", err)
		}
		if block != nil {
			answer.block, answer.from = block, p
			break
		}
	}
	d.deliver(d.ctx, answer)
}

// requestBlock asks one peer. A nil block without an error means that the peer
// does not have it or did not answer.
func (d *driver) requestBlock(p peer.ID, hash crypto.Hash) (*types.Block, error) {
	ctx, cancel := context.WithTimeout(d.ctx, fetchWait)
	defer cancel()
	raw, err := d.ask(ctx, p, requestBlock, hash[:])
	if err != nil || len(raw) == 0 {
		return nil, nil
	}
	block, err := chain.DecodeBlock(raw, &d.ledger.Config().Rules)
	if err != nil {
		return nil, err
	}
	if block.Hash() != hash {
		return nil, errUnasked
	}
	return withKnownSenders(d.pool, d.signer, block), nil
}

func (d *driver) fetchCertificates(r consensus.ViewRange) {
	defer d.deliver(d.ctx, func() { delete(d.ranges, r) })
	now := d.era.Load()
	to := min(r.To, r.From+maxCertificateViews-1)
	for _, p := range d.deaf.tries(d.askable(), fetchTries, time.Now()) {
		ctx, cancel := context.WithTimeout(d.ctx, fetchWait)
		raw, err := d.ask(ctx, p, requestCertificates, encode(certificatesRequest{Epoch: now.epoch, From: r.From, To: to}))
		cancel()
		if err != nil {
			continue
		}
		cs, err := decodeCertificates(raw)
		if err != nil {
			d.refuse(p, "certificates answer", err)
			continue
		}
		for i := range cs {
			c, err := now.verify.certificate(&cs[i])
			if err != nil {
				d.refuse(p, "certificates answer", err)
				break
			}
			d.deliver(d.ctx, consensus.CertificateReceived{From: -1, Certificate: *c})
		}
		if len(cs) > 0 {
			return
		}
	}
}

// handleFetched gives a fetched body to the core. While blocks are final that are
// not here, one far above the head is not given: the syncer brings the range
// between instead of a walk back by hashes. What is only notarized cannot be
// synced and is always walked.
func (d *driver) handleFetched(f *fetchedBlock) error {
	delete(d.fetching, f.hash)
	if f.block == nil {
		return nil
	}
	height, head := f.block.NumberU64(), d.ledger.HeadInfo().Height
	status := d.core.Status()
	uncommitted := status.LastFinalizedView > status.CommittedView
	if f.from != "" && (height > head+consensus.MaxHeldBlocks || uncommitted && height > head+behindLimit) {
		d.sync.poke()
		return nil
	}
	if err := d.store.PutBody(f.hash, chain.EncodeBlock(f.block)); err != nil {
		return err
	}
	d.bodies.put(f.block)
	return d.step(consensus.BlockDurable{Block: blockFacts(f.block)})
}
