package consensus

import (
	"fmt"

	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// propose makes the leader of the current view propose: on the highest notarized
// and executed, or finalized, view, with every view between nullified.
func (c *Core) propose() {
	c.proposeAt = 0
	if c.leader(c.view) != c.cfg.Self || !c.voting() || !c.armed || c.buildView == c.view {
		return
	}
	if c.cur.signed(Notarize) != nil || c.cur.signed(Nullify) != nil || c.cur.signed(Finalize) != nil {
		return
	}
	p, hash := c.candidate()
	parent := c.blocks[hash]
	if parent == nil || parent.exec != executedOK {
		return
	}
	if !c.nullified(p, c.view) {
		c.fetchCertificates(p)
		return
	}
	if parent.closing && !c.faulty(fault.ClosingBlockHasChild) {
		// A closing block has no child in its epoch: it is proposed again until
		// it is directly final. Our vote for it needs the body on the disk here.
		if !parent.durable && !c.faulty(fault.NotarizeUndurable) {
			return
		}
		c.proposeBlock(p, parent.Block)
		return
	}
	if at := c.intervalEnd(parent); c.mono < at {
		c.proposeAt = at
		return
	}
	c.buildView, c.buildParent = c.view, buildParent{view: p, hash: hash}
	c.eff.Build = &BuildRequest{
		View: c.view, Epoch: c.cfg.Epoch, ParentView: p, Parent: hash,
		MinTimestamp: max(c.wall, parent.Timestamp+1, parent.Timestamp+c.cfg.MinInterval),
	}
}

// candidate is the parent that a proposal of the current view would have.
func (c *Core) candidate() (uint64, crypto.Hash) {
	if c.faulty(fault.ProposeOnFinal) {
		return c.final.view, c.final.block
	}
	i, _ := c.search(c.view)
	for i--; i >= 0 && c.views[i].view > c.final.view; i-- {
		if cert := c.views[i].cert(Notarize); cert != nil && c.executed(cert.Block) {
			return c.views[i].view, cert.Block
		}
	}
	return c.final.view, c.final.block
}

// intervalEnd is when, on the monotonic clock, a child of parent may be
// proposed. The wall clock says it best, but may be wrong: a leader never waits
// longer than the interval after it saw the parent.
func (c *Core) intervalEnd(parent *blockState) int64 {
	byWall := c.mono + parent.Timestamp + c.cfg.MinInterval - c.wall
	return min(byWall, parent.seenAt+c.cfg.MinInterval)
}

// onBuilt proposes the block that the driver built.
func (c *Core) onBuilt(e *Built) {
	if c.buildView != c.view || e.View != c.view {
		return // of a view that is over
	}
	b := &e.Block
	if e.Failed || b.Parent != c.buildParent.hash || b.View != c.view || b.Epoch != c.cfg.Epoch || b.Timestamp > MaxTimestamp {
		c.buildFailed = true
		return
	}
	if c.cur.signed(Nullify) != nil {
		return
	}
	s := c.blockAt(b.Hash)
	if s == nil {
		c.buildFailed = true
		return
	}
	s.exec, s.closing = executedOK, e.Closing
	c.place(*b, true, c.view)
	c.proposeBlock(c.buildParent.view, *b)
	c.afterExecution(s)
}

// proposeBlock signs and sends a proposal of a block that is executed and
// durable here.
func (c *Core) proposeBlock(p uint64, b Block) {
	c.buildView = c.view
	v := c.signNotarize(p, b)
	if v == nil {
		return
	}
	proposal := c.proposal(v, b)
	c.cur.proposal = proposal
	c.broadcast(Message{Proposal: proposal})
}

// signNotarize records the block, then the vote that relies on its body.
func (c *Core) signNotarize(p uint64, b Block) *Vote {
	c.persist(Record{Block: &b})
	v := c.sign(Subject{Kind: Notarize, Epoch: c.cfg.Epoch, View: c.view, ParentView: p, Block: b.Hash})
	if v == nil {
		c.eff.Persist = c.eff.Persist[:len(c.eff.Persist)-1]
		return nil
	}
	if c.faulty(fault.FinalizeUnnotarized) {
		s := v.Subject
		s.Kind = Finalize
		if f := c.sign(s); f != nil {
			c.broadcast(Message{Vote: f})
		}
	}
	return v
}

// proposal joins our vote for a block with the certificates that others may lack.
func (c *Core) proposal(v *Vote, b Block) *Proposal {
	out := &Proposal{Block: b, Vote: *v}
	if v.ParentView == c.final.view {
		out.Parent = c.final.cert
	} else if vs := c.lookup(v.ParentView); vs != nil {
		out.Parent = vs.cert(Notarize)
	}
	for u := v.View - 1; u > v.ParentView && len(out.Nullifications) < MaxAttachedNullifications; u-- {
		if vs := c.lookup(u); vs != nil && vs.cert(Nullify) != nil {
			out.Nullifications = append(out.Nullifications, *vs.cert(Nullify))
		}
	}
	return out
}

// onProposal takes the first proposal of the current and of the next view. The
// certificates that came with it were stepped before it.
func (c *Core) onProposal(from int, p *Proposal) {
	v := &p.Vote
	if v.Epoch != c.cfg.Epoch || v.Kind != Notarize || v.Check() != nil ||
		int(v.Signer) != c.leader(v.View) || v.Block != p.Block.Hash {
		return
	}
	c.onVote(from, v)
	if c.halted != "" {
		return
	}
	if b := c.blocks[v.Block]; b != nil && b.certified > 0 {
		c.place(p.Block, false, v.View)
	}
	if v.View <= c.final.view || v.View < c.view || v.View > c.view+1 || int(v.Signer) == c.cfg.Self {
		return
	}
	vs := c.viewAt(v.View)
	another := vs.proposal != nil && vs.proposal.Block.Hash != v.Block
	if vs.proposal != nil && !(another && (c.faulty(fault.NotarizeTwice) || c.faulty(fault.ProposalReplaced))) {
		return
	}
	vs.proposal, vs.rejected = &Proposal{Block: p.Block, Vote: *v}, ""
	if vs == c.cur {
		// What the header alone condemns is not worth an execution.
		if _, vs.rejected = c.acceptable(vs.proposal); vs.rejected != "" {
			return
		}
	}
	c.place(p.Block, false, v.View)
}

// judge votes for the proposal of the current view, rejects it, or leaves it
// pending. Only what the leader signed can be rejected; what is merely missing is
// asked for, and the proposal tried again.
func (c *Core) judge() {
	c.judgeAt = 0
	p := c.cur.proposal
	if p == nil || c.cur.rejected != "" || !c.voting() || c.leader(c.view) == c.cfg.Self {
		return
	}
	if n := c.cur.signed(Notarize); n != nil && !(c.faulty(fault.NotarizeTwice) && n.Block != p.Block.Hash) {
		return
	}
	if c.cur.signed(Nullify) != nil && !c.faulty(fault.NotarizeAfterNullify) {
		return
	}
	accept, reject := c.acceptable(p)
	switch {
	case reject != "":
		c.cur.rejected = reject
	case accept:
		if v := c.signNotarize(p.Vote.ParentView, p.Block); v != nil {
			c.broadcast(Message{Vote: v})
		}
	}
}

// acceptable applies rule 3. It answers whether to notarize now and, if never,
// why.
func (c *Core) acceptable(p *Proposal) (accept bool, reject string) {
	b, parentView := c.blocks[p.Block.Hash], p.Vote.ParentView
	switch {
	case parentView >= c.view:
		return false, fmt.Sprintf("its parent view %d is not below view %d", parentView, c.view)
	case parentView < c.final.view:
		return false, fmt.Sprintf("its parent view %d is below the last finalized view %d", parentView, c.final.view)
	case b != nil && b.exec == executedInvalid:
		return false, b.reason
	}
	parentHash, ok := c.certifiedBlock(parentView)
	if !ok || !c.faulty(fault.SkipNullificationCheck) && !c.nullified(parentView, c.view) {
		if c.faulty(fault.MissingIsInvalid) {
			return false, "a certificate is missing"
		}
		c.fetchCertificates(parentView)
		return false, ""
	}
	parent := c.blocks[parentHash]
	if parent == nil || parent.exec != executedOK {
		return false, ""
	}
	if parent.closing && !c.faulty(fault.ClosingBlockHasChild) {
		if p.Block.Hash != parent.Hash {
			return false, fmt.Sprintf("its parent %s is a closing block, which has no child in its epoch", parentHash)
		}
	} else if reject := c.misfits(&p.Block, parent); reject != "" {
		return false, reject
	} else if ahead := p.Block.Timestamp - c.wall - maxClockAhead; ahead > 0 && !c.faulty(fault.TimestampUnchecked) {
		c.judgeAt = c.mono + ahead
		return false, ""
	}
	if b == nil || b.exec != executedOK && !c.faulty(fault.NotarizeUnexecuted) {
		return false, ""
	}
	return b.durable || c.faulty(fault.NotarizeUndurable), ""
}

// misfits says what in a block, all of which its leader signed, cannot be so on
// this parent in the current view.
func (c *Core) misfits(b *Block, parent *blockState) string {
	switch {
	case b.Parent != parent.Hash && !c.faulty(fault.SkipParentCheck):
		return fmt.Sprintf("its parent is %s, not %s of the parent view", b.Parent, parent.Hash)
	case b.Height != parent.Height+1 && !c.faulty(fault.SkipParentCheck):
		return fmt.Sprintf("its height is %d on a parent of height %d", b.Height, parent.Height)
	case b.Epoch != c.cfg.Epoch:
		return fmt.Sprintf("its epoch is %d, not %d", b.Epoch, c.cfg.Epoch)
	case b.View != c.view:
		return fmt.Sprintf("its view is %d, not %d", b.View, c.view)
	case b.Proposer != c.cfg.Members[c.leader(c.view)]:
		return fmt.Sprintf("its proposer is %s, not the leader", b.Proposer)
	case c.faulty(fault.TimestampUnchecked):
	case b.Timestamp > MaxTimestamp:
		return fmt.Sprintf("its timestamp %d ms is above %d", b.Timestamp, MaxTimestamp)
	case b.Timestamp < parent.Timestamp+max(1, c.cfg.MinInterval):
		return fmt.Sprintf("its timestamp %d ms is too near its parent's %d ms", b.Timestamp, parent.Timestamp)
	}
	return ""
}

// fetchCertificates asks, at most every t_r, for what is missing between a parent
// view and the current one.
func (c *Core) fetchCertificates(p uint64) {
	c.certsWanted = true
	if c.mono < c.certsAt {
		return
	}
	c.certsAt = c.mono + c.resendEvery()
	if c.faulty(fault.FetchOnce) {
		c.certsAt = never
	}
	c.eff.FetchCertificates = append(c.eff.FetchCertificates, c.missing(p, c.view)...)
}
