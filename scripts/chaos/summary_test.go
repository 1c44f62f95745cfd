//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// testRun has had three faults, and one recovery above the limit.
func testRun(t *testing.T) *run {
	t.Helper()
	r := &run{settings: settings{dir: t.TempDir(), limit: 5 * time.Second}, machine: &machine{}}
	r.state = state{Seed: 2, Validators: 7, Kinds: everyKind, Step: 3, Runs: 1, Seconds: 90, ID: "abc", Faults: map[Kind]int{Halves: 2, Kill: 1}}
	r.Recoveries = []Recovery{
		{Step: 0, Kind: Halves, Phase: Regained, Millis: 10, Start: 4},
		{Step: 1, Kind: Kill, Phase: Kept, Millis: 5001, Stall: 800, CPU: 0.93, Nodes: []int{0, 1, 2, 3, 4}},
		{Step: 1, Kind: Kill, Phase: During, Millis: 7},
		{Step: 2, Kind: Halves, Phase: Regained, Millis: 30, Start: 8},
	}
	r.Backs = []Back{{0, Halves, 40}, {1, Kill, 9000}, {2, Halves, 60}}
	return r
}

func TestSummary(t *testing.T) {
	t.Parallel()
	s := testRun(t).summary(false)
	if want := (Times{Count: 2, P50: 10, P99: 30, Max: 30}); s.Recovery[Regained] != want || s.Kinds[Halves].After != want {
		t.Errorf("regained %+v, halves %+v, want %+v", s.Recovery[Regained], s.Kinds[Halves].After, want)
	}
	if s.Recovery[Kept].Max != 5001 || s.Kinds[Kill].During.Max != 7 || s.Back.Max != 9000 || s.Start.Max != 8 || s.Kinds[Halves].Faults != 2 {
		t.Errorf("summary: %+v", s)
	}
	if s.Result != "slow" || len(s.Slow) != 1 || s.tooSlow(5*time.Second) == nil {
		t.Fatalf("result %s, slow %+v", s.Result, s.Slow)
	}
	for _, want := range []string{"kept: final after 5.00s", "nodes 0 1 2 3 4", "up to 0.80s", "processor 93 %", "step 1: "} {
		if !strings.Contains(s.Slow[0].Story, want) || !strings.Contains(s.String(), s.Slow[0].Story) {
			t.Errorf("no %q in %q, or that is not in the report", want, s.Slow[0].Story)
		}
	}
	if lines := strings.Count(s.String(), "\n"); lines > 40 {
		t.Errorf("the report has %d lines", lines)
	}
}

// TestSummaryResult: what went wrong is never told as a success.
func TestSummaryResult(t *testing.T) {
	t.Parallel()
	r := testRun(t)
	if s := r.summary(true); s.Result != "interrupted" || strings.Contains(s.String(), "every block and state root is the same") {
		t.Errorf("interrupted: %s", s)
	}
	r.Failure = "divergence at height 5"
	for _, interrupted := range []bool{false, true} {
		if s := r.summary(interrupted); s.Result != "failed" || !strings.Contains(s.String(), r.Failure) || strings.Contains(s.String(), "every block and state root is the same") {
			t.Errorf("failed: %s", s)
		}
	}
	r = testRun(t)
	r.ID, r.limit = "", time.Minute
	s := r.summary(false)
	if s.Result != "ok" || s.tooSlow(time.Minute) != nil || !strings.Contains(s.String(), "WITHOUT partitions") {
		t.Errorf("without partitions: %s", s)
	}
}

func TestReportFile(t *testing.T) {
	t.Parallel()
	s := testRun(t).summary(false)
	var out strings.Builder
	if err := s.print(&out, false); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	var again Summary
	if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%v: %+v, was %+v", err, again, s)
	}
}

func TestStalls(t *testing.T) {
	t.Parallel()
	var m machine
	at := time.Now()
	m.stalled(at, stallNoted-1) // too short
	m.stalled(at.Add(time.Second), 300*time.Millisecond)
	m.stalled(at.Add(2*time.Second), 200*time.Millisecond)
	for since, want := range map[time.Duration]time.Duration{
		0: 300 * time.Millisecond, time.Second: 200 * time.Millisecond, 2 * time.Second: 0,
	} {
		if got := m.longest(at.Add(since)); got != want {
			t.Errorf("since %s: %s, want %s", since, got, want)
		}
	}
	m.stalled(at.Add(3*time.Second+stallMemory), 150*time.Millisecond)
	if len(m.stalls) != 1 {
		t.Errorf("%d stalls are remembered, want 1", len(m.stalls))
	}
}

func TestPressure(t *testing.T) {
	t.Parallel()
	var m machine
	at := time.Now()
	if cpu, disk := m.waited(at); cpu != 0 || disk != 0 {
		t.Errorf("without readings: %v, %v", cpu, disk)
	}
	for i := range 5 { // half of each second until 2 s, then all of it
		d := time.Duration(i)
		m.read(pressure{at: at.Add(d * time.Second), cpu: d*time.Second/2 + max(0, d-2)*time.Second/2, disk: d * time.Second / 10})
	}
	for since, want := range map[time.Duration]float64{-time.Second: 0.75, 2500 * time.Millisecond: 1} {
		if cpu, disk := m.waited(at.Add(since)); cpu != want || disk < 0.099 || disk > 0.101 {
			t.Errorf("since %s: %v and %v, want %v and 0.1", since, cpu, disk, want)
		}
	}
	if cpu, _ := m.waited(time.Time{}); cpu != 0.75 {
		t.Errorf("of all: %v", cpu)
	}
	m.read(pressure{at: at.Add(time.Minute + stallMemory)})
	if len(m.readings) != 1 || m.first == nil {
		t.Errorf("%d readings are remembered, want 1", len(m.readings))
	}
	if p, ok := readPressure(); ok && p.cpu <= 0 { // ok is false where the kernel has none
		t.Errorf("this machine: %+v", p)
	}
}
