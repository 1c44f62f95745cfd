package sim

import "cairn/consensus"

// withholder shows what it sends to a few only, does not propose half the time,
// nullifies early, and serves nobody.
type withholder struct{ obedient }

func (a *withholder) send(nd *node, to int, m *consensus.Message) {
	switch {
	case m.Proposal != nil && nd.w.rng.chance(500):
	case nd.w.rng.chance(700):
		nd.transmit(to, m, nd.w.rng.subset(len(nd.w.nodes)))
	case nd.w.rng.chance(500):
		nd.transmit(to, m, everyNode)
	}
}

func (a *withholder) serves(nd *node) bool { return nd.w.rng.chance(200) }

func (a *withholder) disrupt(nd *node) {
	s := consensus.Subject{Kind: consensus.Nullify, Epoch: nd.coreEpoch, View: nd.status.View + uint64(nd.w.rng.intn(3))}
	if s.View > 0 && nd.w.rng.chance(500) {
		nd.whisper(nd.w.rng.subset(len(nd.w.nodes)), &consensus.Message{Vote: nd.cast(s)})
	}
}
