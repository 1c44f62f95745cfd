package sim

import (
	"fmt"
	"strings"

	"cairn/consensus/internal/fault"
)

// Mutant is one planted mistake. Ignored rules do not end its runs: with the
// checker off that looks at the very thing that was planted, another must notice
// what comes of it.
type Mutant struct {
	Name    string
	Faults  []fault.Fault
	Drivers []DriverFault
	Ignored []string
}

// Mutants are all planted mistakes, one at a time: of cores, then of drivers.
func Mutants() []Mutant {
	var out []Mutant
	for _, f := range fault.All() {
		out = append(out, Mutant{Name: f.String(), Faults: []fault.Fault{f}})
	}
	for _, f := range DriverFaults() {
		out = append(out, Mutant{Name: string(f), Drivers: []DriverFault{f}})
	}
	without := func(m Mutant, ignored ...string) {
		m.Name += " without " + strings.Join(ignored, ", ")
		m.Ignored = ignored
		out = append(out, m)
	}
	byName := func(name string) Mutant {
		for _, m := range out {
			if m.Name == name {
				return m
			}
		}
		panic("sim: no mutant is called " + name)
	}
	without(byName("QuorumTooSmall"), "quorum", "halt", "slander")
	without(byName("TwoFPlusOne"), "quorum", "halt", "slander")
	without(byName("CountTwice"), "quorum", "halt", "forged", "slander")
	without(byName("NoNullifyFinalizeExclusion"), "double vote", "evidence")
	without(byName("SendBeforeSync"), "visible before durable")
	return out
}

// FindMutant answers the mutant of a name.
func FindMutant(name string) (Mutant, error) {
	var names []string
	for _, m := range Mutants() {
		if m.Name == name {
			return m, nil
		}
		if len(m.Ignored) == 0 {
			names = append(names, m.Name)
		}
	}
	return Mutant{}, fmt.Errorf("no mistake is called %q; there are %s", name, strings.Join(names, ", "))
}

// Run plays one seed with the mistake planted.
func (m *Mutant) Run(seed uint64) Result {
	return Run(Options{Seed: seed, Faults: m.Faults, Drivers: m.Drivers, Ignored: m.Ignored})
}

// Find plays seeds from 1 on until a run breaks a rule, and answers how many it
// took and how it broke; 0 if none of most seeds did.
func (m *Mutant) Find(most uint64) (uint64, *Violation) {
	for seed := uint64(1); seed <= most; seed++ {
		if r := m.Run(seed); r.Violation != nil {
			return seed, r.Violation
		}
	}
	return 0, nil
}
