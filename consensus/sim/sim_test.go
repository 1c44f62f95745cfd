package sim

import (
	"bytes"
	"strings"
	"testing"

	"cairn/consensus"
	"cairn/consensus/internal/fault"
)

// plain is how many seeds an ordinary go test plays; make sim plays more.
const plain = 200

func TestSeeds(t *testing.T) {
	t.Parallel()
	kept, err := KeptSeeds()
	if err != nil {
		t.Fatal(err)
	}
	seeds := kept
	for seed := uint64(1); seed <= plain; seed++ {
		seeds = append(seeds, seed)
	}
	var all Coverage
	for _, seed := range seeds {
		r := Run(Options{Seed: seed})
		if r.Violation != nil {
			t.Errorf("%v\n%s\nreplay: %s", r.Violation, r.Plan, ReplayCommand(seed))
		}
		all.Add(&r.Coverage)
	}
	// A mixture that brings none of something tests less than it says.
	for i, n := range all {
		if n == 0 {
			t.Errorf("no %s in %d seeds", occurrenceNames[i], len(seeds))
		}
	}
}

// One seed is one run: the hash covers every event and every effect.
func TestSameSeedSameTrace(t *testing.T) {
	t.Parallel()
	hashes := map[uint64]uint64{}
	for seed := uint64(1); seed <= 25; seed++ {
		first, second := Run(Options{Seed: seed}), Run(Options{Seed: seed})
		if first.Hash != second.Hash || first.Steps != second.Steps || first.Virtual != second.Virtual {
			t.Errorf("seed %d: trace %016x in %d steps, then %016x in %d", seed, first.Hash, first.Steps, second.Hash, second.Steps)
		}
		if other, ok := hashes[first.Hash]; ok {
			t.Errorf("seeds %d and %d have the same trace", seed, other)
		}
		hashes[first.Hash] = seed
	}
}

// Writing a trace must not change the run that it shows.
func TestTraceChangesNothing(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 5; seed++ {
		var out bytes.Buffer
		silent, told := Run(Options{Seed: seed}), Run(Options{Seed: seed, Trace: &out})
		if silent.Hash != told.Hash {
			t.Errorf("seed %d: trace %016x without text, %016x with", seed, silent.Hash, told.Hash)
		}
		if !strings.Contains(out.String(), "phase 1") {
			t.Errorf("seed %d: the text does not show the healing", seed)
		}
	}
}

// within plays seeds until a run breaks a rule other than the ignored ones, and
// answers how many it took, and how it broke; 0 if none did.
func within(most uint64, f fault.Fault, ignore ...string) (uint64, *Violation) {
	for seed := uint64(1); seed <= most; seed++ {
		w := newWorld(Options{Seed: seed, Faults: []fault.Fault{f}})
		w.ignored = ignore
		w.play()
		if w.violation != nil {
			return seed, w.violation
		}
	}
	return 0, nil
}

// The simulator must notice each rule that is taken out of the core.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault  fault.Fault
		ignore []string // rules whose checkers look at the very thing that was planted
	}{
		{fault: fault.QuorumTooSmall},
		{fault: fault.QuorumTooSmall, ignore: []string{"quorum", "halt"}},
		{fault: fault.NoNullifyFinalizeExclusion},
		{fault: fault.NoNullifyFinalizeExclusion, ignore: []string{"double vote", "evidence"}},
		{fault: fault.VotesNotRestored},
		{fault: fault.SkipNullificationCheck},
		{fault: fault.SkipParentCheck},
		{fault: fault.NotarizeTwice},
		{fault: fault.FinalizeUnnotarized},
		{fault: fault.NotarizeUnexecuted},
		{fault: fault.NoResend},
		{fault: fault.NoIdle},
		{fault: fault.ResendNotRearmed},
	}
	for _, test := range tests {
		name := test.fault.String()
		if len(test.ignore) > 0 {
			name += " without " + strings.Join(test.ignore, " and ")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seeds, v := within(1000, test.fault, test.ignore...)
			if v == nil {
				t.Fatalf("1,000 seeds pass with %s planted", name)
			}
			t.Logf("%s: found by seed %d: %v", name, seeds, v)
		})
	}
}

// A disk restored from a copy has forgotten votes: a driver that does not make
// its core an observer is noticed.
func TestRestoredCopyMustObserve(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 1000; seed++ {
		w := newWorld(Options{Seed: seed, Drivers: []DriverFault{CopyVotes}})
		w.play()
		if w.violation != nil {
			t.Logf("found by seed %d: %v", seed, w.violation)
			return
		}
	}
	t.Fatal("1,000 seeds pass although restored copies vote at once")
}

// The quorums that checkers use are written by hand; two of them must share an
// honest member, and the honest members alone must be one.
func TestQuorumTable(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 100; n++ {
		f, q := (n-1)/3, quorumOf(n)
		if 2*q-n <= f {
			t.Errorf("two quorums of %d of %d members may share only Byzantine ones", q, n)
		}
		if q > n-f {
			t.Errorf("%d of %d members is more than the honest ones", q, n)
		}
		if 2*(q-1)-n > f {
			t.Errorf("%d of %d members is more than needed", q, n)
		}
		if q != consensus.Quorum(n) {
			t.Errorf("the engine's quorum of %d members is %d, not %d", n, consensus.Quorum(n), q)
		}
	}
}

// Every seed's plan keeps what the protocol assumes: at most f Byzantine or dead
// members, all faults over at healing, Δ above delay, execution and fsync then.
func TestPlansKeepAssumptions(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 2000; seed++ {
		p := draw(seed)
		f := (p.members - 1) / 3
		bad := len(p.adversaries)
		for i := range p.members {
			if p.dead.has(i) {
				bad++
			}
		}
		if bad > f {
			t.Errorf("seed %d: %d of %d members are faulty for good", seed, bad, p.members)
		}
		for _, x := range p.incidents {
			if x.until > p.chaos || x.at > p.chaos {
				t.Errorf("seed %d: %s lasts beyond healing at %d µs", seed, x, p.chaos)
			}
		}
		if a := p.after; a.latencyHigh+a.executeHigh+a.syncHigh > p.delta*millisecond || a.loss > 0 || a.spike > 0 || a.stall > 0 {
			t.Errorf("seed %d: after healing Δ of %d ms does not cover %s", seed, p.delta, a)
		}
	}
}
