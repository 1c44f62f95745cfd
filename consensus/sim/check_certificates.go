package sim

import "cairn/consensus"

// certificateCheck sees every vote that exists, so it knows each certificate that
// anyone could form: at most one notarized block a view, no nullification
// together with a finalization, no finalization without notarization, and every
// notarized block on a certified parent with all views between nullified. The
// chain of final views skips no final view.
type certificateCheck struct {
	w       *world
	set     *memberSet
	root    *block // of the epoch
	ending  *block // the closing block, once it is final
	tallies map[consensus.Subject]nodeSet
	views   map[uint64]*viewFacts
	path    map[uint64]bool // views on the way from the highest final view to the root
	top     uint64          // the highest final view
}

func newCertificateCheck(w *world, epoch uint32, root *block) *certificateCheck {
	return &certificateCheck{
		w: w, set: w.set(epoch), root: root,
		tallies: map[consensus.Subject]nodeSet{}, views: map[uint64]*viewFacts{}, path: map[uint64]bool{},
	}
}

// viewFacts are the certificates of one view that exist somewhere.
type viewFacts struct {
	notarized, finalized consensus.Subject // Kind 0 = none
	nullified            bool
}

func (c *certificateCheck) facts(view uint64) *viewFacts {
	f := c.views[view]
	if f == nil {
		f = &viewFacts{}
		c.views[view] = f
	}
	return f
}

// vote is told of a vote that left its node or is durable there.
func (c *certificateCheck) vote(v *consensus.Vote) {
	old := c.tallies[v.Subject]
	now := old.with(int(v.Signer))
	if old == now {
		return
	}
	c.tallies[v.Subject] = now
	if q := c.set.quorum; old.count() < q && now.count() >= q {
		c.certified(v.Subject)
	}
}

// sent checks a certificate that an honest node relies on.
func (c *certificateCheck) sent(nd *node, cert *consensus.Certificate) {
	var who nodeSet
	n := len(c.set.members)
	for i := range n {
		if cert.Signers.Has(i) {
			who = who.with(i)
		}
	}
	count := who.count()
	if q := c.set.quorum; count < q || len(cert.Signatures) != count {
		c.w.violate("quorum", "n%d takes %s with %d signers and %d signatures for a quorum of %d members, which is %d",
			nd.id, describeCertificate(cert), count, len(cert.Signatures), n, q)
	}
	if forged := who.without(c.tallies[cert.Subject]); forged != (nodeSet{}) {
		c.w.violate("forged", "n%d holds %s, but %s never voted so", nd.id, describeCertificate(cert), forged)
	}
}

// certified: a quorum of votes for s exists.
func (c *certificateCheck) certified(s consensus.Subject) {
	w, f := c.w, c.facts(s.View)
	switch s.Kind {
	case consensus.Notarize:
		if f.notarized.Kind != 0 {
			w.violate("two notarizations", "%s and %s", describeSubject(f.notarized), describeSubject(s))
		}
		f.notarized = s
		c.countBoth(f)
		c.checkParent(s)
	case consensus.Nullify:
		if f.finalized.Kind != 0 {
			w.violate("nullified and final", "view %d, %s", s.View, describeSubject(f.finalized))
		}
		f.nullified = true
		w.saw(sawNullification)
		c.countBoth(f)
	case consensus.Finalize:
		if f.finalized.Kind != 0 {
			w.violate("agreement", "%s and %s", describeSubject(f.finalized), describeSubject(s))
		}
		if f.nullified {
			w.violate("nullified and final", "view %d, %s", s.View, describeSubject(s))
		}
		if f.notarized.Block != s.Block || f.notarized.ParentView != s.ParentView {
			w.violate("final without notarization", "%s", describeSubject(s))
		}
		f.finalized = s
		if b := w.blocks[s.Block]; b != nil && w.closes(b) {
			c.ending = b
		}
		if !w.failed() {
			c.checkFinal(s)
		}
	}
}

func (c *certificateCheck) countBoth(f *viewFacts) {
	if f.nullified && f.notarized.Kind != 0 {
		c.w.saw(sawBoth)
	}
}

// checkParent: the parent of a notarized block is certified, is the block of the
// view that the vote names, and all views between are nullified.
func (c *certificateCheck) checkParent(s consensus.Subject) {
	b := c.w.blocks[s.Block]
	if b == nil {
		c.w.violate("unknown block", "%s is of a block that nobody made", describeSubject(s))
		return
	}
	if b.invalid {
		c.w.violate("invalid block", "%s is of a block that breaks the rules of execution", describeSubject(s))
	}
	parent := c.root
	if s.ParentView > 0 {
		f := c.facts(s.ParentView)
		if f.notarized.Kind == 0 {
			c.w.violate("ancestry", "%s, but view %d has no notarized block", describeSubject(s), s.ParentView)
			return
		}
		parent = c.w.blocks[f.notarized.Block]
	}
	if parent != c.root && c.w.closes(parent) {
		if b != parent {
			c.w.violate("closing", "%s is a child of closing block %s in its own epoch", describeSubject(s), parent)
		}
	} else if b.Epoch != s.Epoch || b.parent != parent || b.Parent != parent.Hash || b.Height != parent.Height+1 || b.View != s.View {
		c.w.violate("ancestry", "%s is of block %s, not a child of %s", describeSubject(s), b, parent)
	} else {
		c.interval(b, parent)
	}
	for v := s.ParentView + 1; v < s.View; v++ {
		if !c.facts(v).nullified {
			c.w.violate("ancestry", "%s skips view %d, which is not nullified", describeSubject(s), v)
			return
		}
	}
}

// checkFinal walks from a final view down and joins it to the final chain.
func (c *certificateCheck) checkFinal(s consensus.Subject) {
	if s.View < c.top {
		if !c.path[s.View] {
			c.w.violate("ancestry", "%s is final, but the chain of final view %d does not pass it", describeSubject(s), c.top)
		}
		return
	}
	at := s
	for at.View > c.top {
		c.path[at.View] = true
		if at.ParentView < c.top {
			c.w.violate("ancestry", "%s is final, but its ancestors go from view %d to %d past final view %d",
				describeSubject(s), at.View, at.ParentView, c.top)
			return
		}
		if at.ParentView == c.top {
			break
		}
		at = c.facts(at.ParentView).notarized
		if at.Kind == 0 {
			return // checkParent has spoken
		}
	}
	c.top = s.View
}
