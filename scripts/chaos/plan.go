//go:build linux

package main

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The faults. Those from Halves on need network namespaces.
const (
	Kill        Kind = "kill"         // kill -9 of one node, started again later
	KillSeveral Kind = "kill-several" // of two or more, but not all
	KillAll     Kind = "kill-all"     // of all at once
	CrashLoop   Kind = "crash-loop"   // one node is killed -9 again and again soon after its start
	Pause       Kind = "pause"        // SIGSTOP, later SIGCONT, of one node
	PauseMany   Kind = "pause-several"
	Restart     Kind = "restart"     // clean stop of one node or more, started again later
	RestartAll  Kind = "restart-all" // clean stop of all
	Halves      Kind = "halves"      // a partition in two
	Thirds      Kind = "thirds"      // a partition in three
	Isolate     Kind = "isolate"     // one node is cut off
	OneWay      Kind = "one-way"     // some links lose what goes in one direction
	KillInCut   Kind = "halves-kill" // halves, and kill -9 of one node meanwhile
)

var (
	processKinds   = []Kind{Kill, KillSeveral, KillAll, CrashLoop, Pause, PauseMany, Restart, RestartAll}
	partitionKinds = []Kind{Halves, Thirds, Isolate, OneWay, KillInCut}
)

const (
	maxPause = 20 * time.Second
	maxDown  = 15 * time.Second
	maxCut   = 20 * time.Second
	longCut  = time.Minute // one partition in ten: waits between two dials have grown to their longest
	maxRest  = 4 * time.Second
)

// Fault is one step of a plan: everything about it that is drawn.
type Fault struct {
	Step   int
	Kind   Kind
	Nodes  []int            // that are killed, paused or stopped
	Groups [][]int          // of a partition
	Cuts   [][2]int         // links that lose all packets, from and to
	Hold   time.Duration    // from the fault to its end
	Loops  []time.Duration  // CrashLoop: how long each start may live
	Down   [2]time.Duration // KillInCut: the node's death and return, from the fault on
	Probe  uint64           // draws the node that each probing transfer is sent to
	Rest   time.Duration    // before the next fault
}

// draw makes step number step of the plan of a seed. It depends on nothing else,
// so that a resumed run goes on with the same plan. Each kind comes once in every
// len(kinds) steps, in an order of its own.
func draw(seed uint64, step, n int, kinds []Kind) Fault {
	round := rand.New(rand.NewPCG(seed, uint64(step/len(kinds))<<1))
	rng := rand.New(rand.NewPCG(seed, uint64(step)<<1|1))
	f := Fault{Step: step, Kind: kinds[round.Perm(len(kinds))[step%len(kinds)]], Probe: rng.Uint64()}
	f.Rest = between(rng, time.Second/2, maxRest)
	order := rng.Perm(n)
	switch f.Kind {
	case Kill, CrashLoop:
		f.Nodes = order[:1]
		f.Hold = between(rng, 0, maxDown)
	case KillSeveral:
		f.Nodes = order[:several(rng, n)]
		f.Hold = between(rng, 0, maxDown)
	case KillAll:
		f.Nodes = order
		f.Hold = between(rng, 0, 3*time.Second)
	case Pause:
		f.Nodes = order[:1]
		f.Hold = between(rng, time.Second/2, maxPause)
	case PauseMany:
		f.Nodes = order[:min(n, several(rng, n)+rng.IntN(2))]
		f.Hold = between(rng, time.Second/2, maxPause)
	case Restart:
		f.Nodes = order[:1+rng.IntN(max(1, n-1))]
		f.Hold = between(rng, 0, maxDown)
	case RestartAll:
		f.Nodes = order
		f.Hold = between(rng, 0, 3*time.Second)
	case Halves, KillInCut:
		f.Groups = split(order, 2)
	case Thirds:
		f.Groups = split(order, 3)
	case Isolate:
		f.Groups = [][]int{order[:1], slices.Sorted(slices.Values(order[1:]))}
	case OneWay:
		f.Cuts = oneWay(rng, order)
	}
	if slices.Contains(partitionKinds, f.Kind) {
		f.Hold = between(rng, time.Second, maxCut)
		if rng.IntN(10) == 0 {
			f.Hold = between(rng, maxCut, longCut)
		}
	}
	if f.Kind == CrashLoop {
		for range 2 + rng.IntN(4) {
			f.Loops = append(f.Loops, between(rng, 0, 2*time.Second))
		}
	}
	if f.Kind == KillInCut {
		f.Nodes = order[rng.IntN(n):][:1]
		at := between(rng, 0, f.Hold/2)
		f.Down = [2]time.Duration{at, between(rng, at, f.Hold)}
	}
	if f.Groups != nil {
		f.Cuts = apart(f.Groups)
	}
	slices.Sort(f.Nodes)
	return f
}

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(rng.Int64N(int64(high-low)))/time.Millisecond*time.Millisecond
}

// several is a number from 2 to n−1, or 1 where there is none.
func several(rng *rand.Rand, n int) int {
	if n < 3 {
		return 1
	}
	return 2 + rng.IntN(n-2)
}

// split cuts order into k groups as equal as can be; fewer if there are not
// enough nodes.
func split(order []int, k int) (groups [][]int) {
	n := len(order)
	for i := range k {
		if g := order[i*n/k : (i+1)*n/k]; len(g) > 0 {
			groups = append(groups, slices.Sorted(slices.Values(g)))
		}
	}
	return groups
}

// apart are the links between nodes of different groups, both ways.
func apart(groups [][]int) (cuts [][2]int) {
	for i, g := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, a := range g {
				for _, b := range other {
					cuts = append(cuts, [2]int{a, b})
				}
			}
		}
	}
	return cuts
}

// oneWay draws who is not heard by some others, or does not hear them: from one
// node to all of them.
func oneWay(rng *rand.Rand, order []int) (cuts [][2]int) {
	n := len(order)
	if n < 2 {
		return nil
	}
	for _, a := range order[:1+rng.IntN(max(1, n/3))] {
		out := rng.IntN(2) == 0
		others := slices.DeleteFunc(rng.Perm(n), func(b int) bool { return b == a })
		for _, b := range others[:1+rng.IntN(n-1)] {
			cut := [2]int{a, b}
			if !out {
				cut = [2]int{b, a}
			}
			if !slices.Contains(cuts, cut) {
				cuts = append(cuts, cut)
			}
		}
	}
	return cuts
}

// clique answers a largest set of nodes of alive that all reach each other both
// ways, the one with the lowest numbers if there are several. Liveness is asked
// of the network only while it holds a quorum. Sizes up to 16 nodes are searched
// in full.
func clique(n int, alive func(int) bool, cuts [][2]int) (best []int) {
	bad := make([]uint32, n)
	for _, c := range cuts {
		bad[c[0]] |= 1 << c[1]
		bad[c[1]] |= 1 << c[0]
	}
	var most uint32
next:
	for set := uint32(1); set < 1<<n; set++ {
		if bits.OnesCount32(set) <= bits.OnesCount32(most) {
			continue
		}
		for i := range n {
			if set&(1<<i) != 0 && (!alive(i) || bad[i]&set != 0) {
				continue next
			}
		}
		most = set
	}
	for i := range n {
		if most&(1<<i) != 0 {
			best = append(best, i)
		}
	}
	return best
}

// String is the fault as it is printed: what, who, how long.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-13s", f.Kind)
	switch {
	case f.Groups != nil:
		parts := make([]string, len(f.Groups))
		for i, g := range f.Groups {
			parts[i] = numbers(g)
		}
		fmt.Fprintf(&b, " {%s}", strings.Join(parts, " | "))
	case f.Cuts != nil:
		for _, c := range f.Cuts {
			fmt.Fprintf(&b, " %d-/->%d", c[0], c[1])
		}
	}
	if len(f.Nodes) > 0 {
		fmt.Fprintf(&b, " node %s", numbers(f.Nodes))
	}
	fmt.Fprintf(&b, " for %s", f.Hold)
	if f.Kind == KillInCut {
		fmt.Fprintf(&b, ", dead from %s to %s", f.Down[0], f.Down[1])
	}
	if f.Loops != nil {
		fmt.Fprintf(&b, ", then killed again after %v", f.Loops)
	}
	return b.String()
}

func numbers(list []int) string { return strings.Trim(fmt.Sprint(list), "[]") }
