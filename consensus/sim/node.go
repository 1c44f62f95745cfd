package sim

import (
	"fmt"

	"cairn/consensus"
	"cairn/crypto"
)

// node is one process and its machine: what the driver of a real node does with
// a core, over a simulated disk, clock and network.
type node struct {
	w         *world
	id        int
	validator int       // its number, −1 for a full node
	self      int       // member index in the core's epoch, −1 for no member
	adversary adversary // nil for an honest node

	// What survives a crash.
	disk     *disk
	backup   *tables  // a copy of the disk
	marked   bool     // the disk is such a copy: an observer
	markedAt uint32   // the epoch of the copy
	own      []uint32 // transactions submitted here: a pool keeps its own
	wallSkew int64    // ms
	drift    int64    // ppm

	// The process.
	up         bool
	generation uint32 // lives so far, and deaths
	booted     int64  // µs of virtual time
	monoBase   int64  // ms: a monotonic clock starts anywhere
	paused     bool
	armed      crashPoint // of an armed crash
	crashArmed bool
	downFor    int64 // µs, −1 = for good

	// The driver.
	core      *consensus.Core
	coreEpoch uint32
	status    consensus.Status
	inbox     []input
	busy      bool
	effects   consensus.Effects   // being carried out: persist and send
	work      work                // what comes after sending
	later     []consensus.Effects // of answers, still to be carried out
	persisted bool                // effects had records: Persisted is owed
	atWork    bool                // building, executing and committing
	wakeAt    int64               // ms of this node's monotonic clock, 0 = none
	ticking   bool                // a Tick is in the inbox
	executed  map[crypto.Hash]bool
	newest    *block // executed last
	newestAt  int64
	pool      []uint32
	known     map[uint32]bool // in the pool or final
	working   bool            // last WorkPending
	wanted    []want
	deaf      nodeSet                // peers that have not answered since a question for a body timed out
	loose     map[crypto.Hash]*block // bodies on their way to the disk
	reported  map[int]bool           // members that told an observer their view
	liars     nodeSet                // peers whose answer was a lie
	toldAt    map[int]int64          // by peer: when it was last answered across epochs
}

// input is one thing for the core; body comes with a proposal or a fetched block.
type input struct {
	event consensus.Event
	body  *block
	chain *response
	from  int    // node that sent event, for messages
	epoch uint32 // of a report
}

// work is the part of Effects that follows sending.
type work struct {
	build   *consensus.BuildRequest
	execute []crypto.Hash
	commit  []consensus.Certificate
}

func (k work) empty() bool { return k.build == nil && len(k.execute) == 0 && len(k.commit) == 0 }

func (nd *node) honest() bool { return nd.adversary == nil }

func (nd *node) mono() int64 {
	elapsed := nd.w.now - nd.booted
	return nd.monoBase + (elapsed+elapsed*nd.drift/1_000_000)/millisecond
}

func (nd *node) wall() int64 { return nd.w.now/millisecond + nd.wallSkew + wallEpoch }

// wallEpoch is the wall clock in milliseconds when virtual time starts.
const wallEpoch = 1_700_000_000_000

// start boots the process from what its disk holds.
func (nd *node) start() {
	w := nd.w
	nd.up, nd.booted = true, w.now
	nd.generation++
	nd.reported = map[int]bool{}
	nd.monoBase = w.rng.between(1, 1000)
	nd.busy, nd.paused, nd.atWork, nd.ticking, nd.working, nd.crashArmed = false, false, false, false, false, false
	nd.inbox, nd.wanted, nd.deaf, nd.liars, nd.wakeAt, nd.newest, nd.later = nd.inbox[:0], nil, nodeSet{}, nodeSet{}, 0, nil, nil
	nd.executed, nd.toldAt = map[crypto.Hash]bool{}, map[int]int64{}
	nd.known, nd.pool = map[uint32]bool{}, nil
	nd.loose = map[crypto.Hash]*block{}
	db := &nd.disk.view
	for _, b := range db.chain {
		for _, t := range b.transactions {
			nd.known[t] = true
		}
	}
	w.note(nd, "start at height %d, floor %d, %d records", db.head().Height, db.floor.view, len(db.records))
	for i := range db.records {
		if db.records[i].Vote != nil {
			w.saw(sawRestartWithVotes)
			break
		}
	}
	effects := nd.newCore()
	if w.failed() {
		return
	}
	for _, t := range nd.own {
		nd.learn(t)
	}
	nd.carryOut(effects)
	w.queue.push(event{at: w.now + w.rng.between(0, w.plan.pollEvery), kind: evPoll, node: int32(nd.id), generation: nd.generation})
	if nd.adversary != nil {
		w.queue.push(event{at: w.now + w.delta(), kind: evDisrupt, node: int32(nd.id), generation: nd.generation})
	}
}

// newCore makes the core of the disk's epoch. Its root is the newest block with a
// finalization of its own: after a crash between two batches of one commit the
// ledger is ahead of it.
func (nd *node) newCore() consensus.Effects {
	db := &nd.disk.view
	nd.countObserved(db.floor.epoch)
	nd.reported = map[int]bool{}
	nd.self = nd.w.set(db.floor.epoch).of(nd.validator)
	cfg := nd.w.config(nd)
	cfg.Root = consensus.Root{Block: db.floor.block.Block, View: db.floor.view, Finalization: db.floor.finalization}
	records := voteLog(db.records)
	if nd.w.plants(LogEmptied) && nd.honest() {
		records = nil
	}
	core, effects, err := consensus.New(cfg, records, nd.mono(), nd.wall())
	if err != nil {
		nd.w.violate("restart", "n%d cannot start from its own records: %v", nd.id, err)
		return effects
	}
	nd.core, nd.coreEpoch, nd.working, nd.wakeAt = core, db.floor.epoch, false, 0
	nd.status = core.Status()
	nd.w.checks.deadlines.started(nd)
	return effects
}

// crash ends the process. Of what was not synced a random prefix survives, unless
// keep says how much.
func (nd *node) crash(keep int) {
	if !nd.up {
		return
	}
	w := nd.w
	if nd.atWork { // some of the commits were done
		nd.commitSome(w.rng.intn(len(nd.work.commit) + 1))
	}
	if keep < 0 {
		keep = w.rng.intn(len(nd.disk.log) + 1)
	}
	w.saw(occurrence(nd.armed))
	if keep < len(nd.disk.log) {
		w.saw(sawLostWrites)
	}
	w.note(nd, "crash: %d of %d unsynced writes survive", keep, len(nd.disk.log))
	w.checks.durable(nd, nd.disk.crash(keep))
	nd.up = false
	nd.generation++
	nd.core = nil
	if down := nd.downFor; down >= 0 {
		w.queue.push(event{at: w.now + down, kind: evRestart, node: int32(nd.id), generation: nd.generation})
	}
}

// at says whether the armed crash is due at this point, and carries it out.
func (nd *node) dies(at crashPoint, keep int) bool {
	if !nd.crashArmed || nd.armed != at {
		return false
	}
	nd.crash(keep)
	return true
}

// deliver is what arrives from the network.
func (nd *node) deliver(p *packet) {
	if !nd.up {
		return
	}
	switch {
	case p.message != nil:
		nd.receive(p)
	case p.pending != nil:
		for _, t := range p.pending {
			nd.learn(t)
		}
	case p.request != nil:
		nd.answer(p.from, p.request)
	case p.response != nil:
		nd.accept(p.from, p.response)
	}
	nd.run()
}

func (nd *node) receive(p *packet) {
	m, from := p.message, nd.memberOf(nd.w.nodes[p.from])
	if nd.adversary != nil && !nd.adversary.receive(nd, p) {
		return
	}
	switch {
	case m.Proposal != nil:
		nd.enqueue(input{event: consensus.ProposalReceived{From: from, Proposal: *m.Proposal}, body: p.body, from: p.from})
	case m.Vote != nil:
		nd.enqueue(input{event: consensus.VoteReceived{From: from, Vote: *m.Vote}, from: p.from})
	case m.Certificate != nil:
		nd.enqueue(input{event: consensus.CertificateReceived{From: from, Certificate: *m.Certificate}, from: p.from})
	}
}

func (nd *node) enqueue(in input) {
	if len(nd.inbox) < nd.w.inboxLimit() {
		nd.inbox = append(nd.inbox, in)
		return
	}
	nd.w.saw(sawOverflow)
}

// first puts what the node itself produced before what the network brought.
func (nd *node) first(ins ...input) {
	nd.inbox = append(ins, nd.inbox...)
}

// run handles the inbox until it is empty or the node is busy.
func (nd *node) run() {
	for nd.up && !nd.busy && !nd.paused && !nd.w.failed() {
		var all consensus.Effects
		steps := nd.w.steps
		changed := nd.submitWork(&all)
		if len(nd.inbox) == 0 && !changed {
			return
		}
		n := 0
		for n < min(len(nd.inbox), nd.w.plan.batch) {
			// A sync moves the ledger: what was asked for before must be done first.
			if nd.inbox[n].chain != nil && (n > 0 || changed) {
				break
			}
			nd.feed(nd.inbox[n], &all)
			n++
		}
		nd.inbox = append(nd.inbox[:0], nd.inbox[n:]...)
		if nd.w.steps > steps { // else the core has nothing to say, not even when to wake it
			nd.carryOut(all)
		}
	}
}

// feed gives one input to the core, as the driver does: a body is handed to the
// store, which orders it before whatever is synced later.
func (nd *node) feed(in input, all *consensus.Effects) {
	switch {
	case in.chain != nil:
		nd.adopt(in.from, in.chain, all)
		return
	case nd.otherEpoch(in), !nd.verified(in, all):
		return
	case in.body != nil && (nd.w.plan.slowBodies || nd.w.plants(BodyForgotten)):
		nd.storeLater(in, all)
		return
	case in.body != nil:
		nd.store(in.body)
	}
	if in.event != nil {
		nd.step(in.event, all)
	}
	if in.body != nil {
		nd.step(consensus.BlockDurable{Block: in.body.Block}, all)
	}
}

// storeLater takes a body as a store does that writes it in the background: the
// core hears of it at once, and that it is durable when it is.
func (nd *node) storeLater(in input, all *consensus.Effects) {
	nd.loose[in.body.Hash] = in.body
	nd.step(in.event, all)
	if nd.w.plants(BodyForgotten) {
		nd.step(consensus.BlockDurable{Block: in.body.Block}, all)
		return
	}
	nd.w.queue.push(event{
		at: nd.w.now + nd.w.syncTime(), kind: evStored, node: int32(nd.id), generation: nd.generation,
		packet: &packet{request: &request{block: in.body.Hash}},
	})
}

// stored is the end of that.
func (nd *node) stored(h crypto.Hash) {
	b := nd.loose[h]
	if b == nil {
		return
	}
	delete(nd.loose, h)
	nd.store(b)
	nd.first(input{event: consensus.BlockDurable{Block: b.Block}})
	nd.run()
}

// body is a block that this process can read, on disk or not yet.
func (nd *node) body(h crypto.Hash) *block {
	if b := nd.loose[h]; b != nil {
		return b
	}
	return nd.disk.view.body(h)
}

// store appends a body to the log, unsynced, unless it is there.
func (nd *node) store(b *block) {
	if nd.disk.view.body(b.Hash) == nil {
		nd.disk.append(write{body: b})
	}
	nd.forget(b.Hash)
}

// step is the one place where the core is called.
func (nd *node) step(ev consensus.Event, all *consensus.Effects) {
	w := nd.w
	w.steps++
	if _, ok := ev.(consensus.Tick); ok {
		nd.ticking = false
		w.checks.woken(nd)
	}
	eff := nd.core.Step(nd.mono(), nd.wall(), ev)
	w.traceStep(nd, ev, &eff)
	join(all, &eff)
	nd.status = nd.core.Status()
	if nd.honest() {
		for i := range eff.Persist {
			if v := eff.Persist[i].Vote; v != nil {
				w.checks.clock(nd, v)
			}
		}
		w.checks.kept(nd, ev)
	}
	w.checks.deadlines.stepped(nd, ev, &eff)
	if eff.Twin != nil && nd.honest() && !w.plants(CopyVotes) {
		w.violate("twin", "n%d takes its own %s for that of another process", nd.id, describeVote(eff.Twin))
	}
	if s := &nd.status; nd.marked && !s.Observing && !s.Ended && s.CommittedView == s.LastFinalizedView {
		nd.recollected() // after a closing block the next epoch decides
	}
	w.checks.stepped(nd)
}

// recollected takes the mark of an old copy off the disk.
func (nd *node) recollected() {
	nd.marked = false
	nd.w.saw(sawReturn)
	if nd.coreEpoch > nd.markedAt && nd.self >= 0 {
		nd.w.saw(sawReturnAmid)
	}
}

// join appends the effects of a later step.
func join(all, eff *consensus.Effects) {
	all.Persist = append(all.Persist, eff.Persist...)
	all.Broadcast = append(all.Broadcast, eff.Broadcast...)
	all.SendTo = append(all.SendTo, eff.SendTo...)
	if eff.Build != nil {
		all.Build = eff.Build
	}
	all.Execute = append(all.Execute, eff.Execute...)
	all.FetchCertificates = append(all.FetchCertificates, eff.FetchCertificates...)
	all.FetchBlocks = append(all.FetchBlocks, eff.FetchBlocks...)
	all.Commit = append(all.Commit, eff.Commit...)
	all.Announce = max(all.Announce, eff.Announce)
	all.WakeAt = eff.WakeAt
	all.Evidence = append(all.Evidence, eff.Evidence...)
	if eff.Halt != "" {
		all.Halt = eff.Halt
	}
}

// submitWork tells the core when its pool gains or loses work: before anything
// else, so that the core does not decide on what was true a moment ago.
func (nd *node) submitWork(all *consensus.Effects) (changed bool) {
	pending := nd.hasWork()
	if pending == nd.working {
		return false
	}
	nd.working = pending
	nd.step(consensus.WorkPending{Pending: pending}, all)
	return true
}

// wake schedules the next Tick.
func (nd *node) wake(at int64) {
	if at == nd.wakeAt {
		return
	}
	nd.wakeAt = at
	if at == 0 {
		return
	}
	nd.scheduleWake()
}

func (nd *node) scheduleWake() {
	wait := max(nd.wakeAt-nd.mono(), 0) * millisecond
	nd.w.queue.push(event{at: nd.w.now + wait, kind: evWake, node: int32(nd.id), generation: nd.generation, arg: nd.wakeAt})
}

func (nd *node) woken(at int64) {
	if at != nd.wakeAt {
		return
	}
	if nd.mono() < at { // drift
		nd.w.queue.push(event{at: nd.w.now + millisecond/2, kind: evWake, node: int32(nd.id), generation: nd.generation, arg: at})
		return
	}
	nd.wakeAt = 0
	if nd.ticking {
		return // the Tick in the inbox will set the next one
	}
	nd.ticking = true
	nd.inbox = append(nd.inbox, input{event: consensus.Tick{}}) // a timer is never lost
	nd.run()
}

func (nd *node) String() string { return fmt.Sprintf("n%d", nd.id) }
