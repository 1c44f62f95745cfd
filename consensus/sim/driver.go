package sim

import (
	"cairn/consensus"
	"cairn/crypto"
)

// carryOut does what Effects asks, in the order of its contract: persist and
// sync, send, and then the rest. It returns when done or when it has to wait.
//
// Two kinds of driver keep that contract, and the plan draws which one runs. An
// eager one says Persisted as soon as the messages are out, and does the work of
// both effects after that. The other finishes an Effects first, steps the core
// with every answer at once, and then carries out what that asks, in order.
func (nd *node) carryOut(eff consensus.Effects) {
	nd.effects, nd.work = eff, work{}
	nd.busy = true
	nd.persist()
}

// persist appends the records and starts the fsync.
func (nd *node) persist() {
	w := nd.w
	if len(nd.effects.Persist) == 0 {
		nd.synced()
		return
	}
	if nd.w.plants(SendBeforeSync) && nd.honest() {
		for i := range nd.effects.Broadcast {
			nd.emit(-1, &nd.effects.Broadcast[i], everyNode)
		}
		nd.effects.Broadcast = nil
	}
	nd.strike()
	if nd.dies(crashBeforePersist, 0) {
		return
	}
	nd.disk.append(write{records: nd.effects.Persist})
	if nd.dies(crashTornPersist, -1) {
		return
	}
	w.queue.push(event{at: w.now + w.syncTime(), kind: evPersisted, node: int32(nd.id), generation: nd.generation})
}

// synced sends what the records made safe to send, and tells the core.
func (nd *node) synced() {
	persisted := len(nd.effects.Persist) > 0
	if persisted {
		nd.w.checks.durable(nd, nd.disk.sync())
		if nd.dies(crashAfterPersist, -1) {
			return
		}
	}
	if !nd.sendAll() || nd.w.failed() {
		return
	}
	nd.handOverEarly()
	nd.work.join(&nd.effects)
	nd.persisted = persisted
	if persisted && nd.w.plan.eager {
		nd.effects = consensus.Effects{}
		nd.step(consensus.Persisted{}, &nd.effects)
		nd.persist()
		return
	}
	nd.begin()
}

// handOverEarly is a planted mistake: see EarlyHandover.
func (nd *node) handOverEarly() {
	if !nd.w.plants(EarlyHandover) || !nd.honest() {
		return
	}
	for i := range nd.effects.Persist {
		c := nd.effects.Persist[i].Certificate
		if c == nil || c.Kind != consensus.Notarize {
			continue
		}
		if b := nd.w.blocks[c.Block]; nd.w.closes(b) && nd.executed[b.Hash] {
			nd.effects.Commit = append(nd.effects.Commit, *c)
		}
	}
}

func (k *work) join(eff *consensus.Effects) {
	if eff.Build != nil {
		k.build = eff.Build
	}
	k.execute = append(k.execute, eff.Execute...)
	k.commit = append(k.commit, eff.Commit...)
}

// sendAll hands the messages to the network. It is false if the node died of it.
func (nd *node) sendAll() bool {
	eff := &nd.effects
	dying := nd.crashArmed && nd.armed == crashMidSend && len(eff.Broadcast)+len(eff.SendTo) > 0
	var reached nodeSet
	if dying {
		reached = nd.w.rng.subset(len(nd.w.nodes))
	} else {
		reached = everyNode
	}
	for i := range eff.Broadcast {
		nd.emit(-1, &eff.Broadcast[i], reached)
	}
	for _, d := range eff.SendTo {
		for i := range d.Messages {
			nd.emit(d.To, &d.Messages[i], reached)
		}
	}
	if dying {
		nd.crash(-1)
		return false
	}
	for _, h := range eff.FetchBlocks {
		nd.want(h)
	}
	for _, r := range eff.FetchCertificates {
		nd.ask(nd.randomPeer(), &request{views: &r, epoch: nd.coreEpoch})
	}
	nd.announce(eff.Announce)
	nd.w.checks.told(nd, eff)
	nd.wake(eff.WakeAt)
	return true
}

// emit sends one message to a member or, with −1, to all, as far as reached goes.
func (nd *node) emit(to int, m *consensus.Message, reached nodeSet) {
	if nd.adversary != nil && nd.self >= 0 {
		nd.adversary.send(nd, to, m)
		return
	}
	nd.transmit(to, m, reached)
}

// transmit puts one message on the network. Finalizations for all also reach full
// nodes; twins share a member index.
func (nd *node) transmit(to int, m *consensus.Message, reached nodeSet) {
	p := &packet{from: nd.id, message: m}
	if m.Proposal != nil {
		p.body = nd.w.blocks[m.Proposal.Block.Hash]
	}
	nd.w.checks.sent(nd, m)
	nd.w.sent++
	set := nd.w.set(nd.coreEpoch)
	for i, peer := range nd.w.nodes {
		member := set.of(peer.validator)
		switch {
		case i == nd.id || !reached.has(i) || to >= 0 && member != to:
		case member < 0 && (m.Certificate == nil || m.Certificate.Kind != consensus.Finalize):
		default:
			nd.w.network.send(nd.id, i, p)
		}
	}
}

// begin starts the work that follows sending and takes its time.
func (nd *node) begin() {
	if nd.work.empty() {
		nd.finish(nil)
		return
	}
	w := nd.w
	nd.atWork = true
	var wait int64
	for range len(nd.work.execute) {
		wait += w.executeTime()
	}
	if nd.work.build != nil {
		wait += w.executeTime()
	}
	for range len(nd.work.commit) {
		wait += w.syncTime()
	}
	w.queue.push(event{at: w.now + wait, kind: evWorked, node: int32(nd.id), generation: nd.generation})
}

// worked is the end of that work: its results go to the core.
func (nd *node) worked() {
	if len(nd.work.commit) > 1 && nd.dies(crashMidWork, -1) {
		return
	}
	var results []input
	if r := nd.work.build; r != nil {
		results = append(results, nd.build(r))
	}
	for _, h := range nd.work.execute {
		results = append(results, input{event: nd.execute(h)})
	}
	nd.commitSome(len(nd.work.commit))
	nd.atWork = false
	if nd.w.failed() || nd.dies(crashMidWork, -1) {
		return
	}
	if nd.coreEpoch != nd.disk.view.floor.epoch {
		nd.later = nil
		nd.carryOut(nd.newCore())
		nd.run()
		return
	}
	nd.finish(results)
	nd.run()
}

// finish gives the answers of one Effects to the core.
func (nd *node) finish(results []input) {
	if nd.w.plan.eager {
		nd.busy = false
		nd.first(results...)
		return
	}
	if nd.persisted {
		nd.answered(input{event: consensus.Persisted{}})
	}
	for _, in := range results {
		nd.answered(in)
	}
	if len(results) > 0 {
		var eff consensus.Effects
		if nd.submitWork(&eff) {
			nd.later = append(nd.later, eff)
		}
	}
	if len(nd.later) == 0 {
		nd.busy = false
		return
	}
	next := nd.later[0]
	nd.later = nd.later[1:]
	nd.carryOut(next)
}

func (nd *node) answered(in input) {
	var eff consensus.Effects
	nd.feed(in, &eff)
	nd.later = append(nd.later, eff)
}

// execute runs a block on its parent's state.
func (nd *node) execute(h crypto.Hash) consensus.Executed {
	b := nd.body(h)
	switch {
	case b == nil:
		return consensus.Executed{Block: h, Status: consensus.ExecutionNoBody}
	case b.parent == nil || !nd.disk.view.final(b) && !nd.hasState(b.parent):
		return consensus.Executed{Block: h, Status: consensus.ExecutionMissing}
	case b.invalid:
		nd.w.saw(sawInvalid)
		return consensus.Executed{Block: h, Status: consensus.ExecutionInvalid, Reason: "made invalid by its leader"}
	}
	nd.hold(b)
	return consensus.Executed{Block: h, Status: consensus.ExecutionOK, Closing: nd.w.closes(b)}
}

// hasState says whether b is the final head or an unfinalized layer.
func (nd *node) hasState(b *block) bool { return nd.executed[b.Hash] || nd.disk.view.head() == b }

// hold keeps b as an unfinalized layer.
func (nd *node) hold(b *block) {
	if nd.disk.view.final(b) {
		return
	}
	nd.executed[b.Hash] = true
	nd.newest, nd.newestAt = b, nd.w.now
}

// blockLimit is the number of transactions in a block.
const blockLimit = 64

// build makes, executes and stores a block.
func (nd *node) build(r *consensus.BuildRequest) input {
	parent := nd.w.blocks[r.Parent]
	if parent == nil || !nd.hasState(parent) {
		return input{event: consensus.Built{View: r.View, Failed: true}}
	}
	b := nd.w.newBlock(nd.validator, r, parent, nd.candidates(parent), 0)
	nd.hold(b)
	nd.store(b)
	return input{event: consensus.Built{View: r.View, Block: b.Block, Closing: nd.w.closes(b)}}
}

// commitSome commits the first n finalizations that the core handed out, each
// with its ancestors, oldest first; every block is one synced batch.
func (nd *node) commitSome(n int) {
	for i := range nd.work.commit[:n] {
		c := &nd.work.commit[i]
		b := nd.w.blocks[c.Block]
		if b == nil {
			nd.w.violate("commit", "n%d commits %s that nobody made", nd.id, short(c.Block))
			return
		}
		if nd.disk.view.final(b) {
			continue
		}
		nd.finalize(b, c)
	}
	nd.work.commit = nil
}

// finalize writes the batches of b and its unfinalized ancestors.
func (nd *node) finalize(b *block, c *consensus.Certificate) {
	var path []*block
	for at := b; at != nd.disk.view.head(); at = at.parent {
		if at == nil || at.Height <= nd.disk.view.head().Height {
			nd.w.violate("agreement", "n%d commits %s (view %d) which does not descend from its head %s",
				nd.id, b, c.View, nd.disk.view.head())
			return
		}
		if !nd.executed[at.Hash] {
			nd.w.violate("commit", "n%d is told to commit %s before it executed %s", nd.id, b, at)
			return
		}
		path = append(path, at)
	}
	for i := len(path) - 1; i >= 0; i-- {
		batch := &commit{block: path[i]}
		if i == 0 {
			batch.floor, batch.closing = c, nd.w.closes(b)
		} else {
			nd.w.saw(sawIndirect)
		}
		nd.commit(batch)
	}
	nd.prune()
}

// commit writes one batch and tells the checkers and the pool.
func (nd *node) commit(batch *commit) {
	nd.disk.append(write{commit: batch})
	nd.w.checks.durable(nd, nd.disk.sync())
	nd.w.checks.committed(nd, batch)
	delete(nd.executed, batch.block.Hash)
	for _, t := range batch.block.transactions {
		nd.known[t] = true
		nd.drop(t)
	}
}

// prune drops layers that do not descend from the final head.
func (nd *node) prune() {
	head := nd.disk.view.head()
	for h := range nd.executed {
		at := nd.w.blocks[h]
		for at != nil && at.Height > head.Height {
			at = at.parent
		}
		if at != head {
			delete(nd.executed, h)
		}
	}
}
