package sim

import "cairn/consensus"

// hour is how long a dark run goes without finality.
const hour = 3600 * second

// drawDark sets the times of a run in which nothing becomes final for an hour:
// few events, or it would cost too much.
func (p *plan) drawDark(r *rng) {
	p.delta = []int64{200, 500}[r.intn(2)]
	p.deltaMax = p.delta * []int64{4, 8, 16}[r.intn(3)]
	d := p.delta * millisecond
	p.chaos = hour + d*r.between(20, 60)
	p.arrivalMean, p.lulls = 60*second, nil
	p.pollEvery, p.closeEvery, p.heartbeat = 5*second, 0, 0
}

// fit makes times no longer than Δ covers with room to spare. A block is notarized
// on one member up to two delays and two syncs before it is final there; where that
// takes longer than Δ, each block arms the view after it, and an idle network goes
// on making empty ones.
func (p *profile) fit(delta int64) {
	p.latencyHigh, p.executeHigh, p.syncHigh = min(p.latencyHigh, delta/4), min(p.executeHigh, delta/8), min(p.syncHigh, delta/8)
	p.latencyLow = min(p.latencyLow, p.latencyHigh)
	p.syncLow = min(p.syncLow, p.syncHigh)
}

// drawHour takes the quorum away for an hour: members are dead, or cut in parts
// none of which is one, or alive and never shown a notarization, so that view
// after view is nullified.
func (p *plan) drawHour(r *rng) {
	all := p.nodes()
	everyone := firstNodes(all)
	begin := p.chaos - hour
	p.still = false
	switch r.intn(3) {
	case 0:
		for i := quorumOf(p.members) - 1; i < p.members; i++ {
			p.incidents = append(p.incidents, incident{kind: faultCrash, at: begin, until: p.chaos, node: i, point: crashNow, amount: hour})
		}
	case 1:
		var side nodeSet
		for i := range all {
			if i%2 == 0 {
				side = side.with(i)
			}
		}
		p.incidents = append(p.incidents,
			incident{kind: faultCut, at: begin, until: p.chaos, src: side, dst: everyone.without(side)},
			incident{kind: faultCut, at: begin, until: p.chaos, src: everyone.without(side), dst: side})
	case 2:
		p.incidents = append(p.incidents, incident{kind: faultWithhold, at: begin, until: p.chaos, kinds: kindsOf(consensus.Notarize)})
		p.cutOne(begin)
	}
}

// cutOne takes a member away whom the others do not need for a quorum: it comes back
// to views of which it knows nothing, more than a proposal brings along.
func (p *plan) cutOne(begin int64) {
	everyone := make([]int, p.members)
	for i := range everyone {
		everyone[i] = i
	}
	if p.members-p.badAmong(everyone)-1 < quorumOf(p.members) {
		return
	}
	for i := range p.members {
		if p.badAmong([]int{i}) > 0 {
			continue
		}
		one, all := setOf(i), firstNodes(p.nodes())
		p.incidents = append(p.incidents,
			incident{kind: faultCut, at: begin, until: p.chaos, src: one, dst: all.without(one)},
			incident{kind: faultCut, at: begin, until: p.chaos, src: all.without(one), dst: one})
		return
	}
}

// drawJumps makes wall clocks step far: back on anybody, ahead on as few as cannot,
// with the Byzantine ones, notarize a block from the future.
func (p *plan) drawJumps(r *rng, add func(incident)) {
	if !r.chance(120) {
		return
	}
	p.jumps = true
	at := func() int64 { return r.between(0, p.chaos) }
	far := func() int64 { return r.between(1000, 3_600_000) * millisecond }
	for range 1 + r.intn(3) {
		add(incident{kind: faultClock, at: at(), node: r.intn(p.nodes()), amount: -far()})
	}
	if p.changing {
		return // in a small set one clock may be a quorum
	}
	spare := (p.members-1)/3 - len(p.adversaries)
	for range spare {
		if v := r.intn(p.members); p.badAmong([]int{v}) == 0 {
			add(incident{kind: faultClock, at: at(), node: v, amount: far()})
		}
	}
}
