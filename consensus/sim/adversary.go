package sim

import "cairn/consensus"

// adversary is a Byzantine member. It sits between a core, which it lets run as
// an honest one would, and the network, and may sign whatever it likes, but only
// as itself.
type adversary interface {
	// send gets each message that the core would send: to a member, or to all
	// with −1.
	send(nd *node, to int, m *consensus.Message)
	// receive sees each packet with a message; false hides it from the core.
	receive(nd *node, p *packet) bool
	// serves says whether a request is answered at all.
	serves(nd *node) bool
	// answers may change the answer to a request.
	answers(nd *node, r *request, out *response)
	// disrupt is called each few Δ.
	disrupt(nd *node)
}

// adversaryNames are drawn from; a liar needs the right moment and comes more often.
var adversaryNames = []string{
	"liar", "liar", "liar", "equivocator", "equivocator", "double voter", "double voter", "withholder", "withholder",
	"replayer", "laggard", "twins", "nuller", "garbage signer", "flooder", "forger", "forger",
}

func newAdversary(name string) adversary {
	switch name {
	case "equivocator":
		return &equivocator{}
	case "double voter":
		return &doubleVoter{}
	case "withholder":
		return &withholder{}
	case "replayer":
		return &replayer{}
	case "liar":
		return &liar{}
	case "laggard":
		return &laggard{}
	case "twins":
		return twins{}
	case "nuller":
		return &nuller{}
	case "garbage signer":
		return &garbageSigner{}
	case "flooder":
		return &flooder{}
	case "forger":
		return &forger{}
	}
	panic("sim: no adversary is called " + name)
}

// obedient is an adversary that does nothing wrong: the base of the others.
type obedient struct{}

func (obedient) send(nd *node, to int, m *consensus.Message) { nd.transmit(to, m, everyNode) }
func (obedient) receive(*node, *packet) bool                 { return true }
func (obedient) serves(*node) bool                           { return true }
func (obedient) answers(*node, *request, *response)          {}
func (obedient) disrupt(*node)                               {}

// disrupt lets an adversary act by itself, again and again.
func (nd *node) disrupt() {
	if !nd.up || nd.adversary == nil {
		return
	}
	w := nd.w
	w.queue.push(event{at: w.now + w.rng.between(w.delta()/2, 4*w.delta()), kind: evDisrupt, node: int32(nd.id), generation: nd.generation})
	if nd.self >= 0 {
		nd.adversary.disrupt(nd)
	}
}

// cast signs a subject as this node's member.
func (nd *node) cast(s consensus.Subject) *consensus.Vote {
	return &consensus.Vote{Subject: s, Signer: uint16(nd.self), Signature: sign(nd.validator, nd.w.digest(s))}
}

// whisper sends a message to the nodes of a set.
func (nd *node) whisper(to nodeSet, m *consensus.Message) { nd.transmit(-1, m, to) }
