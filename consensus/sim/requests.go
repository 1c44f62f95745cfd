package sim

import (
	"cairn/consensus"
	"cairn/crypto"
)

// want is a body that the core asked for and that no peer has given yet.
type want struct {
	hash  crypto.Hash
	tries int
	peer  int     // that was asked last
	asked nodeSet // and all before it
}

// Limits of requests.
const (
	wantLimit     = 64 // bodies asked for at a time
	wantTries     = 3  // peers asked for one of them before the core must ask again
	answerLimit   = 64 // certificates in one answer
	chainLimit    = 256
	requestFactor = 2 // Δ until a request counts as lost
)

func (nd *node) randomPeer() int {
	if len(nd.w.nodes) == 1 {
		return nd.id
	}
	i, set := nd.w.rng.intn(len(nd.w.nodes)-1), nd.w.set(nd.coreEpoch)
	if set.of(nd.w.nodes[i].validator) < 0 && nd.w.rng.chance(800) { // members are asked first
		if i = set.members[nd.w.rng.intn(len(set.members))]; i != nd.id {
			return nd.beside(i, nd.liars)
		}
	}
	if i >= nd.id {
		i = (i + 1) % len(nd.w.nodes)
	}
	return nd.beside(i, nd.liars)
}

// beside is the drawn peer, or the next that is not to be avoided.
func (nd *node) beside(drawn int, avoid nodeSet) int {
	all := len(nd.w.nodes)
	for i := range all {
		if peer := (drawn + i) % all; peer != nd.id && !avoid.has(peer) {
			return peer
		}
	}
	return drawn
}

func (nd *node) ask(peer int, r *request) {
	nd.w.network.send(nd.id, peer, &packet{from: nd.id, request: r})
}

// want looks for a body in the own store, then asks peers, one after another.
func (nd *node) want(h crypto.Hash) {
	if nd.loose[h] != nil {
		return // its write is under way
	}
	if b := nd.disk.view.body(h); b != nil {
		nd.enqueue(input{event: consensus.BlockDurable{Block: b.Block}})
		return
	}
	for _, x := range nd.wanted {
		if x.hash == h {
			return
		}
	}
	if len(nd.wanted) < wantLimit {
		nd.wanted = append(nd.wanted, want{hash: h})
		nd.seek(h)
	}
}

// source is the peer to ask for a body: the drawn one, or the next that was not
// asked for it yet and that answered when it was last asked for anything. Else each
// body of a long walk would wait again for a member that is dead. The last try is
// open to all: who was deaf may be the only one that has the body.
func (nd *node) source(drawn int, x *want) int {
	avoid := x.asked.union(nd.liars)
	if x.tries < wantTries {
		avoid = avoid.union(nd.deaf)
	}
	return nd.beside(drawn, avoid)
}

// timedOut asks the next peer if the one asked in a try has not answered.
func (nd *node) timedOut(h crypto.Hash, try int) {
	for _, x := range nd.wanted {
		if x.hash == h && x.tries == try {
			nd.deaf = nd.deaf.with(x.peer)
			nd.seek(h)
			return
		}
	}
}

// seek asks the next peer for a wanted body; it is called again when that one has
// not got it or does not answer.
func (nd *node) seek(h crypto.Hash) {
	for i := range nd.wanted {
		x := &nd.wanted[i]
		if x.hash != h {
			continue
		}
		if x.tries == wantTries {
			nd.forget(h)
			return
		}
		x.tries++
		x.peer = nd.source(nd.randomPeer(), x)
		x.asked = x.asked.with(x.peer)
		nd.ask(x.peer, &request{block: h})
		nd.w.queue.push(event{
			at: nd.w.now + requestFactor*nd.w.delta(), kind: evSeek, node: int32(nd.id), generation: nd.generation,
			arg: int64(x.tries), packet: &packet{request: &request{block: h}},
		})
		return
	}
}

func (nd *node) forget(h crypto.Hash) {
	for i := range nd.wanted {
		if nd.wanted[i].hash == h {
			nd.wanted = append(nd.wanted[:i], nd.wanted[i+1:]...)
			return
		}
	}
}

// poll asks a random peer for its head, as every node does all the time.
func (nd *node) poll() {
	nd.w.queue.push(event{at: nd.w.now + nd.w.plan.pollEvery, kind: evPoll, node: int32(nd.id), generation: nd.generation})
	nd.ask(nd.randomPeer(), &request{head: true})
	if set := nd.w.set(nd.coreEpoch); nd.marked && len(nd.reported) < set.quorum {
		for _, i := range set.members {
			nd.ask(i, &request{report: true, epoch: nd.coreEpoch})
		}
	}
	nd.run()
}

// answer serves a request from what this node holds.
func (nd *node) answer(to int, r *request) {
	if nd.adversary != nil && !nd.adversary.serves(nd) {
		return
	}
	var out response
	db := &nd.disk.view
	switch {
	case r.views != nil:
		if ending := db.endings[r.epoch]; ending != nil {
			out.certificates = []consensus.Certificate{*ending}
		} else if r.epoch == nd.coreEpoch {
			out.certificates = nd.certificates(r.views.From, r.views.To)
		}
	case r.report:
		// A member that does not remember its votes must not report: its view may
		// be lower than one in which it helped to make a certificate.
		if nd.self < 0 || nd.marked || r.epoch != nd.coreEpoch {
			return
		}
		view := nd.core.Status().View
		out.view, out.epoch = view, nd.coreEpoch
		out.certificates = nd.certificates(view-1, view-1)
	case r.head:
		out.head = true
		if out.finalization = db.proofs[db.last]; out.finalization != nil {
			out.blocks = db.chain[db.last : db.last+1]
		}
	case r.chain:
		top := min(db.last, r.above+chainLimit)
		for top > r.above && db.proofs[top] == nil {
			top--
		}
		if top <= r.above {
			return
		}
		out.chain, out.blocks = true, db.chain[r.above+1:top+1]
		for _, b := range out.blocks {
			out.proofs = append(out.proofs, db.proofs[b.Height])
		}
	default:
		out.asked = r.block
		if b := db.body(r.block); b != nil {
			out.blocks = []*block{b}
		} else {
			out.missing = r.block
		}
	}
	if nd.adversary != nil {
		nd.adversary.answers(nd, r, &out)
	}
	nd.w.network.send(nd.id, to, &packet{from: nd.id, response: &out})
}

// certificates are those held for a range of views: what the core has, and the
// finalization of the floor if it settles views of the range.
func (nd *node) certificates(from, to uint64) []consensus.Certificate {
	var out []consensus.Certificate
	if c := nd.disk.view.floor.finalization; c != nil && c.View >= from {
		out = append(out, *c)
	}
	held := nd.core.Certificates(from, to)
	return append(out, held[:min(len(held), answerLimit)]...)
}

// accept takes the answer of another node. What a server says is believed as far as
// it is proven: see proofs.go. Certificates that were asked for come from nobody:
// the core answers a straggler's certificates with better ones.
func (nd *node) accept(from int, r *response) {
	nd.deaf = nd.deaf.without(setOf(from))
	switch {
	case r.chain:
		nd.enqueue(input{chain: r, from: from})
	case r.head:
		nd.follow(from, r)
	default:
		for i := range r.certificates {
			nd.w.saw(sawFetchCertificates)
			nd.enqueue(input{event: consensus.CertificateReceived{From: -1, Certificate: r.certificates[i]}, from: from})
		}
		if r.missing != (crypto.Hash{}) {
			nd.seek(r.missing)
		}
		for _, b := range r.blocks {
			if b.Hash != r.asked && !nd.w.plants(AnswersUnchecked) {
				nd.refuse(from, "%s for %s", b, short(r.asked))
				nd.seek(r.asked)
				continue
			}
			nd.store(b)
			nd.w.saw(sawFetchBlock)
			nd.enqueue(input{event: consensus.BlockDurable{Block: b.Block}})
		}
		nd.reportFrom(from, r)
	}
}

// reportFrom tells an observer the view of a member, if it proves to be there.
func (nd *node) reportFrom(from int, r *response) {
	if r.view == 0 || r.epoch != nd.coreEpoch || !nd.marked {
		return
	}
	if !nd.admits(r) {
		nd.refuse(from, "view %d of epoch %d without what admits to it", r.view, r.epoch)
		return
	}
	nd.enqueue(input{event: consensus.ViewReported{From: nd.memberOf(nd.w.nodes[from]), View: r.view}, from: from, epoch: r.epoch})
}

// follow compares a peer's head with ours: far behind, blocks are taken by range,
// else the core is given the finalization and asks for what it lacks.
func (nd *node) follow(from int, r *response) {
	if r.finalization == nil || r.finalization.Epoch < nd.coreEpoch {
		return
	}
	if r.finalization.Epoch > nd.coreEpoch { // of a set that is not known yet: its blocks will prove it
		nd.ask(from, &request{chain: true, above: nd.disk.view.head().Height})
		return
	}
	if !nd.provesHead(r) {
		nd.refuse(from, "head by %s", describeCertificate(r.finalization))
		return
	}
	if r.finalization.View <= nd.status.LastFinalizedView && nd.status.LastFinalizedView == nd.status.CommittedView {
		return
	}
	height := nd.disk.view.head().Height
	if top := r.blocks[0].Height; top > height+nd.w.plan.syncGap || nd.status.Behind {
		nd.ask(from, &request{chain: true, above: height})
		return
	}
	nd.enqueue(input{event: consensus.CertificateReceived{From: -1, Certificate: *r.finalization}, from: from})
}

// adopt commits blocks that verified finalizations make final, and tells the core
// where the ledger is now, or starts that of a later epoch.
func (nd *node) adopt(from int, r *response, all *consensus.Effects) {
	blocks, proofs := r.blocks, r.proofs
	for len(blocks) > 0 && nd.disk.view.final(blocks[0]) {
		blocks, proofs = blocks[1:], proofs[1:]
	}
	if len(blocks) == 0 || blocks[0].Height != nd.disk.view.head().Height+1 {
		return
	}
	believed := nd.w.plants(AnswersUnchecked) && proofs[len(proofs)-1] != nil
	if err := nd.provesChain(blocks, proofs); err != "" && !believed {
		nd.refuse(from, "blocks from height %d: %s", blocks[0].Height, err)
		return
	}
	top := len(blocks) - 1
	nd.w.saw(sawSync)
	nd.w.note(nd, "sync from height %d to %d", blocks[0].Height, blocks[top].Height)
	for i, b := range blocks {
		nd.commit(&commit{block: b, floor: proofs[i], closing: proofs[i] != nil && nd.w.closes(b)})
	}
	nd.prune()
	if nd.coreEpoch != nd.disk.view.floor.epoch {
		eff := nd.newCore()
		nd.w.steps++
		join(all, &eff)
		return
	}
	nd.step(consensus.Synced{Block: blocks[top].Block, Finalization: *proofs[top]}, all)
}

// otherEpoch deals with a message of another epoch than the core's: an earlier
// one is answered with the finalization that ended it, a later one makes this
// node ask its sender for the head. Either happens once a Δ for each peer.
func (nd *node) otherEpoch(in input) bool {
	epoch := nd.coreEpoch
	switch e := in.event.(type) {
	case consensus.ProposalReceived:
		epoch = e.Proposal.Vote.Epoch
	case consensus.VoteReceived:
		epoch = e.Vote.Epoch
	case consensus.CertificateReceived:
		epoch = e.Certificate.Epoch
	case consensus.ViewReported:
		if in.epoch == nd.coreEpoch {
			nd.reported[e.From] = true
		}
		return in.epoch != nd.coreEpoch
	}
	if epoch == nd.coreEpoch {
		return false
	}
	if at, ok := nd.toldAt[in.from]; ok && nd.w.now-at < nd.w.delta() {
		return true
	}
	nd.toldAt[in.from] = nd.w.now
	if epoch > nd.coreEpoch {
		nd.ask(in.from, &request{head: true})
	} else if ending := nd.disk.view.endings[epoch]; ending != nil {
		p := &packet{from: nd.id, message: &consensus.Message{Certificate: ending}}
		nd.w.network.send(nd.id, in.from, p)
	}
	return true
}
