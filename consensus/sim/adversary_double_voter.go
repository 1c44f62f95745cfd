package sim

import "cairn/consensus"

// doubleVoter votes for every block it hears of, nullifies the same views, and
// finalizes what it nullified, each to different members.
type doubleVoter struct {
	obedient
	seen []consensus.Subject // notarize votes of leaders, newest last
}

func (a *doubleVoter) receive(nd *node, p *packet) bool {
	if m := p.message.Proposal; m != nil {
		s := m.Vote.Subject
		for _, old := range a.seen {
			if old == s {
				return true
			}
		}
		a.seen = append(a.seen, s)
		if len(a.seen) > 8 {
			a.seen = a.seen[1:]
		}
	}
	return true
}

func (a *doubleVoter) send(nd *node, to int, m *consensus.Message) {
	nd.transmit(to, m, everyNode)
	if m.Vote == nil {
		return
	}
	all := len(nd.w.nodes)
	v := m.Vote.Subject
	nd.whisper(nd.w.rng.subset(all), &consensus.Message{Vote: nd.cast(consensus.Subject{Kind: consensus.Nullify, Epoch: v.Epoch, View: v.View})})
	for _, s := range a.seen {
		if s.Epoch != v.Epoch || s.View+1 < v.View {
			continue
		}
		nd.whisper(nd.w.rng.subset(all), &consensus.Message{Vote: nd.cast(s)})
		s.Kind = consensus.Finalize
		nd.whisper(nd.w.rng.subset(all), &consensus.Message{Vote: nd.cast(s)})
	}
}
