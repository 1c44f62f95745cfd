package sim

import "cairn/consensus"

// equivocator proposes two blocks, or more, to different members in each view it
// leads, and votes for all of them.
type equivocator struct{ obedient }

func (a *equivocator) send(nd *node, to int, m *consensus.Message) {
	if m.Proposal == nil {
		nd.transmit(to, m, everyNode)
		return
	}
	side := nd.w.rng.subset(len(nd.w.nodes))
	nd.whisper(side, m)
	other := nd.forge(m.Proposal, nd.w.rng.chance(200))
	nd.whisper(everyNode.without(side), &consensus.Message{Proposal: other})
	if nd.w.rng.chance(300) { // some get both, in any order
		nd.whisper(nd.w.rng.subset(len(nd.w.nodes)), &consensus.Message{Proposal: other})
	}
}

// forge makes another proposal for the same view on the same parent.
func (nd *node) forge(p *consensus.Proposal, invalid bool) *consensus.Proposal {
	old := nd.w.blocks[p.Block.Hash]
	fresh := *old
	fresh.invalid = invalid
	fresh.transactions = nil
	b := nd.w.register(&fresh, nd.w.rng.next())
	nd.store(b)
	out := *p
	out.Block = b.Block
	s := p.Vote.Subject
	s.Block = b.Hash
	out.Vote = *nd.cast(s)
	return &out
}
