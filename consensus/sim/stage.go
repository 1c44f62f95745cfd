package sim

// phase is how far a run is.
type phase uint8

const (
	phaseChaos  phase = iota // faults happen
	phaseLive                // healed, with work: new blocks must become final
	phaseSettle              // no more work, adversaries gone: the network must fall silent
	phaseQuiet               // silent: it must stay so
	phaseWake                // one transaction after idleness must become final
)

// stage is where the run is and what it waits for.
type stage struct {
	phase     phase
	began     int64 // µs, of this phase
	bound     int64 // µs that recovery may take
	took      int64 // µs that it took
	target    uint64
	tracked   []uint32 // transactions that must become final
	sent      uint64   // messages when the network was last heard
	faultless bool     // when the quiet ended
	nullified uint64   // views when the quiet ended
	silence   int64    // µs since when nothing was sent
	height    uint64   // when the quiet began
	again     bool     // woken once already
	done      bool
}

// advance is called each Δ/2 from healing on.
func (w *world) advance() {
	s := &w.stage
	w.queue.push(event{at: w.now + w.delta()/2, kind: evPhase})
	if w.healed {
		w.live(func(nd *node) bool { w.checks.deadlines.late(nd, w.healedAt); return true })
	}
	switch s.phase {
	case phaseChaos:
		w.heal()
		s.begin(w, phaseLive)
		s.bound = w.recoveryBound()
		s.target = w.highest() + 2
		if w.plan.still { // nothing new is asked for: what there is must become final
			w.withdraw()
			s.begin(w, phaseSettle)
			return
		}
		w.trackOne()
	case phaseLive:
		if w.recovered(s.target) {
			s.took = w.now - s.began
			w.withdraw()
			s.begin(w, phaseSettle)
			return
		}
		// An idle network owes no block: keep two transactions coming.
		if w.allFinal(s.tracked) {
			w.trackOne()
		}
		w.checks.liveness(w, s)
	case phaseSettle:
		w.checks.silence(w, s)
	case phaseQuiet:
		w.checks.quiet(w, s)
	case phaseWake:
		if w.allFinal(s.tracked) {
			if s.done = s.again; !s.done {
				s.again = true
				s.begin(w, phaseSettle)
			}
			return
		}
		w.checks.calm(w, s)
		w.checks.liveness(w, s)
	}
}

func (s *stage) begin(w *world, p phase) {
	s.phase, s.began, s.sent, s.silence = p, w.now, w.sent, w.now
	if p == phaseSettle {
		s.height = w.highest()
	}
	w.trace.line(w, nil, "phase %d", p)
}

// live are the honest nodes that run.
func (w *world) live(visit func(*node) bool) bool {
	for _, nd := range w.nodes {
		if nd.honest() && nd.up && !visit(nd) {
			return false
		}
	}
	return true
}

// trackOne submits a transaction to a live honest node and waits for it.
func (w *world) trackOne() {
	var ready []*node
	w.live(func(nd *node) bool { ready = append(ready, nd); return true })
	if len(ready) > 0 {
		w.stage.tracked = append(w.stage.tracked, w.submit(ready[w.rng.intn(len(ready))]))
	}
}

func (w *world) highest() uint64 {
	var h uint64
	w.live(func(nd *node) bool { h = max(h, nd.disk.durable.head().Height); return true })
	return h
}

// recovered says whether every live honest node has come to height target and has
// all tracked transactions.
func (w *world) recovered(target uint64) bool {
	return w.live(func(nd *node) bool { return nd.disk.durable.head().Height >= target }) && w.allFinal(w.stage.tracked)
}

func (w *world) allFinal(transactions []uint32) bool {
	return w.live(func(nd *node) bool {
		for _, t := range transactions {
			if !w.checks.agreement.holds(nd, t) {
				return false
			}
		}
		return true
	})
}

// withdraw ends adversaries: what they send is no measure of idleness.
func (w *world) withdraw() {
	for _, nd := range w.nodes {
		if !nd.honest() {
			nd.kill()
		}
	}
}
