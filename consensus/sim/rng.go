package sim

import "math/bits"

// rng is SplitMix64: small, fast, and the same on every version of Go, so that a
// kept seed stays a bug report.
type rng struct{ state uint64 }

func (r *rng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return mix(r.state)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// intn is uniform in [0, n); 0 if n ≤ 0.
func (r *rng) intn(n int) int {
	if n <= 0 {
		return 0
	}
	return int(r.next() % uint64(n))
}

// between is uniform in [lo, hi], both included.
func (r *rng) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + int64(r.next()%uint64(hi-lo+1))
}

// chance is true in permille of 1000 cases.
func (r *rng) chance(permille int) bool {
	return permille > 0 && int(r.next()%1000) < permille
}

// fork is an independent generator: drawing from one does not move the other.
func (r *rng) fork(label uint64) *rng { return &rng{state: mix(r.state ^ mix(label))} }

// nodeSet is a set of node, or member, numbers below 128.
type nodeSet struct{ low, high uint64 }

// maxNodes is how many nodes a world may have.
const maxNodes = 128

func setOf(nodes ...int) nodeSet {
	var s nodeSet
	for _, i := range nodes {
		s = s.with(i)
	}
	return s
}

// firstNodes is the set of the first n nodes.
func firstNodes(n int) nodeSet {
	if n < 64 {
		return nodeSet{low: 1<<n - 1}
	}
	return nodeSet{low: ^uint64(0), high: 1<<(n-64) - 1}
}

// everyNode holds every number.
var everyNode = nodeSet{^uint64(0), ^uint64(0)}

func (s nodeSet) has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	return s.high>>(i-64)&1 != 0
}

func (s nodeSet) with(i int) nodeSet {
	if i < 64 {
		s.low |= 1 << i
	} else {
		s.high |= 1 << (i - 64)
	}
	return s
}

func (s nodeSet) union(o nodeSet) nodeSet { return nodeSet{s.low | o.low, s.high | o.high} }

func (s nodeSet) without(o nodeSet) nodeSet { return nodeSet{s.low &^ o.low, s.high &^ o.high} }

func (s nodeSet) count() int { return bits.OnesCount64(s.low) + bits.OnesCount64(s.high) }

// subset draws each of the first n nodes with one half.
func (r *rng) subset(n int) nodeSet {
	s, all := nodeSet{low: r.next()}, firstNodes(n)
	if n > 64 {
		s.high = r.next()
	}
	return nodeSet{s.low & all.low, s.high & all.high}
}
