package sim

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"cairn/consensus"
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

// rareMutants are mistakes that take many seeds, with the seed that showed them
// when last looked (make sim PLANT=all): tried first, to save time.
var rareMutants = map[string]uint64{
	"SkipNullificationCheck": 138, "NotarizeUnexecuted": 126, "BackoffUncapped": 549, "FutureVotesKept": 95,
	"FetchOnce": 80, "TipForgotten": 343, "ObserverImpatient": 79, "MissingIsInvalid": 3174, "CopyVotes": 79,
	"AnswersUnchecked": 195,
}

// The page on the simulator names every mistake that can be planted.
func TestPageNamesMistakes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, stopped, _ := strings.Cut(string(page), "## Planted mistakes")
	for _, m := range Mutants() {
		if !strings.Contains(stopped, "| "+m.Name+" |") {
			t.Errorf("docs/simulator.md does not list %s", m.Name)
		}
	}
}

// The simulator must notice each rule that is taken out of a core, and each
// mistake of a driver.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if r := m.Run(rareMutants[m.Name]); r.Violation != nil {
				t.Logf("%s: found by seed %d: %v", m.Name, r.Seed, r.Violation)
				return
			}
			seeds, v := m.Find(4000)
			if v == nil {
				t.Fatalf("4,000 seeds pass with %s planted", m.Name)
			}
			t.Logf("%s: found by seed %d: %v", m.Name, seeds, v)
		})
	}
}

// The quorums that checkers use are searched for; two of them must share an
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
// members, in each set a quorum that forgets no vote, all faults over at healing, Δ above what lies between a
// notarization and a finalization then: two delays, an execution and two fsyncs.
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
		for epoch := p.epoch; epoch < p.epoch+20; epoch++ {
			members := p.set(epoch).members
			if bad := p.badAmong(members); bad > (len(members)-1)/3 {
				t.Errorf("seed %d: %d of %d members of epoch %d are faulty for good", seed, bad, len(members), epoch)
			}
			if p.changing && !p.remembers(members) {
				t.Errorf("seed %d: too few of members %v of epoch %d remember their votes: %s observe", seed, members, epoch, p.observers)
			}
		}
		for _, x := range p.incidents {
			if x.until > p.chaos || x.at > p.chaos {
				t.Errorf("seed %d: %s lasts beyond healing at %d µs", seed, x, p.chaos)
			}
		}
		if a := p.after; 2*a.latencyHigh+a.executeHigh+2*a.syncHigh > p.delta*millisecond || a.loss > 0 || a.spike > 0 || a.stall > 0 {
			t.Errorf("seed %d: after healing Δ of %d ms does not cover %s", seed, p.delta, a)
		}
	}
}
