package sim

import "cairn/consensus"

// voteCheck: no honest member ever signs two votes that contradict each other,
// crashes or not; a vote leaves only after it is durable; nothing is signed at or
// below the durable floor; a finalize is never durable without its notarization,
// a notarize never without its body.
type voteCheck struct {
	w     *world
	nodes []voteHistory // by node
}

// voteHistory is what one node ever made durable; crashes and pruning leave it.
type voteHistory struct {
	votes map[place]*viewVotes
	certs map[consensus.Subject]bool
}

// place is a view of an epoch.
type place struct {
	epoch uint32
	view  uint64
}

type viewVotes struct {
	notarize, finalize consensus.Subject // Kind 0 = none
	nullify            bool
}

func (c *voteCheck) of(nd *node) *voteHistory {
	for len(c.nodes) <= nd.id {
		c.nodes = append(c.nodes, voteHistory{votes: map[place]*viewVotes{}, certs: map[consensus.Subject]bool{}})
	}
	return &c.nodes[nd.id]
}

func (c *voteCheck) holds(nd *node, cert *consensus.Certificate) { c.of(nd).certs[cert.Subject] = true }

// has says whether this very vote was durable before.
func (x *viewVotes) has(s consensus.Subject) bool {
	switch s.Kind {
	case consensus.Notarize:
		return x.notarize == s
	case consensus.Finalize:
		return x.finalize == s
	}
	return x.nullify
}

func (c *voteCheck) durable(nd *node, v *consensus.Vote) {
	if !nd.honest() {
		return
	}
	if int(v.Signer) != c.w.set(v.Epoch).of(nd.validator) || v.Epoch != nd.disk.durable.floor.epoch {
		c.w.violate("foreign vote", "n%d records %s as its own", nd.id, describeVote(v))
		return
	}
	h := c.of(nd)
	at := place{v.Epoch, v.View}
	x := h.votes[at]
	if x == nil {
		x = &viewVotes{}
		h.votes[at] = x
	}
	if x.has(v.Subject) {
		return
	}
	if floor := nd.disk.durable.floor.view; v.View <= floor {
		c.w.violate("floor", "n%d signs %s with its durable floor at view %d", nd.id, describeVote(v), floor)
	}
	switch v.Kind {
	case consensus.Notarize:
		if x.notarize.Kind != 0 {
			c.conflict(nd, x.notarize, v.Subject)
		}
		if x.nullify {
			c.w.violate("given up", "honest n%d signed %s in a view that it had nullified", nd.id, describeVote(v))
		}
		if nd.disk.durable.body(v.Block) == nil {
			c.w.violate("body", "n%d signs %s before its body is durable", nd.id, describeVote(v))
		}
		x.notarize = v.Subject
	case consensus.Finalize:
		if x.finalize.Kind != 0 {
			c.conflict(nd, x.finalize, v.Subject)
		}
		if x.nullify {
			c.conflict(nd, consensus.Subject{Kind: consensus.Nullify, View: v.View}, v.Subject)
		}
		notarization := v.Subject
		notarization.Kind = consensus.Notarize
		if !h.certs[notarization] {
			c.w.violate("finalize alone", "n%d made %s durable without its notarization", nd.id, describeVote(v))
		}
		x.finalize = v.Subject
	case consensus.Nullify:
		if x.finalize.Kind != 0 {
			c.conflict(nd, x.finalize, v.Subject)
		}
		x.nullify = true
	}
}

func (c *voteCheck) conflict(nd *node, old, now consensus.Subject) {
	c.w.violate("double vote", "honest n%d signed %s and then %s", nd.id, describeSubject(old), describeSubject(now))
}

// sent is told of an honest node's own vote on its way out.
func (c *voteCheck) sent(nd *node, v *consensus.Vote) {
	if x := c.of(nd).votes[place{v.Epoch, v.View}]; x == nil || !x.has(v.Subject) {
		c.w.violate("visible before durable", "n%d sends %s which is not on its disk", nd.id, describeVote(v))
	}
}

// accused: no evidence may name an honest member, and all evidence must be two
// votes that do contradict each other.
func (c *voteCheck) accused(nd *node, e *consensus.Evidence) {
	a, b := e.A, e.B
	contradict := a.Signer == b.Signer && a.View == b.View && a.Epoch == b.Epoch && a.Subject != b.Subject &&
		(a.Kind == b.Kind || a.Kind+b.Kind == consensus.Nullify+consensus.Finalize)
	if !contradict {
		c.w.violate("evidence", "n%d calls %s and %s a contradiction", nd.id, describeVote(&a), describeVote(&b))
		return
	}
	for _, peer := range c.w.nodes {
		if peer.honest() && peer.validator >= 0 && c.w.set(a.Epoch).of(peer.validator) == int(a.Signer) {
			c.w.violate("evidence", "n%d accuses honest member %d of %s and %s", nd.id, a.Signer, describeVote(&a), describeVote(&b))
		}
	}
}
