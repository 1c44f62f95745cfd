package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"cairn/consensus"
	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// Options are what a run depends on besides its seed.
type Options struct {
	Seed    uint64
	Faults  []fault.Fault // planted in every honest core
	Drivers []DriverFault // and in every honest driver
	Ignored []string      // rules that do not end the run, for tests of the others
	Trace   io.Writer     // nil = no trace
}

// Result is what one run came to.
type Result struct {
	Seed      uint64
	Plan      string     // the drawn configuration
	Violation *Violation // nil = all rules held
	Virtual   int64      // µs
	Views     uint64     // highest view entered
	Blocks    uint64     // highest final height
	Steps     uint64     // of all cores
	Healed    int64      // µs from healing to new final blocks everywhere
	Bound     int64      // µs that this was allowed to take
	Hash      uint64     // of the trace: equal for equal seeds
	Coverage  Coverage
}

// Violation is a broken rule.
type Violation struct {
	Rule   string // short and stable: agreement, liveness, …
	At     int64  // µs
	Detail string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at %.3f ms: %s", v.Rule, float64(v.At)/1000, v.Detail)
}

// world is one run.
type world struct {
	plan      *plan
	rng       *rng
	now       int64 // µs
	queue     queue
	network   network
	nodes     []*node
	genesis   *block
	blocks    map[crypto.Hash]*block
	faults    fault.Set
	checks    checks
	violation *Violation
	mistakes  []DriverFault // planted in every honest driver
	digests   map[consensus.Subject]crypto.Hash
	healedAt  int64    // µs
	ignored   []string // rules that do not end the run, for tests of checkers
	healed    bool
	stage     stage
	submitted uint32 // transactions so far
	steps     uint64
	sent      uint64 // consensus messages handed to the network
	flying    int    // of them, deliveries still to come
	trace     trace
	coverage  Coverage
}

// eventLimit ends a run that does not come to rest; no correct one comes near.
const eventLimit = 1_500_000

// Run plays one seed to its end or to the first broken rule.
func Run(o Options) Result {
	w := newWorld(o)
	w.play()
	r := Result{
		Seed: o.Seed, Plan: w.plan.String(), Violation: w.violation, Virtual: w.now, Steps: w.steps,
		Healed: w.stage.took, Bound: w.stage.bound, Hash: w.trace.hash,
		Coverage: w.coverage,
	}
	for _, nd := range w.nodes {
		r.Views = max(r.Views, w.checks.memory.highest(nd))
		r.Blocks = max(r.Blocks, nd.disk.durable.head().Height)
	}
	return r
}

func newWorld(o Options) *world {
	p := draw(o.Seed)
	w := &world{
		plan: p, rng: (&rng{state: mix(o.Seed)}).fork(99),
		blocks: map[crypto.Hash]*block{}, faults: fault.Of(o.Faults...), mistakes: o.Drivers, ignored: o.Ignored, digests: map[consensus.Subject]crypto.Hash{}, trace: trace{out: o.Trace},
	}
	w.network.w = w
	w.plan.set(p.epoch)
	w.countPlan()
	w.genesis = (&block{Block: consensus.Block{Epoch: p.epoch, Timestamp: wallEpoch - 10_000}}).seal(o.Seed)
	w.blocks[w.genesis.Hash] = w.genesis
	w.checks.init(w)
	for i := range p.people {
		w.addNode(i)
	}
	for _, a := range p.adversaries {
		if a.name == "twins" {
			w.addNode(a.member)
		}
	}
	if w.plants(TwoProcesses) {
		w.addNode(0)
	}
	for range p.fullNodes {
		w.addNode(-1)
	}
	for i, f := range p.incidents {
		w.queue.push(event{at: f.at, kind: evFault, arg: int64(i)})
	}
	w.queue.push(event{at: p.arrivalMean, kind: evArrival})
	w.queue.push(event{at: p.chaos, kind: evPhase})
	w.trace.line(w, nil, "%s", p)
	return w
}

func (w *world) addNode(validator int) {
	id := len(w.nodes)
	nd := &node{
		w: w, id: id, validator: validator, self: -1, coreEpoch: w.plan.epoch, disk: newDisk(w.genesis, w.plan.epoch, w.plan.lazyPrune),
		wallSkew: w.plan.wallSkew[id%len(w.plan.wallSkew)], drift: w.plan.drift[id%len(w.plan.drift)],
	}
	for _, a := range w.plan.adversaries {
		if a.member == validator {
			nd.adversary = newAdversary(a.name)
		}
	}
	if w.plan.lies.has(id) {
		if nd.adversary == nil {
			nd.adversary = obedient{}
		}
		nd.adversary = &rangeLiar{nd.adversary}
	}
	w.nodes = append(w.nodes, nd)
	w.queue.push(event{at: w.rng.between(0, w.delta()), kind: evRestart, node: int32(id)})
}

// play takes events in order until the last stage is over. A core that panics
// breaks a rule of its own.
func (w *world) play() {
	defer func() {
		if p := recover(); p != nil {
			if w.trace.out == nil {
				w.violate("panic", "%v", p)
			} else {
				w.violate("panic", "%v\n%s", p, debug.Stack())
			}
		}
	}()
	for count := 0; w.violation == nil && !w.stage.done; count++ {
		e, ok := w.queue.pop()
		if !ok {
			w.violate("liveness", "nothing is left to happen")
			return
		}
		if count == eventLimit*(1+len(w.nodes)/largeSet) {
			w.violate("storm", "%d events and no end", count)
			return
		}
		w.now = e.at
		w.trace.mix(uint64(e.at) ^ uint64(e.kind)<<56 ^ uint64(e.node)<<48)
		w.handle(&e)
	}
}

func (w *world) handle(e *event) {
	switch e.kind {
	case evFault:
		w.happen(&w.plan.incidents[e.arg])
		return
	case evArrival:
		w.arrival()
		return
	case evPhase:
		w.advance()
		return
	case evDeliver:
		if e.packet.message != nil {
			w.flying--
		}
		w.nodes[e.node].deliver(e.packet)
		return
	}
	nd := w.nodes[e.node]
	if e.generation != nd.generation {
		return
	}
	switch e.kind {
	case evRestart:
		if !nd.up {
			nd.start()
			nd.run()
		}
	case evPersisted:
		nd.synced()
		nd.run()
	case evWorked:
		nd.worked()
	case evWake:
		nd.woken(e.arg)
	case evPoll:
		nd.poll()
	case evSeek:
		nd.timedOut(e.packet.request.block, int(e.arg))
	case evStored:
		nd.stored(e.packet.request.block)
	case evDisrupt:
		nd.disrupt()
	case evUnmute:
		nd.mute(false)
	case evResume:
		nd.paused = false
		nd.run()
	}
}

// violate records the first broken rule; the run ends there.
func (w *world) violate(rule, format string, args ...any) {
	if w.violation == nil && !slices.Contains(w.ignored, rule) {
		w.violation = &Violation{Rule: rule, At: w.now, Detail: fmt.Sprintf(format, args...)}
		w.trace.line(w, nil, "VIOLATION %v", w.violation)
	}
}

func (w *world) failed() bool { return w.violation != nil }

func (w *world) delta() int64 { return w.plan.delta * millisecond }

func (w *world) profile() *profile {
	if w.healed {
		return &w.plan.after
	}
	return &w.plan.before
}

func (w *world) executeTime() int64 {
	pr := w.profile()
	return w.rng.between(pr.executeLow, pr.executeHigh)
}

func (w *world) syncTime() int64 {
	pr := w.profile()
	if w.rng.chance(pr.stall) {
		return w.rng.between(pr.syncHigh, pr.stallHigh)
	}
	return w.rng.between(pr.syncLow, pr.syncHigh)
}

// inboxLimit bounds what a slow node queues; the rest is lost, as on a full stream.
func (w *world) inboxLimit() int {
	if w.healed {
		return 4096
	}
	return w.plan.inbox
}

// config is what the cores of a member are told.
func (w *world) config(nd *node) consensus.Config {
	p := w.plan
	c := consensus.Config{
		Network: consensus.Network{ChainID: p.seed, Genesis: w.genesis.Hash},
		Epoch:   nd.disk.view.floor.epoch, Self: nd.self,
		Sign:  func(d crypto.Hash) crypto.Signature { return sign(nd.validator, d) },
		Delta: p.delta, DeltaMax: p.deltaMax, MinInterval: p.minInterval, Heartbeat: p.heartbeat,
	}
	for _, v := range w.set(c.Epoch).members {
		c.Members = append(c.Members, address(v))
	}
	c.Observer = nd.marked && !w.plants(CopyVotes)
	if nd.honest() {
		c.Fault = w.faults
		if w.plants(ShortDeadlines) {
			c.Delta = max(1, p.delta/20)
			c.DeltaMax = c.Delta
		}
	}
	return c
}

// newBlock makes a block as a request asks for it.
func (w *world) newBlock(validator int, r *consensus.BuildRequest, parent *block, transactions []uint32, salt uint64) *block {
	b := &block{
		Block: consensus.Block{
			Parent: parent.Hash, Height: parent.Height + 1, Epoch: r.Epoch, View: r.View,
			Proposer: address(validator), Timestamp: r.MinTimestamp,
		},
		transactions: transactions, parent: parent,
	}
	return w.register(b, salt)
}

// register seals a block and makes it known to the world.
func (w *world) register(b *block, salt uint64) *block {
	b.seal(salt)
	if have := w.blocks[b.Hash]; have != nil {
		return have
	}
	w.blocks[b.Hash] = b
	return b
}

// arrival submits a transaction to a random node, but for lulls.
func (w *world) arrival() {
	if w.stage.phase >= phaseSettle {
		return
	}
	mean := w.plan.arrivalMean
	w.queue.push(event{at: w.now + w.rng.between(mean/10, 2*mean), kind: evArrival})
	for _, l := range w.plan.lulls {
		if !w.healed && l[0] <= w.now && w.now < l[1] {
			return
		}
	}
	w.submit(w.nodes[w.rng.intn(len(w.nodes))])
}

func (w *world) submit(nd *node) uint32 {
	w.submitted++
	nd.submit(w.submitted)
	return w.submitted
}
