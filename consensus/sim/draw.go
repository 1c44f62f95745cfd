package sim

import "cairn/consensus"

// draw makes the whole fault configuration from one seed.
func draw(seed uint64) *plan {
	r := &rng{state: mix(seed)}
	p := &plan{seed: seed, members: pick(r, memberWeights), epoch: uint32(r.intn(4)), setDraws: r.fork(7)}
	p.people = p.members
	p.drawTiming(r.fork(1))
	p.drawMembers(r.fork(2))
	p.drawClocks(r.fork(3))
	p.drawLies(r.fork(10))
	if p.dark {
		p.drawHour(r.fork(8))
		return p
	}
	p.drawFaults(r.fork(4))
	return p
}

// largeSet is the number of members above which a run is kept short.
const largeSet = 13

// weighted is a value and how often it is drawn.
type weighted struct{ value, weight int }

// Networks of four and seven tolerate faults and are the common ones; one, two,
// three, five and six are where a wrong quorum shows. Large ones cost much and are
// rare and short.
var memberWeights = []weighted{
	{1, 40},
	{2, 90},
	{3, 100},
	{4, 390},
	{5, 100},
	{6, 70},
	{7, 164},
	{8, 10},
	{10, 10},
	{13, 10},
	{20, 6},
	{34, 4},
	{61, 3},
	{100, 3},
}

func pick(r *rng, from []weighted) int {
	total := 0
	for _, w := range from {
		total += w.weight
	}
	at := r.intn(total)
	for _, w := range from {
		if at < w.weight {
			return w.value
		}
		at -= w.weight
	}
	return from[0].value
}

func (p *plan) drawTiming(r *rng) {
	p.delta = []int64{10, 20, 50, 100, 200, 500}[r.intn(6)]
	p.deltaMax = p.delta * []int64{2, 4, 8, 16}[r.intn(4)]
	p.minInterval = []int64{1, 1 + p.delta/20, 1 + p.delta/5, p.delta}[r.intn(4)]
	if r.chance(250) {
		p.heartbeat = p.delta * r.between(10, 60)
	}
	d := p.delta * millisecond
	switch {
	case r.chance(30): // an hour without quorum costs few events
		p.chaos = d * r.between(1000, 5000)
	case r.chance(250):
		p.chaos = d * r.between(150, 400)
	default:
		p.chaos = d * r.between(30, 150)
	}
	p.arrivalMean = d * r.between(1, 12)
	for range r.intn(3) {
		from := r.between(0, p.chaos)
		p.lulls = append(p.lulls, [2]int64{from, from + d*r.between(10, 60)})
	}
	p.batch = []int{1, 1, 4, 16}[r.intn(4)]
	p.eager = r.chance(500)
	p.inbox = []int{8, 32, 1024, 4096}[r.intn(4)]
	p.pollEvery = []int64{8 * d, 20 * d, max(20*d, second)}[r.intn(3)]
	if r.chance(300) {
		p.closeEvery = uint64(r.between(3, 30))
	}
	p.still, p.lazyPrune, p.slowBodies = r.chance(150), r.chance(250), r.chance(200)
	p.dark = p.members <= largeSet && r.chance(12)
	switch {
	case p.dark:
		p.drawDark(r)
	case p.members > largeSet:
		p.chaos, p.heartbeat = d*r.between(10, 25), 0
		p.arrivalMean = d * 5
	}
	p.syncGap = []uint64{1, 4, 32, 1 << 40}[r.intn(4)]

	// After healing Δ covers delay, execution and fsync.
	high := d / []int64{4, 8, 20, 100}[r.intn(4)]
	p.after = profile{
		latencyLow: high / r.between(1, 20), latencyHigh: high,
		executeLow: 0, executeHigh: d / []int64{8, 20, 100}[r.intn(3)],
		syncLow: d / 1000, syncHigh: d / []int64{8, 20, 200}[r.intn(3)],
	}
	if p.dark {
		p.after.fit(p.delta * millisecond) // Δ was drawn anew since
	}
	p.before = p.after
	p.before.loss = []int{0, 0, 5, 50, 150, 300}[r.intn(6)]
	p.before.duplicate = []int{0, 0, 20, 200}[r.intn(4)]
	if r.chance(400) {
		p.before.latencyHigh = d * r.between(1, 3)
	}
	if r.chance(400) {
		p.before.spike, p.before.spikeHigh = int(r.between(1, 100)), d*r.between(1, 10)
	}
	if r.chance(250) {
		p.before.executeHigh = d * r.between(1, 3)
	}
	if r.chance(250) {
		p.before.stall, p.before.stallHigh = int(r.between(1, 100)), d*r.between(1, 6)
	}
}

func (p *plan) drawMembers(r *rng) {
	f := (p.members - 1) / 3
	byzantine := 0
	if f > 0 && r.chance(600) {
		byzantine = 1 + r.intn(min(f, 8))
	}
	free := make([]int, p.members)
	for i := range free {
		free[i] = i
	}
	take := func() int {
		i := r.intn(len(free))
		m := free[i]
		free = append(free[:i], free[i+1:]...)
		return m
	}
	if p.closeEvery > 0 && p.members <= largeSet && r.chance(700) {
		p.changing = true
		p.people += r.intn(4)
	}
	for range byzantine {
		p.adversaries = append(p.adversaries, placement{take(), adversaryNames[r.intn(len(adversaryNames))]})
	}
	if f > byzantine && r.chance(250) {
		p.dead = p.dead.with(take())
	}
	if r.chance(200) {
		p.fullNodes = 1 + r.intn(2)
	}
}

// drawLies makes some of the adversaries, and full nodes of their own, serve others
// with forged answers.
func (p *plan) drawLies(r *rng) {
	for _, a := range p.adversaries {
		if r.chance(300) {
			p.lies = p.lies.with(a.member)
		}
	}
	for i := range p.fullNodes {
		if r.chance(300) {
			p.lies = p.lies.with(p.people + p.twins() + i)
		}
	}
}

func (p *plan) drawClocks(r *rng) {
	p.maxSkew = []int64{0, 100, 400, 2000}[r.intn(4)]
	for range p.nodes() {
		p.wallSkew = append(p.wallSkew, r.between(-p.maxSkew/2, p.maxSkew/2))
		p.drift = append(p.drift, r.between(-5000, 5000))
	}
}

// drawFaults fills p.incidents. Each seed gets its own mixture: a run in which all
// goes wrong at once shows less than one in which a few things do.
func (p *plan) drawFaults(r *rng) {
	all, d := p.nodes(), p.delta*millisecond
	everyone := firstNodes(all)
	span := func(shortest, longest int64) (from, until int64) {
		from = r.between(0, p.chaos)
		return from, min(from+d*r.between(shortest, longest), p.chaos)
	}
	add := func(f incident) { p.incidents = append(p.incidents, f) }
	some := func(permille, most int) int {
		if !r.chance(permille) {
			return 0
		}
		return 1 + r.intn(most)
	}
	for range some(400, 4) { // partitions: two cuts
		from, until := span(3, 40)
		side := r.subset(all)
		add(incident{kind: faultCut, at: from, until: until, src: side, dst: everyone.without(side)})
		add(incident{kind: faultCut, at: from, until: until, src: everyone.without(side), dst: side})
	}
	for range some(350, 5) {
		from, until := span(3, 40)
		add(incident{kind: faultCut, at: from, until: until, src: r.subset(all), dst: r.subset(all)})
	}
	for range some(600, 6) {
		from, _ := span(1, 1)
		add(incident{kind: faultCrash, at: from, until: p.chaos, node: r.intn(all), point: crashPoint(r.intn(6)), amount: d * r.between(0, 30)})
	}
	for range some(250, 2) {
		from, _ := span(1, 1)
		add(incident{kind: faultBlackout, at: from, src: everyone, amount: d * r.between(0, 5)})
	}
	for range some(250, 4) {
		from, _ := span(1, 1)
		if step := p.maxSkew / 2; step > 0 {
			add(incident{kind: faultClock, at: from, node: r.intn(all), amount: r.between(-step, step) * millisecond})
		}
	}
	for range some(150, 2) {
		from, _ := span(1, 1)
		add(incident{kind: faultPower, at: from, src: everyone, amount: d * r.between(0, 5)})
	}
	for range some(200, 3) {
		from, until := span(5, 60)
		add(incident{kind: faultSlow, at: from, until: until, src: r.subset(all), dst: r.subset(all), amount: d * r.between(1, 6) / 2})
	}
	for range some(250, 4) {
		from, _ := span(1, 1)
		add(incident{kind: faultPause, at: from, node: r.intn(all), amount: d * r.between(1, 20)})
	}
	for range some(150, 3) {
		from, _ := span(1, 1)
		add(incident{kind: faultMute, at: from, node: r.intn(all), amount: d * r.between(1, 20)})
	}
	if p.changing {
		p.drawRestoresAmid(r.fork(11), add)
	} else {
		p.drawRestores(r.fork(6), add)
	}
	p.drawAttacks(r.fork(5), add)
	p.drawJumps(r.fork(9), add)
}

// drawRestores brings members back from an old copy of their disk, as few as leave
// a quorum of members that remember all their votes.
func (p *plan) drawRestores(r *rng, add func(incident)) {
	bad := p.dead
	for _, a := range p.adversaries {
		bad = bad.with(a.member)
	}
	spare := p.members - quorumOf(p.members)
	for i := range p.members {
		if bad.has(i) {
			spare--
		}
	}
	for i := 0; i < p.members && spare > 0; i++ {
		if bad.has(i) || !r.chance(60) {
			continue
		}
		spare--
		p.drawRestore(r, i, add)
	}
}

// drawRestoresAmid does so while sets change: the member may be removed and added
// again while it observes. Every set keeps a quorum of members that remember all
// their votes: nextSet sees to that.
func (p *plan) drawRestoresAmid(r *rng, add func(incident)) {
	if !r.chance(700) {
		return
	}
	everyone := make([]int, p.members)
	for i := range everyone {
		everyone[i] = i
	}
	spare := p.members - quorumOf(p.members) - p.badAmong(everyone)
	for _, i := range []int{r.intn(p.people), r.intn(p.people)} {
		first := i < p.members // of the first set
		if p.badAmong([]int{i}) > 0 || p.observers.has(i) || first && spare == 0 {
			continue
		}
		if first {
			spare--
		}
		p.observers = p.observers.with(i)
		p.drawRestore(r, i, add)
	}
}

// drawRestore brings one node back from an old copy of its disk.
func (p *plan) drawRestore(r *rng, i int, add func(incident)) {
	copied := r.between(0, p.chaos/2)
	add(incident{kind: faultBackup, at: copied, node: i})
	add(incident{kind: faultRestore, at: r.between(copied, p.chaos), node: i, amount: p.delta * millisecond * r.between(0, 5)})
}

// drawAttacks adds scripted schedules: purely random ones miss the few in which
// exactly one node holds what decides a view.
func (p *plan) drawAttacks(r *rng, add func(incident)) {
	all, d := p.nodes(), p.delta*millisecond
	everyone := firstNodes(all)
	window := func(views int64) (from, until int64) {
		from = r.between(0, p.chaos*3/4)
		return from, min(from+d*r.between(2, views), p.chaos)
	}
	one := func() nodeSet { return setOf(r.intn(all)) }
	if r.chance(300) { // one node alone learns that a view is final, and is then cut off
		from, until := window(12)
		knows := one()
		add(incident{kind: faultWithhold, at: from, until: until, kinds: kindsOf(consensus.Finalize), dst: knows})
		if r.chance(500) {
			later := min(until+d*r.between(5, 30), p.chaos)
			add(incident{kind: faultCut, at: until - d/2, until: later, src: knows, dst: everyone.without(knows)})
			add(incident{kind: faultCut, at: until - d/2, until: later, src: everyone.without(knows), dst: knows})
		}
	}
	for _, a := range p.adversaries { // a leader can only lie about views that are not final
		for range 3 {
			if from, until := window(20); a.name == "liar" {
				add(incident{kind: faultWithhold, at: from, until: until, kinds: kindsOf(consensus.Finalize), dst: one()})
			}
		}
	}
	if r.chance(250) { // one side sees the notarization, the other only the deadline
		from, until := window(12)
		add(incident{kind: faultWithhold, at: from, until: until, kinds: kindsOf(consensus.Notarize), dst: r.subset(all)})
	}
	if r.chance(200) { // nullifications reach only some
		from, until := window(12)
		add(incident{kind: faultWithhold, at: from, until: until, kinds: kindsOf(consensus.Nullify), dst: r.subset(all)})
	}
	for range r.intn(3) { // a crash wave right at the votes of one kind
		if !r.chance(400) {
			continue
		}
		from, until := window(6)
		kind := []consensus.Kind{consensus.Notarize, consensus.Nullify, consensus.Finalize}[r.intn(3)]
		src := everyone
		if r.chance(500) {
			src = r.subset(all)
		}
		add(incident{
			kind: faultStrike, at: from, until: until, src: src, kinds: kindsOf(kind),
			point:  crashPoint(1 + r.intn(4)),
			amount: d * []int64{0, 1, 3, 10}[r.intn(4)],
		})
	}
}
