package sim

// recoveryBound is the time within which, after healing and with work present,
// every live honest node must have new final blocks. It restates the protocol's
// promise: members meet in one view within a few resends; then at most f leaders
// in a row fail, each costing a deadline that is capped; then one leader succeeds,
// and whoever missed it hears of it by a resend or a poll. Who is far behind, as a
// restored disk is, walks back along parent hashes, one body after the other, each
// a question and an answer between what else it writes, and then executes and
// commits them. Who does not answer costs it a timeout, once or, where an honest
// one counted as deaf before healing, twice.
func (w *world) recoveryBound() int64 {
	p := w.plan
	deadline := 3 * p.deltaMax * millisecond
	failing := int64(p.people-1) / 3
	d := w.delta()
	behind := int64(0)
	if worst := w.stuck(); worst != nil {
		behind = int64(w.highest() - worst.disk.durable.head().Height)
	}
	walk := 2*p.after.latencyHigh + p.after.executeHigh + 3*p.after.syncHigh
	timeouts := int64(0)
	if behind > 0 {
		timeouts = 2 * int64(len(p.adversaries)+p.dead.count()) * requestFactor * d
	}
	return p.pollEvery + 20*d + (failing+2)*(deadline+2*d) + p.maxSkew*millisecond + timeouts + behind*walk
}

// liveness fails a run that has not recovered in time.
func (c *checks) liveness(w *world, s *stage) {
	if w.now-s.began <= s.bound {
		return
	}
	w.live(func(nd *node) bool {
		w.trace.line(w, nd, "height %d of %d, pool %v, status %+v", nd.disk.durable.head().Height, s.target, nd.pool, nd.status)
		return true
	})
	stuck := w.stuck()
	w.violate("liveness", "%.1f ms after healing n%d is at height %d of %d with %d of %d transactions final",
		float64(w.now-s.began)/1000, stuck.id, stuck.disk.durable.head().Height, s.target, len(c.agreement.where), w.submitted)
}

// stuck is a live honest node that is furthest behind.
func (w *world) stuck() *node {
	var worst *node
	w.live(func(nd *node) bool {
		if worst == nil || nd.disk.durable.head().Height < worst.disk.durable.head().Height {
			worst = nd
		}
		return true
	})
	return worst
}
