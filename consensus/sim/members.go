package sim

import (
	"fmt"
	"slices"
)

// memberSet is the validator set of one epoch.
type memberSet struct {
	members []int // validators, ascending, as their addresses are
	index   []int // by validator: its member index or −1
	quorum  int
}

func newMemberSet(people int, members []int) memberSet {
	s := memberSet{members: members, index: make([]int, people), quorum: quorumOf(len(members))}
	for i := range s.index {
		s.index[i] = slices.Index(members, i)
	}
	return s
}

// of is the member index of a validator, −1 for a full node (whose number is −1).
func (s *memberSet) of(validator int) int {
	if validator < 0 {
		return -1
	}
	return s.index[validator]
}

// quorumOf is the least number of members of which any two groups share more than
// ⌊(n−1)/3⌋: it is searched for, the engine computes it.
func quorumOf(n int) int {
	f, q := (n-1)/3, 1
	for 2*q-n <= f {
		q++
	}
	return q
}

// set is the set of an epoch: each is the one before with one change.
func (p *plan) set(epoch uint32) *memberSet {
	if epoch < p.epoch {
		panic(fmt.Sprintf("sim: asked for the set of epoch %d, the first is %d", epoch, p.epoch))
	}
	for uint32(len(p.sets)) <= epoch-p.epoch {
		p.sets = append(p.sets, p.nextSet(p.epoch+uint32(len(p.sets))))
	}
	return &p.sets[epoch-p.epoch]
}

// nextSet draws the set of an epoch. However it changes, at most f of its members
// are Byzantine or stay dead, and a quorum remembers all votes that it cast.
func (p *plan) nextSet(epoch uint32) memberSet {
	if epoch == p.epoch {
		first := make([]int, p.members)
		for i := range first {
			first[i] = i
		}
		return newMemberSet(p.people, first)
	}
	old := p.set(epoch - 1).members
	if !p.changing {
		return newMemberSet(p.people, old)
	}
	r := p.setDraws.fork(uint64(epoch))
	for range 20 {
		if next := p.change(r, old, epoch); len(next) > 0 && p.badAmong(next) <= (len(next)-1)/3 && p.remembers(next) {
			return newMemberSet(p.people, next)
		}
	}
	return newMemberSet(p.people, old)
}

// change draws one way of changing a set.
func (p *plan) change(r *rng, old []int, epoch uint32) []int {
	next := slices.Clone(old)
	drop := func(i int) { next = slices.Delete(next, i, i+1) }
	add := func() {
		var out []int
		for v := range p.people {
			if !slices.Contains(next, v) {
				out = append(out, v)
			}
		}
		if len(out) > 0 {
			next = append(next, out[r.intn(len(out))])
			slices.Sort(next)
		}
	}
	if p.observers != (nodeSet{}) && r.chance(650) {
		return p.toggle(r, next)
	}
	switch r.intn(7) {
	case 0:
		add()
	case 1:
		drop(r.intn(len(next)))
	case 2: // one for another
		add()
		drop(r.intn(len(next)))
	case 3: // who leads the last view of the old epoch, or the next one
		drop(int((uint64(epoch-1) + r.next()) % uint64(len(next))))
	case 4: // shrink to one
		next = []int{next[r.intn(len(next))]}
	case 5: // grow to all
		for range p.people {
			add()
		}
	case 6: // anybody
		next = nil
		for v := range p.people {
			if r.chance(500) {
				next = append(next, v)
			}
		}
	}
	return next
}

// toggle removes a member that has to observe, or adds it again.
func (p *plan) toggle(r *rng, members []int) []int {
	var who []int
	for v := range p.people {
		if p.observers.has(v) {
			who = append(who, v)
		}
	}
	v := who[r.intn(len(who))]
	if i := slices.Index(members, v); i >= 0 {
		return slices.Delete(members, i, i+1)
	}
	members = append(members, v)
	slices.Sort(members)
	return members
}

// remembers says whether enough members for a quorum are neither faulty nor ever
// have to observe.
func (p *plan) remembers(members []int) bool {
	sure := len(members) - p.badAmong(members)
	for _, v := range members {
		if p.observers.has(v) {
			sure--
		}
	}
	return sure >= quorumOf(len(members))
}

// badAmong counts those that are Byzantine or stay dead.
func (p *plan) badAmong(members []int) int {
	bad := 0
	for _, v := range members {
		if p.dead.has(v) || slices.ContainsFunc(p.adversaries, func(a placement) bool { return a.member == v }) {
			bad++
		}
	}
	return bad
}

// set is the set of an epoch.
func (w *world) set(epoch uint32) *memberSet { return w.plan.set(epoch) }

// memberOf is the index that a node has in the epoch of another.
func (nd *node) memberOf(peer *node) int { return nd.w.set(nd.coreEpoch).of(peer.validator) }
