package sim

import "cairn/consensus"

// maxAhead is how far, in milliseconds, a proposal may lie ahead of the clock of
// who votes for it.
const maxAhead = 500

// clock: an honest member takes no block of another leader from the future.
func (c *checks) clock(nd *node, v *consensus.Vote) {
	b := c.w.blocks[v.Block]
	if v.Kind != consensus.Notarize || b == nil || b.View != v.View || b.Proposer == address(nd.validator) {
		return
	}
	if b.Timestamp > nd.wall()+maxAhead {
		c.w.violate("clock", "n%d signs %s, whose time is %d ms ahead of its clock", nd.id, describeVote(v), b.Timestamp-nd.wall())
	}
}

// interval: a notarized block is later than its parent, by the minimum interval.
func (c *certificateCheck) interval(b, parent *block) {
	if least := parent.Timestamp + max(1, c.w.plan.minInterval); b.Timestamp < least {
		c.w.violate("timestamp", "%s is notarized with time %d ms, its parent's is %d ms", b, b.Timestamp, parent.Timestamp)
	}
}
