package sim

import "cairn/consensus"

// replayer repeats old messages, its own and others', to anyone at any time, and
// votes on views far ahead.
type replayer struct {
	obedient
	kept []consensus.Message
	next int
}

const replayed = 256

func (a *replayer) keep(m *consensus.Message) {
	if len(a.kept) < replayed {
		a.kept = append(a.kept, *m)
		return
	}
	a.kept[a.next] = *m
	a.next = (a.next + 1) % replayed
}

func (a *replayer) receive(nd *node, p *packet) bool {
	if nd.w.rng.chance(200) {
		a.keep(p.message)
	}
	return true
}

func (a *replayer) send(nd *node, to int, m *consensus.Message) {
	a.keep(m)
	nd.transmit(to, m, everyNode)
}

func (a *replayer) disrupt(nd *node) {
	all := len(nd.w.nodes)
	for range 1 + nd.w.rng.intn(4) {
		if len(a.kept) > 0 {
			nd.whisper(nd.w.rng.subset(all), &a.kept[nd.w.rng.intn(len(a.kept))])
		}
	}
	kind := consensus.Nullify
	ahead := consensus.Subject{Kind: kind, Epoch: nd.coreEpoch, View: nd.status.View + nd.w.rng.next()%1000 + 1}
	nd.whisper(nd.w.rng.subset(all), &consensus.Message{Vote: nd.cast(ahead)})
}
