package sim

// silence waits until no consensus message is sent or on its way for a while, with
// every transaction final and every live honest node at the same height. One that
// was sent before healing may take its time: a nullify that comes late arms whom
// it reaches, as if it had just been sent.
func (c *checks) silence(w *world, s *stage) {
	if s.sent != w.sent || w.flying > 0 {
		s.sent, s.silence = w.sent, w.now
	}
	pending := !w.live(func(nd *node) bool { return len(nd.pool) == 0 })
	level := w.live(func(nd *node) bool { return nd.disk.durable.head().Height == w.highest() })
	calm := w.now-s.silence > w.settleTime() || w.plan.heartbeat > 0 && w.now-s.began > s.bound/2
	if pending {
		s.height = w.highest()
	} else if made := w.highest() - s.height; w.plan.heartbeat == 0 && made > mostIdleBlocks {
		w.violate("quiet", "%d blocks since the last transaction is final, without a heartbeat", made)
		return
	}
	if calm && !pending && level {
		s.height = w.highest()
		s.begin(w, phaseQuiet)
		return
	}
	if w.now-s.began > s.bound+mostStrays*w.settleTime() {
		w.violate("quiet", "%.1f ms after the last work the network still sends, or holds work back: pending %v, level %v",
			float64(w.now-s.began)/1000, pending, level)
	}
}

// mostStrays is how many views in a row an adversary that is gone can still stir: it
// left nullify votes in as many views ahead as others keep votes of, and each arms
// them once.
const mostStrays = 20

// mostIdleBlocks is how many blocks may follow the last work: those that the strays
// bring about.
const mostIdleBlocks = 3 * mostStrays

// settleTime is how long something that a member left behind can still stir the
// others: a lone nullify arms them after a grace of ten Δ or five seconds.
func (w *world) settleTime() int64 { return max(10*w.delta(), 5*second) + 4*w.delta() }

// calm: after the second idleness (in the first some may not have heard of others
// for a rotation, and skip them), where nobody is faulty and clocks agree, the transaction that ends the
// idleness is proposed at once, voted for at once, and no view is given up.
func (c *checks) calm(w *world, s *stage) {
	if !s.faultless || !s.again {
		return
	}
	if took, most := w.now-s.began, 4*w.delta()+w.plan.minInterval*millisecond; took > most {
		w.violate("calm", "the first transaction after idleness is not final after %.1f ms", float64(took)/1000)
	}
	if n := w.coverage[sawNullification]; n > s.nullified {
		w.violate("calm", "%d views were nullified although nobody is faulty", n-s.nullified)
	}
}

// faultless says whether, after healing, every member runs, is honest, never was
// an observer (whom others skip as silent), and has a clock that never was far off.
func (w *world) faultless() bool {
	return w.coverage[sawRestore] == 0 && len(w.plan.adversaries) == 0 && w.plan.dead == (nodeSet{}) && !w.plan.changing && !w.plan.jumps && w.plan.maxSkew <= 2*healedSkew
}

// quiet: an idle network sends nothing but heartbeats, and then the first
// transaction becomes final.
func (c *checks) quiet(w *world, s *stage) {
	length := 2*w.plan.pollEvery + 20*w.delta()
	if beat := w.plan.heartbeat * millisecond; beat > 0 {
		if most := uint64(length/beat) + 3; w.highest() > s.height+most {
			w.violate("quiet", "%d blocks in %.1f idle ms with a heartbeat of %d ms", w.highest()-s.height,
				float64(w.now-s.began)/1000, w.plan.heartbeat)
			return
		}
	} else if s.sent != w.sent {
		w.violate("quiet", "%d messages in an idle network", w.sent-s.sent)
		return
	}
	if w.now-s.began > length {
		s.begin(w, phaseWake)
		s.target = w.highest() + 1
		s.faultless = w.faultless()
		s.nullified = w.coverage[sawNullification]
		w.trackOne()
	}
}
