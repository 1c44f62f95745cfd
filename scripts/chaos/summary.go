//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/scripts/internal/testnet"
)

const reportFile = "report.json"

// Times are the figures of some measured times, in milliseconds.
type Times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50Millis"`
	P99   float64 `json:"p99Millis"`
	Max   float64 `json:"maxMillis"`
}

// times sorts what it is given. The p-th percentile is the smallest value that
// at least p % do not exceed.
func times(ms []float64) Times {
	n := len(ms)
	if n == 0 {
		return Times{}
	}
	slices.Sort(ms)
	rank := func(p int) float64 { return ms[(n*p+99)/100-1] }
	return Times{Count: n, P50: rank(50), P99: rank(99), Max: ms[n-1]}
}

// Back is how long after the moment of regained or kept every node was at the
// head and voted.
type Back struct {
	Step   int     `json:"step"`
	Kind   Kind    `json:"kind"`
	Millis float64 `json:"millis"`
}

// ByKind are the figures of one kind of fault.
type ByKind struct {
	Faults int   `json:"faults"`
	After  Times `json:"finalityAfter"`  // regained or kept
	During Times `json:"finalityDuring"` // while it lasts and leaves a quorum
	Back   Times `json:"allBack"`
}

// Slow is a measured time above the limit.
type Slow struct {
	Recovery
	Story string `json:"story"` // the fault, who took part, and what the machine did
}

// Summary is what a run has shown so far, over all its calls.
type Summary struct {
	Result     string          `json:"result"` // ok, slow, failed or interrupted
	Failure    string          `json:"failure,omitempty"`
	Seed       uint64          `json:"seed"`
	Validators int             `json:"validators"`
	Partitions bool            `json:"partitions"`
	Seconds    float64         `json:"seconds"`
	Runs       int             `json:"runs"`
	Steps      int             `json:"steps"`
	Blocks     int             `json:"blocks"`
	Transfers  int             `json:"finalTransfers"`
	Limit      float64         `json:"limitMillis"`
	Recovery   map[Phase]Times `json:"recovery"`
	Start      Times           `json:"start"`   // of regained: from the fault's end until a quorum answers JSON-RPC
	Back       Times           `json:"allBack"` // until every node is at the head and votes
	Kinds      map[Kind]ByKind `json:"kinds"`
	Slow       []Slow          `json:"slow"`         // above the limit
	CPU        float64         `json:"cpuPressure"`  // of this call: part of the time in which something waited for a processor, 0 to 1
	Disk       float64         `json:"diskPressure"` // … for the disk
	Machine    testnet.Machine `json:"machine"`
	Dir        string          `json:"dir"`
}

func (r *run) summary(interrupted bool) Summary {
	blocks, finals := 0, 0
	if r.rec != nil {
		blocks, finals = r.rec.size()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Summary{
		Result: "ok", Failure: r.Failure, Seed: r.Seed, Validators: r.Validators, Partitions: r.ID != "",
		Seconds: r.Seconds, Runs: r.Runs, Steps: r.Step, Blocks: max(0, blocks-1), Transfers: finals,
		Limit: millis(r.limit), Kinds: map[Kind]ByKind{}, Slow: []Slow{}, Dir: r.dir,
	}
	s.measured(r.Recoveries, r.Backs)
	s.CPU, s.Disk = r.machine.waited(time.Time{})
	for kind, n := range r.Faults {
		k := s.Kinds[kind]
		k.Faults = n
		s.Kinds[kind] = k
	}
	for _, m := range r.Recoveries {
		if m.Millis > s.Limit {
			s.Slow = append(s.Slow, Slow{m, r.story(m)})
		}
	}
	switch {
	case s.Failure != "":
		s.Result = "failed"
	case interrupted:
		s.Result = "interrupted"
	case len(s.Slow) > 0:
		s.Result = "slow"
	}
	return s
}

// measured fills in all the figures.
func (s *Summary) measured(list []Recovery, backs []Back) {
	var start, back []float64
	phases := map[Phase][]float64{}
	after, during, byKind := map[Kind][]float64{}, map[Kind][]float64{}, map[Kind][]float64{}
	for _, m := range list {
		phases[m.Phase] = append(phases[m.Phase], m.Millis)
		if m.Phase == During {
			during[m.Kind] = append(during[m.Kind], m.Millis)
			continue
		}
		after[m.Kind] = append(after[m.Kind], m.Millis)
		if m.Phase == Regained {
			start = append(start, m.Start)
		}
	}
	for _, b := range backs {
		back = append(back, b.Millis)
		byKind[b.Kind] = append(byKind[b.Kind], b.Millis)
	}
	s.Recovery, s.Start, s.Back = map[Phase]Times{}, times(start), times(back)
	for p, ms := range phases {
		s.Recovery[p] = times(ms)
	}
	for _, kind := range append(slices.Clone(processKinds), partitionKinds...) {
		k := ByKind{After: times(after[kind]), During: times(during[kind]), Back: times(byKind[kind])}
		if k != (ByKind{}) {
			s.Kinds[kind] = k
		}
	}
}

// String is the report: one screen.
func (s Summary) String() string {
	var b strings.Builder
	partitions := "with partitions"
	if !s.Partitions {
		partitions = "WITHOUT partitions"
	}
	fmt.Fprintf(&b, "%s: seed %d, %d validators, %s, %.1f minutes in %d calls: %d faults, %d blocks, %d final transfers\n",
		strings.ToUpper(s.Result), s.Seed, s.Validators, partitions, s.Seconds/60, s.Runs, s.Steps, s.Blocks, s.Transfers)
	switch s.Result {
	case "failed":
		fmt.Fprintf(&b, "FAILURE: %s\n", s.Failure)
	case "interrupted":
		b.WriteString("the last check of all blocks and receipts is still to come: the same command goes on\n")
	default:
		b.WriteString("every block and state root is the same on all nodes, every final transfer has its receipt, all balances are right to the wei\n")
	}
	fmt.Fprintf(&b, "%d CPUs, %s: something waited for a processor %.0f %% of the time, for the disk %.0f %%\n", s.Machine.CPUs, s.Machine.Model, 100*s.CPU, 100*s.Disk)
	fmt.Fprintf(&b, "\n%-32s %6s %9s %9s %9s\n", "seconds until", "times", "median", "99 %", "longest")
	row := func(name string, t Times) {
		fmt.Fprintf(&b, "%-32s %6d %9.2f %9.2f %9.2f\n", name, t.Count, t.P50/1000, t.P99/1000, t.Max/1000)
	}
	row("final, quorum regained", s.Recovery[Regained])
	row("final, quorum kept", s.Recovery[Kept])
	row("final, during a fault", s.Recovery[During])
	row("a lost quorum answers JSON-RPC", s.Start)
	row("all nodes at the head and voting", s.Back)
	fmt.Fprintf(&b, "\n%-14s %6s  %-19s %-19s %-19s\n", "fault", "times", "final after", "final during", "all back")
	for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
		k := s.Kinds[kind]
		fmt.Fprintf(&b, "%-14s %6d  %s %s %s\n", kind, k.Faults, span(k.After), span(k.During), span(k.Back))
	}
	if n := len(s.Slow); n == 0 {
		fmt.Fprintf(&b, "\nfinality never took longer than %.1f s\n", s.Limit/1000)
	} else {
		fmt.Fprintf(&b, "\nfinality took longer than %.1f s %d times:\n", s.Limit/1000, n)
		for _, one := range s.Slow {
			fmt.Fprintf(&b, "  %s\n", one.Story)
		}
	}
	return b.String()
}

// span is median and longest, in seconds.
func span(t Times) string {
	if t.Count == 0 {
		return fmt.Sprintf("%-19s", "-")
	}
	return fmt.Sprintf("%-19s", fmt.Sprintf("%.2f to %.2f", t.P50/1000, t.Max/1000))
}

// print writes the report to a file beside the state, and to out or, as JSON, to
// stdout.
func (s Summary) print(out io.Writer, asJSON bool) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if err := os.WriteFile(filepath.Join(s.Dir, reportFile), raw, 0o644); err != nil {
		return err
	}
	if asJSON {
		_, err = os.Stdout.Write(raw)
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s", s)
	return err
}

// tooSlow is the error of a run whose finality came back too late.
func (s Summary) tooSlow(limit time.Duration) error {
	if len(s.Slow) == 0 {
		return nil
	}
	return fmt.Errorf("finality took longer than %s %d times; everything is kept in %s", limit, len(s.Slow), s.Dir)
}
