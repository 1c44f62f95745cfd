package consensus

import "cairn/consensus/internal/fault"

// This file is what a core does when it cannot, or must not, trust that its own
// memory of its key's votes is whole.

// onReport takes the current view of another member while we observe. Once a
// quorum of others reported, the highest view among them bounds every vote that
// this key can have cast and forgotten: to vote in a view it must have been
// admitted there by a quorum that had voted in the view before, and one honest
// member of that quorum is among those that reported.
func (c *Core) onReport(from int, view uint64) {
	if !c.observing && !c.forgetful() || from < 0 || from >= c.n || from == c.cfg.Self || c.reported[from] || c.reports >= c.q {
		return
	}
	c.reported[from] = true
	c.reports++
	c.reportView = max(c.reportView, view)
	c.endObservation()
}

// forgetful says whether our key votes although votes of it may be unknown here.
func (c *Core) forgetful() bool { return c.cfg.Forgetful && !c.whole }

// endObservation lets an observer vote again once a view at least two above all
// reported ones is final. From there on the memory of who is forgetful is whole,
// too; where a quorum of others does not exist, all of them must have reported.
func (c *Core) endObservation() {
	enough := c.final.view >= 2 && c.final.view-2 >= c.reportView || c.faulty(fault.ObserverImpatient)
	if c.observing && c.reports >= c.q && enough {
		c.observing = false
	}
	if c.forgetful() && c.reports >= min(c.q, c.n-1) && enough {
		c.whole = true
	}
}

// recognize looks at a vote of our own key that came from outside, alone or in a
// certificate. Above the last finalized view our memory is whole: what is not in
// it was signed by another process. An observer's begins above what the reports
// bound. What others echo of our own votes is always in it, restarts included.
func (c *Core) recognize(v *Vote) {
	if int(v.Signer) != c.cfg.Self || c.twin || c.replaying && !c.forgetful() || v.View <= c.final.view || c.faulty(fault.VotesNotRestored) {
		return
	}
	if c.observing && (c.reports < c.q || v.View-1 <= c.reportView) {
		return
	}
	if vs := c.lookup(v.View); vs != nil {
		if own := vs.signed(v.Kind); own != nil && own.Subject == v.Subject {
			return
		}
	}
	if c.forgetful() && c.recall(v) || c.replaying {
		return
	}
	c.twin = true
	c.eff.Twin = v
}

// recall takes a vote of our own key over that this core does not know, as one
// that was cast and forgotten: from now on it binds like any other. It answers
// false if it contradicts what we know.
func (c *Core) recall(v *Vote) bool {
	vs := c.lookup(v.View)
	if vs == nil {
		if v.View > c.view+futureWindow || v.View+pastWindow < c.view {
			return true // not counted either
		}
		vs = c.viewAt(v.View)
	}
	switch {
	case vs.signed(v.Kind) != nil,
		v.Kind == Nullify && vs.signed(Finalize) != nil,
		v.Kind == Finalize && vs.signed(Nullify) != nil:
		return false
	}
	own := *v
	vs.own[v.Kind.index()] = &own
	c.persist(Record{Vote: &own})
	return true
}
