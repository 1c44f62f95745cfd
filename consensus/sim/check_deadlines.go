package sim

import (
	"cairn/consensus"
	"cairn/crypto"
)

// deadlineCheck: nobody gives a view up early without a reason that the rules
// know, and after healing nobody waits longer than the rules say.
type deadlineCheck struct {
	w     *world
	nodes []viewOf
}

// viewOf is how long a node is in its view.
type viewOf struct {
	generation uint32
	epoch      uint32
	view       uint64
	entered    int64                 // µs
	armed      int64                 // µs since when the view is seen armed, −1 = not
	final      uint64                // last finalized view
	finalSince int64                 // µs; Δ' was another before
	came       map[crypto.Hash]int64 // µs, since when a block is here: deadlines run from when one can be built on
	proposed   uint64                // highest view for which a proposal of an honest leader came
}

func (c *deadlineCheck) of(nd *node) *viewOf {
	for len(c.nodes) <= nd.id {
		c.nodes = append(c.nodes, viewOf{armed: -1})
	}
	return &c.nodes[nd.id]
}

// started notes a new core: it counts its deadlines from there.
func (c *deadlineCheck) started(nd *node) {
	*c.of(nd) = viewOf{
		generation: nd.generation, epoch: nd.coreEpoch, view: nd.status.View, entered: c.w.now, armed: -1,
		came: map[crypto.Hash]int64{},
	}
}

// stepped notes entries, and looks at nullify votes just signed. A view may be
// given up before 2Δ only if its leader or n−q+1 others gave it up, if the leader
// is Byzantine or ourselves, or if the leader was silent for a rotation; but
// nobody is silent whose proposal is here, or while finality lags by more than one.
func (c *deadlineCheck) stepped(nd *node, ev consensus.Event, eff *consensus.Effects) {
	x, s := c.of(nd), &nd.status
	if x.view != s.View {
		x.view, x.entered, x.armed = s.View, c.w.now, -1
	}
	if x.final != s.LastFinalizedView {
		x.final, x.finalSince = s.LastFinalizedView, c.w.now
	}
	switch e := ev.(type) {
	case consensus.ProposalReceived:
		if c.w.nodes[c.w.set(nd.coreEpoch).members[e.Proposal.Vote.Signer]].honest() {
			x.proposed = max(x.proposed, e.Proposal.Vote.View)
		}
		x.comes(e.Proposal.Block.Hash, c.w.now)
	case consensus.BlockDurable:
		x.comes(e.Block.Hash, c.w.now)
	}
	for _, h := range eff.FetchBlocks {
		delete(x.came, h) // the core let it go
	}
	if s.Armed && x.armed < 0 {
		x.armed = c.w.now
	}
	for i := range eff.Persist {
		if v := eff.Persist[i].Vote; v != nil && v.Kind == consensus.Nullify && nd.honest() {
			c.early(nd, x, v)
		}
	}
}

// comes notes the first time that the body of a block comes.
func (x *viewOf) comes(h crypto.Hash, now int64) {
	if _, ok := x.came[h]; !ok && x.came != nil {
		x.came[h] = now
	}
}

func (c *deadlineCheck) early(nd *node, x *viewOf, v *consensus.Vote) {
	w, set := c.w, c.w.set(v.Epoch)
	n := uint64(len(set.members))
	waited := w.now - x.entered
	if v.View != x.view {
		waited = 0
	}
	if waited >= w.delta()*19/10 { // the drift of a clock is small
		return
	}
	if x.proposed < v.View && v.View-nd.status.LastFinalizedView <= n {
		return // its leader may have been silent
	}
	leader := int((v.View + uint64(v.Epoch)) % n)
	if leader == nd.self || !w.nodes[set.members[leader]].honest() {
		return
	}
	gaveUp := nodeSet{}
	if e := w.checks.certificates[v.Epoch]; e != nil {
		gaveUp = e.tallies[consensus.Subject{Kind: consensus.Nullify, Epoch: v.Epoch, View: v.View}].without(setOf(nd.self))
	}
	if gaveUp.has(leader) || gaveUp.count() > len(set.members)-set.quorum {
		return
	}
	w.violate("early", "n%d gives view %d (final %d) up after %.1f ms although its leader %d is honest and has not",
		nd.id, v.View, nd.status.LastFinalizedView, float64(waited)/1000, leader)
}

// late is called again and again after healing: 3Δ' after a view was armed and a
// proposal possible and allowed, its end has come; or at once, if a finalization
// made Δ' shorter since.
func (c *deadlineCheck) late(nd *node, healed int64) {
	x, s, p := c.of(nd), &nd.status, c.w.plan
	if !s.Voting || x.armed < 0 || x.view != s.View || x.epoch != nd.coreEpoch || x.generation != nd.generation || nd.self < 0 {
		return
	}
	n := uint64(len(c.w.set(nd.coreEpoch).members))
	delta := p.delta
	for range (s.View - s.LastFinalizedView - 1) / n {
		if delta = min(2*delta, p.deltaMax); delta == p.deltaMax {
			break
		}
	}
	slack := 3 * c.w.delta() // with 3Δ' before it, what an fsync that stalls since before healing takes
	since := max(x.armed, x.came[s.Tip]+p.minInterval*millisecond, healed)
	if c.w.now-since <= (3*delta*millisecond+slack)*101/100 || c.w.now-x.finalSince <= slack {
		return
	}
	if v := c.w.checks.votes.of(nd).votes[place{x.epoch, x.view}]; v != nil && (v.nullify || v.finalize.Kind != 0) {
		return
	}
	c.w.violate("late", "n%d waits in view %d (final %d) for %.1f ms, Δ' is %d ms", nd.id, s.View, s.LastFinalizedView,
		float64(c.w.now-since)/1000, delta)
}
