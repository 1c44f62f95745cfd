package node

import (
	"context"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/ledger/chain"
	"cairn/p2p"
)

// This file is what other nodes reach: every function here runs in the goroutine
// of a stream or of the gossip validator, checks what came, and hands the owner
// goroutine values that it may trust to be authentic.

// proposalArrived is a proposal with its decoded body.
type proposalArrived struct {
	event consensus.ProposalReceived
	block *types.Block
}

func (d *driver) handlers(ctx context.Context) p2p.Handlers {
	return p2p.Handlers{
		Transactions: d.onTransactions,
		Finalization: d.onFinalization,
		Consensus:    func(from peer.ID, msg []byte) { d.onConsensus(ctx, from, msg) },
		Requests: d.serving.requests(map[string]p2p.Request{
			requestStatus:       d.serveStatus,
			requestBlock:        d.serveBlock,
			requestCertificates: d.serveCertificates,
			requestSeen:         d.serveSeen,
		}),
		PeerChange: func() { d.sync.poke() },
	}
}

// onTransactions validates a gossip batch: it is relayed if it held anything new
// and good, dropped if everything was known or refused for reasons that change
// with the state, and held against its sender if it held what nobody could take.
func (d *driver) onTransactions(ctx context.Context, from peer.ID, raws [][]byte) p2p.Verdict {
	select {
	case <-d.started:
	case <-ctx.Done():
		return p2p.Ignore
	}
	verdict := p2p.Ignore
	added := false
	for _, raw := range raws {
		tx, err := chain.DecodeTransaction(raw)
		if err != nil {
			return p2p.Reject
		}
		if d.pool.Has(tx.Hash()) {
			continue
		}
		if err := d.checkTransaction(tx); err != nil {
			return p2p.Reject // whatever the state: an honest node would never have relayed it
		}
		if d.pool.Add(tx, false) == nil {
			d.events.Added(tx.Hash())
			verdict, added = p2p.Accept, true
		}
	}
	if added {
		d.poolChanged()
	}
	return verdict
}

// checkTransaction holds a transaction against the rules that no state changes,
// and recovers its sender, outside of any lock.
func (d *driver) checkTransaction(tx *types.Transaction) error {
	cfg := d.ledger.Config()
	if err := chain.CheckTransaction(cfg, tx); err != nil {
		return err
	}
	_, err := chain.Sender(d.signer, tx)
	return err
}

// onFinalization takes a finalization from the topic that full nodes follow.
func (d *driver) onFinalization(ctx context.Context, from peer.ID, msg []byte) p2p.Verdict {
	select {
	case <-d.started:
	case <-ctx.Done():
		return p2p.Ignore
	}
	c, err := consensus.DecodeCertificate(msg)
	if err != nil || c.Kind != consensus.Finalize {
		return p2p.Reject
	}
	now := d.era.Load()
	if c.Epoch > now.epoch { // cannot be checked yet: catch up from who has it
		d.hearLater(from)
		return p2p.Ignore
	}
	if state := d.state.Load(); c.Epoch != state.Epoch || c.View <= state.LastFinalizedView {
		return p2p.Ignore
	}
	if c, err = now.verify.certificate(c); err != nil {
		return p2p.Reject
	}
	d.sync.heard(from)
	d.deliver(ctx, consensus.CertificateReceived{From: now.indexOf(from), Certificate: *c})
	return p2p.Accept
}

// onConsensus takes one frame of a validator's direct stream.
func (d *driver) onConsensus(ctx context.Context, from peer.ID, msg []byte) {
	select {
	case <-d.started:
	case <-ctx.Done():
		return
	}
	now := d.era.Load()
	member := now.indexOf(from)
	env, err := consensus.DecodeEnvelope(msg, d.maxConsensusBytes())
	if err != nil {
		d.refuse(from, "consensus message", err)
		return
	}
	switch epoch := env.Epoch(); {
	case epoch < now.epoch:
		d.tellEpochEnd(from, epoch)
		return
	case epoch > now.epoch:
		d.hearLater(from)
		return
	case member < 0:
		d.meters.refused.WithLabelValues("not a member").Inc()
		return
	}
	switch {
	case env.Vote != nil:
		if err := consensus.VerifyVote(d.net, now.epoch, now.addrs, env.Vote); err != nil {
			d.refuse(from, "vote", err)
			return
		}
		d.deliver(ctx, consensus.VoteReceived{From: member, Vote: *env.Vote})
	case env.Certificate != nil:
		c, err := now.verify.certificate(env.Certificate)
		if err != nil {
			d.refuse(from, "certificate", err)
			return
		}
		d.deliver(ctx, consensus.CertificateReceived{From: member, Certificate: *c})
	case env.Proposal != nil:
		d.onProposal(ctx, from, now, env.Proposal)
	}
}

// onProposal checks each part of a proposal on its own. The proposal is the
// leader's vote; a body or certificate that does not fit is the sender's fault:
// that part is dropped and fetched elsewhere.
func (d *driver) onProposal(ctx context.Context, from peer.ID, now *era, p *consensus.ProposalEnvelope) {
	member := now.indexOf(from)
	if err := consensus.VerifyProposal(d.net, now.epoch, now.addrs, p); err != nil {
		d.refuse(from, "proposal", err)
		return
	}
	event := consensus.ProposalReceived{From: member, Proposal: consensus.Proposal{Vote: p.Vote}}
	if p.Parent != nil {
		if c, err := now.verify.certificate(p.Parent); err != nil {
			d.refuse(from, "parent certificate of a proposal", err)
		} else {
			event.Proposal.Parent = c
			d.deliver(ctx, consensus.CertificateReceived{From: member, Certificate: *c})
		}
	}
	for i := range p.Nullifications {
		c, err := now.verify.certificate(&p.Nullifications[i])
		if err != nil {
			d.refuse(from, "nullification of a proposal", err)
			continue
		}
		event.Proposal.Nullifications = append(event.Proposal.Nullifications, *c)
		d.deliver(ctx, consensus.CertificateReceived{From: member, Certificate: *c})
	}
	if state := d.state.Load(); state.Epoch == now.epoch && !d.intake.take(p.Vote.Subject, state.View) {
		d.deliver(ctx, consensus.VoteReceived{From: member, Vote: p.Vote})
		return
	}
	block, err := chain.DecodeBlock(p.Body, &d.ledger.Config().Rules)
	if err == nil && block.Hash() != p.Vote.Block {
		err = errUnasked
	}
	if err != nil {
		d.intake.giveBack(p.Vote.Subject)
		d.refuse(from, "body of a proposal", err)
		d.deliver(ctx, consensus.VoteReceived{From: member, Vote: p.Vote})
		return
	}
	block = withKnownSenders(d.pool, d.signer, block)
	event.Proposal.Block = blockFacts(block)
	d.deliver(ctx, &proposalArrived{event: event, block: block})
}

// hearLater looks at the peers after a message of an epoch that has not begun
// here: nothing in it can be checked, so it moves nobody more than once a second.
func (d *driver) hearLater(from peer.ID) {
	if d.later.allow(from) {
		d.sync.heard(from)
		d.sync.poke()
	}
}

// tellEpochEnd answers a message of an epoch that is over with the finalization
// of its closing block, at most once a second to each peer.
func (d *driver) tellEpochEnd(to peer.ID, epoch uint32) {
	if !d.endings.allow(to) {
		return
	}
	height, err := d.ledger.ClosingHeight(epoch + 1)
	if err != nil {
		return
	}
	raw, err := d.ledger.Certificate(height)
	if err != nil {
		return
	}
	c, err := consensus.DecodeCertificate(raw)
	if err != nil {
		return
	}
	d.host.SendConsensus(to, consensus.EncodeEnvelope(&consensus.Envelope{Certificate: c}))
}

// refuse counts what a peer sent wrong and lowers its standing.
func (d *driver) refuse(from peer.ID, what string, err error) {
	d.meters.refused.WithLabelValues(what).Inc()
	d.log.Debug("refused", "what", what, "peer", from, "err", err)
	d.host.Penalize(from, p2p.FaultMalformed)
}

// maxConsensusBytes bounds one consensus message: a full block and what is
// attached to it.
func (d *driver) maxConsensusBytes() int { return maxConsensusBytes(&d.ledger.Config().Rules) }
