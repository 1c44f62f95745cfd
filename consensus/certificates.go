package consensus

import (
	"fmt"

	"cairn/consensus/internal/fault"
)

// onVote takes a member's vote. The leader's vote in a proposal comes here too.
func (c *Core) onVote(from int, v *Vote) {
	if v.Epoch != c.cfg.Epoch || int(v.Signer) >= c.n || v.Check() != nil {
		return
	}
	c.heard[v.Signer] = c.view
	c.recognize(v)
	c.count(v)
	c.answer(from, v.View)
}

// count adds a vote to its view's tally and acts on a quorum.
func (c *Core) count(v *Vote) {
	vs := c.lookup(v.View)
	if vs == nil {
		ahead := v.View > c.view+futureWindow && !c.faulty(fault.FutureVotesKept)
		if v.View < c.final.view || ahead || v.View+pastWindow < c.view {
			return
		}
		vs = c.viewAt(v.View)
	}
	if !c.tallied(vs, v) && !c.countTwice(vs, v) || v.View <= c.final.view {
		return
	}
	if v.Kind == Nullify && int(v.Signer) != c.cfg.Self && vs.foreignAt < 0 {
		vs.foreignAt = c.mono
	}
	t := &vs.tallies[v.Kind.index()]
	i := t.find(v.Subject)
	if t.subjects[i].votes >= c.q && vs.cert(v.Kind) == nil {
		c.learn(t.certificate(v.Subject, i), c.cfg.Self, true)
	}
}

// tallied counts a member's first vote of a kind in a view and notices when the
// member contradicts itself. It answers whether the vote was new.
func (c *Core) tallied(vs *viewState, v *Vote) bool {
	t, signer := &vs.tallies[v.Kind.index()], int(v.Signer)
	if !t.add(c.n, signer, v.Subject, v.Signature) {
		if first := t.vote(v.Kind, v.Epoch, v.View, signer); first.Subject != v.Subject {
			c.accuse(first, *v)
		}
		return false
	}
	opposite := Kind(0)
	switch v.Kind {
	case Nullify:
		opposite = Finalize
	case Finalize:
		opposite = Nullify
	}
	if opposite != 0 {
		if o := &vs.tallies[opposite.index()]; o.has(signer) {
			c.accuse(o.vote(opposite, v.Epoch, v.View, signer), *v)
		}
	}
	return true
}

// countTwice counts a vote that was counted before, with that fault planted.
func (c *Core) countTwice(vs *viewState, v *Vote) bool {
	t := &vs.tallies[v.Kind.index()]
	i := t.find(v.Subject)
	if i < 0 || !c.faulty(fault.CountTwice) {
		return false
	}
	t.subjects[i].votes++
	return true
}

// accuse hands out one pair of contradicting votes for each member and kind of
// contradiction: two notarizes, two finalizes, or nullify with finalize.
func (c *Core) accuse(a, b Vote) {
	kind := a.Kind
	if a.Kind != b.Kind {
		kind = Nullify
	}
	seen := &c.evidence[a.Signer][kind.index()]
	if *seen {
		return
	}
	*seen = true
	c.eff.Evidence = append(c.eff.Evidence, Evidence{A: a, B: b})
}

// absorb counts the votes inside a certificate: they are evidence like any
// other, and show who is alive.
func (c *Core) absorb(vs *viewState, cert *Certificate) {
	next := 0
	for m := 0; m < c.n && next < len(cert.Signatures); m++ {
		if !cert.Signers.Has(m) {
			continue
		}
		v := Vote{Subject: cert.Subject, Signer: uint16(m), Signature: cert.Signatures[next]}
		next++
		c.heard[m] = c.view
		c.recognize(&v)
		c.tallied(vs, &v)
	}
}

// learn stores a certificate that was verified or that our tally made, and acts
// on it. Who holds a certificate may rely on it whatever its own votes were.
func (c *Core) learn(cert *Certificate, from int, formed bool) {
	if cert.Epoch != c.cfg.Epoch || cert.Check() != nil {
		return
	}
	vs := c.lookup(cert.View)
	if vs == nil {
		if cert.View < c.final.view {
			c.answerNotarization(from, cert)
			return
		}
		vs = c.viewAt(cert.View)
	}
	if !formed {
		c.absorb(vs, cert)
	}
	if c.contradiction(vs, cert) {
		return
	}
	if vs.cert(cert.Kind) != nil || c.drops(vs, cert) {
		c.answerNotarization(from, cert)
		return
	}
	vs.certs[cert.Kind.index()], vs.heldAt[cert.Kind.index()] = cert, c.mono
	if cert.View <= c.final.view {
		if c.faulty(fault.FloorIgnored) {
			c.finalize(vs)
		}
		c.answerNotarization(from, cert)
		return
	}
	if (formed || !c.replaying) && !(cert.Kind == Notarize && c.faulty(fault.NotarizationNotRecorded)) {
		c.persist(Record{Certificate: cert})
	}
	// Gossip once. What came from a node that is no member came by gossip or as
	// an answer; old certificates are had by asking.
	if formed || from >= 0 && (cert.Kind == Finalize || cert.View+1 >= c.view) {
		c.broadcast(Message{Certificate: cert})
	}
	c.act(vs, cert)
	c.answerNotarization(from, cert)
}

// drops says whether a planted fault loses a certificate that must be kept.
func (c *Core) drops(vs *viewState, cert *Certificate) bool {
	switch cert.Kind {
	case Notarize:
		return vs.signed(Nullify) != nil && c.faulty(fault.DropNotarizationIfNullified)
	case Nullify:
		return vs.cert(Notarize) != nil && c.faulty(fault.DropNullificationIfNotarized)
	}
	return false
}

// act moves on after a new certificate above the last finalized view.
func (c *Core) act(vs *viewState, cert *Certificate) {
	switch cert.Kind {
	case Notarize:
		if c.tip == nil || c.tip.view < vs.view {
			c.tip, c.lastBlockAt = vs, c.mono
		}
		if own := vs.signed(Notarize); own != nil && own.Block != cert.Block && c.faulty(fault.OwnBlockKept) {
			return
		}
		c.certify(cert.Block, cert.View, c.bodyDue(vs, cert), false)
		c.admit(vs)
	case Nullify:
		if vs.view >= c.view {
			c.enter(vs.view+1, cert)
		}
	case Finalize:
		c.finalized(vs, cert)
	}
}

// admit enters the view after a notarized one, once its block is executed, and
// votes to finalize it.
func (c *Core) admit(vs *viewState) {
	cert := vs.cert(Notarize)
	if cert == nil || vs.view <= c.final.view || !c.executed(cert.Block) {
		return
	}
	if vs.signed(Nullify) != nil && c.faulty(fault.StayAfterNullify) {
		return
	}
	if c.faulty(fault.EpochEndsAtNotarization) && c.blocks[cert.Block].closing && vs.view > c.final.view {
		c.finalized(vs, cert)
		return
	}
	if vs.view >= c.view {
		c.enter(vs.view+1, cert)
	}
	c.finalize(vs)
}

// finalized takes a finalization above all before it: its block and all its
// ancestors are final, whether their bodies are here or not.
func (c *Core) finalized(vs *viewState, cert *Certificate) {
	if c.tip == nil || c.tip.view < vs.view {
		c.lastBlockAt = c.mono
	}
	c.final = finalView{view: vs.view, block: cert.Block, cert: cert, at: c.mono}
	if c.tip != nil && c.tip.view <= vs.view {
		c.tip = nil
	}
	if vs.view >= c.view {
		due := c.bodyDue(vs, cert)
		c.enter(vs.view+1, cert)
		c.certify(cert.Block, cert.View, due, true)
	} else {
		c.certify(cert.Block, cert.View, c.mono, true)
	}
	c.forgetViews()
	c.endObservation()
}

// bodyDue is when the body that a certificate names is first asked for. One of
// the current view is probably on its way from the leader: it gets half a Δ. To a
// full node no leader sends anything.
func (c *Core) bodyDue(vs *viewState, cert *Certificate) int64 {
	if c.cfg.Self < 0 || vs.view != c.view || vs.proposal != nil && vs.proposal.Block.Hash != cert.Block {
		return c.mono
	}
	return c.mono + c.cfg.Delta/2
}

// contradiction halts if a certificate cannot exist beside one held: two
// notarizations or two finalizations of one view that say different things, or a
// finalization and a nullification of one view.
func (c *Core) contradiction(vs *viewState, cert *Certificate) bool {
	for _, held := range vs.certs {
		if held == nil {
			continue
		}
		var bad bool
		switch {
		case held.Kind == Nullify || cert.Kind == Nullify:
			bad = held.Kind == Finalize || cert.Kind == Finalize
		default:
			bad = held.ParentView != cert.ParentView || held.Block != cert.Block
		}
		if bad {
			c.halt("view %d has a %s and a %s: more than %d of %d members are faulty",
				vs.view, held.describe(), cert.describe(), Faults(c.n), c.n)
			return true
		}
	}
	if cert.Kind == Finalize && vs.view == c.final.view && cert.Block != c.final.block {
		c.halt("view %d is finalized with %s and with %s", vs.view, c.final.block, cert.Block)
		return true
	}
	return false
}

// describe names what a certificate says, for people.
func (cert *Certificate) describe() string {
	if cert.Kind == Nullify {
		return cert.Kind.Noun()
	}
	return fmt.Sprintf("%s of %s on view %d", cert.Kind.Noun(), cert.Block, cert.ParentView)
}

// answerNotarization treats a notarization like a vote of its view: who sends it
// may be behind.
func (c *Core) answerNotarization(from int, cert *Certificate) {
	if cert.Kind == Notarize && from != c.cfg.Self {
		c.answer(from, cert.View)
	}
}

// answer helps a member whose message is of a view below ours, if we held the
// better certificate for more than Δ: late votes of a live view need no help.
// Each member gets at most one answer every Δ.
func (c *Core) answer(from int, view uint64) {
	if from < 0 || from >= c.n || from == c.cfg.Self || view >= c.view && !c.ended {
		return
	}
	best, since := c.admitting, c.entered
	if c.final.cert != nil && (c.final.view >= view || c.ended) {
		best, since = c.final.cert, c.final.at
	}
	if best == nil || c.mono-since <= c.cfg.Delta || c.mono < c.answered[from] {
		return
	}
	c.answered[from] = c.mono + c.cfg.Delta
	c.eff.SendTo = append(c.eff.SendTo, Directed{To: from, Messages: []Message{{Certificate: best}}})
}
