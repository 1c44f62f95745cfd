package consensus

import "cairn/consensus/internal/fault"

// sign is the only function that makes a vote, on every path: live, resend,
// replay, sync. It refuses what must never be signed and answers nil then:
//
//   - anything by a core that is no member, halted, paused, observing, replaying,
//     whose key another process uses, or at the end of its epoch;
//   - anything of another epoch, and anything at or below the last finalized
//     view, which is never below the durable floor;
//   - a second notarize of a view, or a notarize after our nullify;
//   - nullify after finalize, or finalize after nullify, in the same view;
//   - a finalize without holding the notarization of that very subject.
//
// A vote is recorded whole in Persist, and joins our own tally with Persisted.
func (c *Core) sign(s Subject) *Vote {
	if !c.voting() || s.Epoch != c.cfg.Epoch || s.View <= c.final.view && !c.faulty(fault.FloorIgnored) {
		return nil
	}
	vs := c.viewAt(s.View)
	if vs.signed(s.Kind) != nil && !(s.Kind == Notarize && c.faulty(fault.NotarizeTwice)) {
		return nil
	}
	exclusive := !c.faulty(fault.NoNullifyFinalizeExclusion)
	switch s.Kind {
	case Notarize:
		if vs.signed(Nullify) != nil && !c.faulty(fault.NotarizeAfterNullify) {
			return nil
		}
	case Nullify:
		if exclusive && vs.signed(Finalize) != nil {
			return nil
		}
	case Finalize:
		if exclusive && vs.signed(Nullify) != nil {
			return nil
		}
		cert := vs.cert(Notarize)
		held := cert != nil && cert.ParentView == s.ParentView && cert.Block == s.Block
		if !held && !c.faulty(fault.FinalizeUnnotarized) {
			return nil
		}
	default:
		panic("consensus: asked to sign a vote of no kind")
	}
	v := &Vote{Subject: s, Signer: uint16(c.cfg.Self), Signature: c.cfg.Sign(s.Digest(c.cfg.Network))}
	vs.own[s.Kind.index()] = v
	c.persist(Record{Vote: v})
	c.unsynced = append(c.unsynced, *v)
	return v
}

// countOwn counts our own votes whose records are durable now.
func (c *Core) countOwn() {
	own := c.unsynced
	c.unsynced = nil
	for i := range own {
		c.count(&own[i])
	}
}

// nullify says that the current view may be skipped. The reason is for whoever
// reads the code: it is not sent.
func (c *Core) nullify(_ string) {
	v := c.sign(Subject{Kind: Nullify, Epoch: c.cfg.Epoch, View: c.view})
	if v == nil {
		return
	}
	c.broadcast(Message{Vote: v})
	c.resendAt = c.mono + c.resendEvery()
}

// finalize says that we hold the notarization of a view whose block we executed
// and that we never gave the view up. A view that we know to be nullified cannot
// become final, so that vote would only be noise.
func (c *Core) finalize(vs *viewState) {
	cert := vs.cert(Notarize)
	if cert == nil || vs.signed(Finalize) != nil {
		return
	}
	if vs.cert(Nullify) != nil && !c.faulty(fault.NoNullifyFinalizeExclusion) {
		return
	}
	s := cert.Subject
	s.Kind = Finalize
	if v := c.sign(s); v != nil {
		c.broadcast(Message{Vote: v})
	}
}
