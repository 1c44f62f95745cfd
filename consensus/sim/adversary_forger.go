package sim

import "cairn/consensus"

// forger leads its views with headers that cannot be so: times before the
// parent's or far ahead of every clock, heights, views, epochs and proposers that
// are not those of the proposal.
type forger struct{ obedient }

func (a *forger) send(nd *node, to int, m *consensus.Message) {
	r := nd.w.rng
	if m.Proposal == nil || r.chance(300) {
		nd.transmit(to, m, everyNode)
		return
	}
	b := *nd.w.blocks[m.Proposal.Block.Hash]
	if b.parent == nil || b.View != m.Proposal.Vote.View {
		nd.transmit(to, m, everyNode)
		return
	}
	switch r.intn(7) {
	case 0:
		b.Timestamp = b.parent.Timestamp - r.between(0, 5000)
	case 1:
		b.Timestamp = b.parent.Timestamp + r.between(0, nd.w.plan.minInterval-1)
	case 2:
		b.Timestamp += r.between(1000, 3_600_000)
	case 3:
		b.Height += uint64(r.between(1, 3))
	case 4:
		b.View += uint64(r.between(1, 9))
	case 5:
		b.Epoch++
	case 6:
		b.Proposer = address((nd.validator + 1) % nd.w.plan.people)
	}
	made := nd.w.register(&b, r.next())
	nd.store(made)
	out := *m.Proposal
	s := out.Vote.Subject
	s.Block = made.Hash
	out.Block, out.Vote = made.Block, *nd.cast(s)
	nd.transmit(to, &consensus.Message{Proposal: &out}, everyNode)
}
