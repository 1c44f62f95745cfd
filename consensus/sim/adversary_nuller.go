package sim

import "cairn/consensus"

// nuller gives every view up: it nullifies the current views and the ones around
// them at any time, to anyone, and never says that one is notarized or final.
type nuller struct{ obedient }

func (a *nuller) send(nd *node, to int, m *consensus.Message) {
	if m.Vote != nil && m.Vote.Kind != consensus.Nullify || m.Proposal != nil && nd.w.rng.chance(700) {
		return
	}
	nd.transmit(to, m, everyNode)
}

func (a *nuller) disrupt(nd *node) {
	all := len(nd.w.nodes)
	for range 1 + nd.w.rng.intn(3) {
		s := consensus.Subject{Kind: consensus.Nullify, Epoch: nd.coreEpoch, View: nd.status.View + uint64(nd.w.rng.intn(4))}
		if s.View > 1 && nd.w.rng.chance(300) {
			s.View--
		}
		nd.whisper(nd.w.rng.subset(all), &consensus.Message{Vote: nd.cast(s)})
	}
}
