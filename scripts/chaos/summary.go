//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

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

// Summary is what a run has shown so far, over all its calls.
type Summary struct {
	Seed       uint64          `json:"seed"`
	Validators int             `json:"validators"`
	Partitions bool            `json:"partitions"`
	Seconds    float64         `json:"seconds"`
	Runs       int             `json:"runs"`
	Steps      int             `json:"steps"`
	Faults     map[Kind]int    `json:"faults"`
	Blocks     int             `json:"blocks"`
	Transfers  int             `json:"finalTransfers"`
	Limit      float64         `json:"limitMillis"`
	Recovery   map[Phase]Times `json:"recovery"`
	Back       Times           `json:"allBack"`        // until every node is at the head and votes
	Slow       []Recovery      `json:"slow,omitempty"` // above the limit
	Result     string          `json:"result"`         // ok, slow, failed or interrupted
	Failure    string          `json:"failure,omitempty"`
	Dir        string          `json:"dir"`
}

func (r *run) summary() Summary {
	blocks, finals := 0, 0
	if r.rec != nil {
		blocks, finals = r.rec.size()
	}
	s := Summary{
		Seed: r.Seed, Validators: r.Validators, Partitions: r.ID != "", Seconds: r.Seconds, Runs: r.Runs, Steps: r.Step,
		Faults: r.Faults, Blocks: max(0, blocks-1), Transfers: finals, Limit: millis(r.limit), Dir: r.dir,
	}
	s.Recovery, s.Slow = recoveries(r.Recoveries, r.limit)
	s.Back = times(slices.Clone(r.Backs))
	s.Failure, s.Result = r.Failure, "ok"
	if len(s.Slow) > 0 {
		s.Result = "slow"
	}
	if s.Failure != "" {
		s.Result = "failed"
	}
	return s
}

func recoveries(list []Recovery, limit time.Duration) (by map[Phase]Times, slow []Recovery) {
	values := map[Phase][]float64{}
	for _, m := range list {
		values[m.Phase] = append(values[m.Phase], m.Millis)
		if m.Millis > millis(limit) {
			slow = append(slow, m)
		}
	}
	by = map[Phase]Times{}
	for p, v := range values {
		by[p] = times(v)
	}
	return by, slow
}

// String is the one last line that a run prints.
func (s Summary) String() string {
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(s.Faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, s.Faults[k]))
	}
	var phases []string
	for _, p := range []Phase{Regained, Kept, During} {
		if t, ok := s.Recovery[p]; ok {
			phases = append(phases, fmt.Sprintf("%s %d: p50 %.0f ms, p99 %.0f ms, max %.0f ms", p, t.Count, t.P50, t.P99, t.Max))
		}
	}
	text := fmt.Sprintf("%s: seed %d, %d validators, %.1f min, %d faults (%s); %d blocks, %d final transfers; finality %s; %d above %.1f s; all back p50 %.0f ms, max %.0f ms",
		s.Result, s.Seed, s.Validators, s.Seconds/60, s.Steps, strings.Join(kinds, ", "), s.Blocks, s.Transfers,
		strings.Join(phases, "; "), len(s.Slow), s.Limit/1000, s.Back.P50, s.Back.Max)
	if s.Failure != "" {
		text += "; " + strings.ReplaceAll(s.Failure, "\n", " | ")
	}
	return text
}
