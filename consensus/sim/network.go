package sim

import (
	"cairn/consensus"
	"cairn/crypto"
)

// packet is what one node sends another: a consensus message, transactions, or a
// request or its answer. Packets are shared by their recipients and never changed.
type packet struct {
	from     int // node
	message  *consensus.Message
	body     *block // of message.Proposal
	pending  []uint32
	request  *request
	response *response
}

// request asks for one thing: certificates of a range, a block, the head, or the
// final blocks above a height.
type request struct {
	views  *consensus.ViewRange
	epoch  uint32 // of views or report
	block  crypto.Hash
	head   bool
	report bool // the current view, for an observer
	above  uint64
	chain  bool
}

type response struct {
	certificates []consensus.Certificate
	blocks       []*block
	finalization *consensus.Certificate   // of the head
	proofs       []*consensus.Certificate // of a chain's blocks, nil where they have none of their own
	chain        bool
	head         bool
	view         uint64 // a report
	epoch        uint32
	asked        crypto.Hash // the block that was asked for: an answer knows its question
	missing      crypto.Hash // a block that the peer has not got
}

// network decides what becomes of a packet.
type network struct {
	w      *world
	active []incident // cuts and withholdings
}

// send schedules the deliveries of a packet: none, one or several.
func (n *network) send(from, to int, p *packet) {
	w := n.w
	if from == to || n.blocked(from, to, p) {
		return
	}
	pr := w.profile()
	if w.rng.chance(pr.loss) {
		return
	}
	slow := n.slowed(from, to)
	copies := 1
	if w.rng.chance(pr.duplicate) {
		copies++
	}
	for range copies {
		delay := w.rng.between(pr.latencyLow, pr.latencyHigh) + slow
		if w.rng.chance(pr.spike) {
			delay += w.rng.between(0, pr.spikeHigh)
		}
		w.queue.push(event{at: w.now + delay, kind: evDeliver, node: int32(to), packet: p})
		if p.message != nil {
			w.flying++
		}
	}
}

// blocked says whether an active fault stops p on its way. Faults that have ended
// are dropped here.
func (n *network) blocked(from, to int, p *packet) bool {
	for i := 0; i < len(n.active); i++ {
		f := &n.active[i]
		if f.until <= n.w.now {
			n.active = append(n.active[:i], n.active[i+1:]...)
			i--
			continue
		}
		switch f.kind {
		case faultCut:
			if f.src.has(from) && f.dst.has(to) {
				return true
			}
		case faultWithhold:
			if !f.dst.has(to) && p.carries(f.kinds) {
				n.w.saw(sawWithheld)
				return true
			}
		}
	}
	return false
}

// slowed is by how much active faults delay what passes from one node to another.
func (n *network) slowed(from, to int) (delay int64) {
	for i := range n.active {
		if f := &n.active[i]; f.kind == faultSlow && f.src.has(from) && f.dst.has(to) {
			delay += f.amount
		}
	}
	return delay
}

// carries says whether p tells of a vote of one of kinds, on its own or in a
// certificate. The vote that signs a proposal does not count: the proposal passes.
func (p *packet) carries(kinds kindSet) bool {
	if m := p.message; m != nil {
		switch {
		case m.Vote != nil:
			return kinds.has(m.Vote.Kind)
		case m.Certificate != nil:
			return kinds.has(m.Certificate.Kind)
		}
	}
	if r := p.response; r != nil {
		if (r.finalization != nil || r.chain) && kinds.has(consensus.Finalize) {
			return true
		}
		for i := range r.certificates {
			if kinds.has(r.certificates[i].Kind) {
				return true
			}
		}
	}
	return false
}
