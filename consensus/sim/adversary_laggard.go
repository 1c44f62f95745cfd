package sim

import "cairn/consensus"

// laggard does everything right and late: what it says comes about when the
// others' deadlines do, so that some still take it and some have given the view up.
type laggard struct {
	obedient
	held []heldMessage
}

type heldMessage struct {
	to      int
	message consensus.Message
}

// heldLimit bounds what a laggard keeps back.
const heldLimit = 64

func (a *laggard) send(nd *node, to int, m *consensus.Message) {
	if len(a.held) == heldLimit || m.Certificate != nil && nd.w.rng.chance(500) {
		nd.transmit(to, m, everyNode)
		return
	}
	a.held = append(a.held, heldMessage{to, *m})
}

func (a *laggard) disrupt(nd *node) {
	for i := range a.held {
		nd.transmit(a.held[i].to, &a.held[i].message, everyNode)
	}
	a.held = nil
}
