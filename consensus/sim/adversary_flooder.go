package sim

import "cairn/consensus"

// flooder sends as much as it can that each member must look at: dozens of
// proposals for each view it leads, votes on hundreds of views ahead and behind,
// whatever certificates it holds, again and again. It sees to it that all that a
// member can make another remember is bounded.
type flooder struct{ obedient }

const (
	floodProposals = 60
	floodVotes     = 40
)

func (a *flooder) send(nd *node, to int, m *consensus.Message) {
	nd.transmit(to, m, everyNode)
	if m.Proposal == nil {
		return
	}
	for range floodProposals {
		nd.transmit(to, &consensus.Message{Proposal: nd.forge(m.Proposal, false)}, everyNode)
	}
}

func (a *flooder) disrupt(nd *node) {
	r, s := nd.w.rng, nd.status
	if r.chance(600) {
		return
	}
	one := setOf(r.intn(len(nd.w.nodes)))
	for i := range floodVotes {
		kind := consensus.Kind(1 + r.intn(3))
		v := consensus.Subject{Kind: kind, Epoch: nd.coreEpoch, View: s.View + uint64(i*8) + uint64(r.intn(8))}
		if kind != consensus.Nullify {
			v.Block, v.ParentView = s.Tip, s.TipView
		}
		if v.View == 0 || kind != consensus.Nullify && v.ParentView >= v.View {
			continue
		}
		nd.whisper(one, &consensus.Message{Vote: nd.cast(v)})
	}
	held := nd.core.Certificates(s.LastFinalizedView, s.View)
	for i := range held[:min(len(held), 16)] {
		nd.whisper(one, &consensus.Message{Certificate: &held[i]})
	}
}
