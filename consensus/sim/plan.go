package sim

import (
	"fmt"
	"strings"

	"cairn/consensus"
)

const (
	microsecond = int64(1)
	millisecond = 1000 * microsecond
	second      = 1000 * millisecond
)

// profile is how network, disks and processors behave in one phase of a run.
// Times are µs, chances in 1000.
type profile struct {
	latencyLow, latencyHigh int64
	spike                   int // chance of a packet that takes up to spikeHigh
	spikeHigh               int64
	loss, duplicate         int
	executeLow, executeHigh int64
	syncLow, syncHigh       int64
	stall                   int // chance of an fsync that takes up to stallHigh
	stallHigh               int64
}

// crashPoint is where in the handling of one Effects a process dies.
type crashPoint uint8

const (
	crashNow           crashPoint = iota // wherever it is
	crashBeforePersist                   // nothing of the batch reached the disk
	crashTornPersist                     // the system took the writes, the fsync never ended
	crashAfterPersist                    // durable, and nobody was told
	crashMidSend                         // some were told
	crashMidWork                         // between two commits
)

var crashPointNames = [...]string{"now", "before-persist", "torn-persist", "after-persist", "mid-send", "mid-work"}

type faultKind uint8

const (
	faultCut      faultKind = iota + 1 // nothing passes from src to dst
	faultWithhold                      // votes and certificates of kinds reach only dst
	faultCrash                         // node dies at point and stays down for amount
	faultBlackout                      // all of src die at once, each down for up to amount
	faultStrike                        // whoever of src persists a vote of kinds dies at point
	faultClock                         // node's wall clock steps by amount
	faultPause                         // node's process stands still for amount
	faultMute                          // node's driver tells its core to sign nothing for amount
	faultBackup                        // node's disk is copied
	faultRestore                       // node dies and comes back with that copy, as an observer
	faultPower                         // all of src die at once, and nothing that was not synced survives
	faultSlow                          // what src sends to dst takes amount longer
)

var faultNames = [...]string{"", "cut", "withhold", "crash", "blackout", "strike", "clock", "pause", "mute", "backup", "restore", "power loss", "slow"}

// incident is one thing that goes wrong between at and until (µs).
type incident struct {
	kind      faultKind
	at, until int64
	node      int
	src, dst  nodeSet
	kinds     kindSet
	point     crashPoint
	amount    int64
}

// kindSet is a set of consensus.Kind.
type kindSet uint8

func kindsOf(kinds ...consensus.Kind) kindSet {
	var s kindSet
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

func (s kindSet) has(k consensus.Kind) bool { return s>>k&1 != 0 }

func (f incident) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%9.1fms %s", float64(f.at)/1000, faultNames[f.kind])
	switch f.kind {
	case faultCut:
		fmt.Fprintf(&b, " %s from %s until %.1fms", f.src, f.dst, float64(f.until)/1000)
	case faultWithhold:
		fmt.Fprintf(&b, " %s from all but %s until %.1fms", f.kinds, f.dst, float64(f.until)/1000)
	case faultCrash:
		fmt.Fprintf(&b, " n%d %s, down %.1fms", f.node, crashPointNames[f.point], float64(f.amount)/1000)
	case faultSlow:
		fmt.Fprintf(&b, " %s to %s by %.1fms until %.1fms", f.src, f.dst, float64(f.amount)/1000, float64(f.until)/1000)
	case faultBlackout, faultPower:
		fmt.Fprintf(&b, " %s, down up to %.1fms", f.src, float64(f.amount)/1000)
	case faultStrike:
		fmt.Fprintf(&b, " %s at their %s votes, %s, down up to %.1fms, until %.1fms", f.src, f.kinds,
			crashPointNames[f.point], float64(f.amount)/1000, float64(f.until)/1000)
	case faultClock:
		fmt.Fprintf(&b, " n%d steps %+dms", f.node, f.amount/millisecond)
	case faultBackup:
		fmt.Fprintf(&b, " n%d", f.node)
	case faultRestore:
		fmt.Fprintf(&b, " n%d, down %.1fms", f.node, float64(f.amount)/1000)
	case faultPause, faultMute:
		fmt.Fprintf(&b, " n%d for %.1fms", f.node, float64(f.amount)/1000)
	}
	return b.String()
}

func (s nodeSet) String() string {
	var parts []string
	for i := range maxNodes {
		if s.has(i) {
			parts = append(parts, fmt.Sprint(i))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func (s kindSet) String() string {
	var parts []string
	for _, k := range []consensus.Kind{consensus.Notarize, consensus.Nullify, consensus.Finalize} {
		if s.has(k) {
			parts = append(parts, kindName(k))
		}
	}
	return strings.Join(parts, "+")
}

func kindName(k consensus.Kind) string {
	return [...]string{"none", "notarize", "nullify", "finalize"}[min(k, 4)%4]
}

// plan is everything that a seed decides before virtual time starts.
type plan struct {
	seed        uint64
	members     int  // of the first epoch: validators 0 to members-1
	people      int  // validators, members of some epoch or of none
	changing    bool // the set changes with each epoch
	sets        []memberSet
	setDraws    *rng
	fullNodes   int
	epoch       uint32
	adversaries []placement // at most ⌊(members−1)/3⌋ members
	dead        nodeSet     // honest members that stay down after healing
	observers   nodeSet     // members that come back with an old disk while sets change
	lies        nodeSet     // nodes that serve others with forged answers

	delta, deltaMax, minInterval, heartbeat int64 // ms, as in consensus.Config

	before, after profile
	chaos         int64 // µs; all faults end here
	incidents     []incident
	arrivalMean   int64 // µs between submitted transactions
	lulls         [][2]int64
	batch         int   // events a driver handles with one fsync
	eager         bool  // which of the two drivers; see carryOut
	inbox         int   // inputs that a node queues before healing
	pollEvery     int64 // µs
	syncGap       uint64
	closeEvery    uint64  // a block at a multiple of this height ends its epoch, 0 = none
	wallSkew      []int64 // ms per node
	drift         []int64 // parts per million of the monotonic clock
	maxSkew       int64   // ms; bound of skews and steps together
	jumps         bool    // some wall clock steps by up to an hour
	dark          bool    // an hour without a quorum, or without notarizations
	still         bool    // no more work after healing
	lazyPrune     bool    // stores keep vote records longer than they must
	slowBodies    bool    // bodies are written in the background
}

// placement puts an adversary on a member.
type placement struct {
	member int
	name   string
}

func (p *plan) nodes() int { return p.people + p.twins() + p.fullNodes }

func (p *plan) twins() int {
	n := 0
	for _, a := range p.adversaries {
		if a.name == "twins" {
			n++
		}
	}
	return n
}

func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d members of %d validators (changing %v), %d full nodes, epoch %d, Δ %d ms (at most %d), interval %d, heartbeat %d\n",
		p.seed, p.members, p.people, p.changing, p.fullNodes, p.epoch, p.delta, p.deltaMax, p.minInterval, p.heartbeat)
	for _, a := range p.adversaries {
		fmt.Fprintf(&b, "  validator %d is a %s\n", a.member, a.name)
	}
	if p.dead != (nodeSet{}) {
		fmt.Fprintf(&b, "  %s stay down\n", p.dead)
	}
	if p.lies != (nodeSet{}) {
		fmt.Fprintf(&b, "  %s lie about ranges\n", p.lies)
	}
	fmt.Fprintf(&b, "  before healing: %s\n  after healing:  %s\n", p.before, p.after)
	fmt.Fprintf(&b, "  a transaction each %.1fms but in %d lulls, batch %d (eager %v), inbox %d, poll each %dms, sync beyond %d heights, epochs of %d, wall skews %v ms, drifts %v ppm\n",
		float64(p.arrivalMean)/1000, len(p.lulls), p.batch, p.eager, p.inbox, p.pollEvery/millisecond, p.syncGap, p.closeEvery, p.wallSkew, p.drift)
	fmt.Fprintf(&b, "  dark %v, still %v, vote records kept %v, bodies written late %v\n", p.dark, p.still, p.lazyPrune, p.slowBodies)
	for _, f := range p.incidents {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	fmt.Fprintf(&b, "  %9.1fms heal", float64(p.chaos)/1000)
	return b.String()
}

func (p profile) String() string {
	return fmt.Sprintf("latency %d–%dµs, spikes %d‰ to %dµs, loss %d‰, duplicates %d‰, execution %d–%dµs, fsync %d–%dµs, stalls %d‰ to %dµs",
		p.latencyLow, p.latencyHigh, p.spike, p.spikeHigh, p.loss, p.duplicate, p.executeLow, p.executeHigh,
		p.syncLow, p.syncHigh, p.stall, p.stallHigh)
}
