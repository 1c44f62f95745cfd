package sim

import "cairn/consensus"

// checks holds the checkers of a world. Each restates its rules from the protocol
// and uses none of the engine's own code: not its quorum, not its tallies.
type checks struct {
	w            *world
	votes        voteCheck
	certificates map[uint32]*certificateCheck // by epoch
	agreement    agreementCheck
	memory       memoryCheck
	wakes        wakeCheck
	deadlines    deadlineCheck
}

func (c *checks) init(w *world) {
	c.w = w
	c.votes = voteCheck{w: w}
	c.certificates = map[uint32]*certificateCheck{w.plan.epoch: newCertificateCheck(w, w.plan.epoch, w.genesis)}
	c.agreement = agreementCheck{w: w, chain: []*block{w.genesis}, where: map[uint32]uint64{}}
	c.memory = memoryCheck{w: w}
	c.wakes = wakeCheck{w: w}
	c.deadlines = deadlineCheck{w: w}
}

// durable is told of every write that became durable on a node's disk.
func (c *checks) durable(nd *node, writes []write) {
	for i := range writes {
		records := writes[i].records
		for j := range records {
			if cert := records[j].Certificate; cert != nil {
				c.votes.holds(nd, cert)
			}
		}
		for j := range records {
			if v := records[j].Vote; v != nil {
				c.votes.durable(nd, v)
				c.vote(v)
			}
		}
	}
}

// vote counts a vote that exists in its epoch, which exists once the closing block
// of the one before is final.
func (c *checks) vote(v *consensus.Vote) {
	e := c.certificates[v.Epoch]
	if e == nil {
		before := c.certificates[v.Epoch-1]
		if before == nil || before.ending == nil {
			c.w.violate("epoch", "%s in epoch %d, which has not begun", describeVote(v), v.Epoch)
			return
		}
		e = newCertificateCheck(c.w, v.Epoch, before.ending)
		c.certificates[v.Epoch] = e
		c.w.saw(sawEpoch)
		c.w.countChange(v.Epoch)
	}
	e.vote(v)
}

// relied is told of a certificate that an honest node sends or commits by.
func (c *checks) relied(nd *node, cert *consensus.Certificate) {
	e := c.certificates[cert.Epoch]
	if e == nil {
		c.w.violate("epoch", "n%d holds %s of epoch %d, in which nobody voted", nd.id, describeCertificate(cert), cert.Epoch)
		return
	}
	e.sent(nd, cert)
}

// sent is told of every message before it goes to the network.
func (c *checks) sent(nd *node, m *consensus.Message) {
	c.w.trace.mix(uint64(nd.id))
	if !nd.honest() {
		for _, v := range votesIn(m) {
			if c.w.authentic(v) && c.w.set(v.Epoch).members[v.Signer] == nd.validator {
				c.vote(v)
			}
		}
		return
	}
	for _, v := range votesIn(m) {
		if int(v.Signer) == nd.self {
			c.votes.sent(nd, v)
		}
	}
	for _, cert := range certificatesIn(m) {
		c.relied(nd, cert)
	}
}

// told is shown what else a core asks of its driver.
func (c *checks) told(nd *node, eff *consensus.Effects) {
	if !nd.honest() {
		return
	}
	if eff.Halt != "" {
		c.w.violate("halt", "n%d stops signing although at most f members are faulty: %s", nd.id, eff.Halt)
	}
	for i := range eff.Evidence {
		c.w.saw(sawEvidence)
		c.votes.accused(nd, &eff.Evidence[i])
	}
	for i := range eff.Commit {
		if eff.Commit[i].Kind != consensus.Finalize {
			c.w.violate("commit", "n%d commits by %s", nd.id, describeCertificate(&eff.Commit[i]))
		}
		c.relied(nd, &eff.Commit[i])
	}
}

// committed is told of every batch that a ledger wrote.
func (c *checks) committed(nd *node, b *commit) {
	if nd.honest() {
		c.agreement.committed(nd, b.block)
	}
}

// stepped looks at a core after each step.
func (c *checks) stepped(nd *node) { c.memory.stepped(nd) }

// woken is told of each Tick.
func (c *checks) woken(nd *node) { c.wakes.woken(nd) }

func votesIn(m *consensus.Message) []*consensus.Vote {
	switch {
	case m.Vote != nil:
		return []*consensus.Vote{m.Vote}
	case m.Proposal != nil:
		return []*consensus.Vote{&m.Proposal.Vote}
	}
	return nil
}

func certificatesIn(m *consensus.Message) []*consensus.Certificate {
	switch {
	case m.Certificate != nil:
		return []*consensus.Certificate{m.Certificate}
	case m.Proposal != nil:
		var out []*consensus.Certificate
		if m.Proposal.Parent != nil {
			out = append(out, m.Proposal.Parent)
		}
		for i := range m.Proposal.Nullifications {
			out = append(out, &m.Proposal.Nullifications[i])
		}
		return out
	}
	return nil
}
