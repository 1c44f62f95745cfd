package sim

import (
	"math/bits"

	"cairn/consensus"
)

// quorums by number of members, written down by hand: two quorums of n members
// share more than ⌊(n−1)/3⌋.
var quorums = [...]int{0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9}

// certificateCheck sees every vote that exists, so it knows each certificate that
// anyone could form: at most one notarized block a view, no nullification
// together with a finalization, no finalization without notarization, and every
// notarized block on a certified parent with all views between nullified. The
// chain of final views skips no final view.
type certificateCheck struct {
	w       *world
	root    *block // of the epoch
	ending  *block // the closing block, once it is final
	tallies map[consensus.Subject]nodeSet
	views   map[uint64]*viewFacts
	path    map[uint64]bool // views on the way from the highest final view to the root
	top     uint64          // the highest final view
}

func newCertificateCheck(w *world, root *block) *certificateCheck {
	return &certificateCheck{
		w: w, root: root,
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
	now := old | setOf(int(v.Signer))
	if old == now {
		return
	}
	c.tallies[v.Subject] = now
	q := quorums[c.w.plan.members]
	if bits.OnesCount64(uint64(old)) < q && bits.OnesCount64(uint64(now)) >= q {
		c.certified(v.Subject)
	}
}

// sent checks a certificate that an honest node relies on.
func (c *certificateCheck) sent(nd *node, cert *consensus.Certificate) {
	var who nodeSet
	for i := range c.w.plan.members {
		if cert.Signers.Has(i) {
			who |= setOf(i)
		}
	}
	count := bits.OnesCount64(uint64(who))
	if q := quorums[c.w.plan.members]; count < q || len(cert.Signatures) != count {
		c.w.violate("quorum", "n%d takes %s with %d signers and %d signatures for a quorum of %d members, which is %d",
			nd.id, describeCertificate(cert), count, len(cert.Signatures), c.w.plan.members, q)
	}
	if made := c.tallies[cert.Subject]; who&^made != 0 {
		c.w.violate("forged", "n%d holds %s, but %s never voted so", nd.id, describeCertificate(cert), who&^made)
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
