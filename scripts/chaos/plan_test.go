//go:build linux

package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

var everyKind = append(slices.Clone(processKinds), partitionKinds...)

// TestPlanIsDeterministic: a step is a function of seed and number alone, so that
// a resumed run goes on with the plan.
func TestPlanIsDeterministic(t *testing.T) {
	t.Parallel()
	var first []Fault
	for step := range 100 {
		first = append(first, draw(7, step, 7, everyKind))
	}
	for step := 99; step >= 0; step-- {
		if f := draw(7, step, 7, everyKind); !reflect.DeepEqual(f, first[step]) {
			t.Fatalf("step %d: %v, then %v", step, first[step], f)
		}
	}
	if reflect.DeepEqual(first[3], draw(8, 3, 7, everyKind)) {
		t.Error("another seed draws the same fault")
	}
}

// TestPlanIsSound: every fault that can be drawn is one that can be carried out.
func TestPlanIsSound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 4, 7, 16} {
		for seed := range uint64(40) {
			met := map[Kind]int{}
			for step := range 2 * len(everyKind) {
				f := draw(seed, step, n, everyKind)
				met[f.Kind]++
				if err := sound(f, n); err != "" {
					t.Fatalf("n %d seed %d: %s: %+v", n, seed, err, f)
				}
			}
			for _, k := range everyKind {
				if met[k] != 2 {
					t.Fatalf("n %d seed %d: %s comes %d times in two rounds", n, seed, k, met[k])
				}
			}
		}
	}
}

func sound(f Fault, n int) string {
	for _, i := range f.Nodes {
		if i < 0 || i >= n {
			return "no such node"
		}
	}
	for _, c := range f.Cuts {
		if c[0] == c[1] || min(c[0], c[1]) < 0 || max(c[0], c[1]) >= n {
			return "no such link"
		}
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(f.Nodes)))
	partition := slices.Contains(partitionKinds, f.Kind)
	switch {
	case len(distinct) != len(f.Nodes):
		return "a node twice"
	case f.Hold < 0 || f.Hold > longCut || !partition && f.Hold > maxPause || f.Rest <= 0 || f.Rest > maxRest:
		return "too long"
	case partition && n > 1 && len(f.Cuts) == 0:
		return "a partition that cuts nothing"
	case !partition && len(f.Nodes) == 0:
		return "nobody is hit"
	case (f.Kind == KillAll || f.Kind == RestartAll) && len(f.Nodes) != n:
		return "not all"
	case f.Kind == KillSeveral && n > 2 && (len(f.Nodes) < 2 || len(f.Nodes) >= n):
		return "not several"
	case f.Kind == KillInCut && (f.Down[0] > f.Down[1] || f.Down[1] > f.Hold):
		return "back before its death"
	case f.Kind == Thirds && n >= 3 && len(f.Groups) != 3:
		return "no thirds"
	case f.Kind == CrashLoop && len(f.Loops) < 2:
		return "no loop"
	}
	return ""
}

func TestClique(t *testing.T) {
	t.Parallel()
	everybody := func(int) bool { return true }
	for _, c := range []struct {
		n    int
		dead []int
		cuts [][2]int
		want []int
	}{
		{4, nil, nil, []int{0, 1, 2, 3}},
		{4, []int{1}, nil, []int{0, 2, 3}},
		{4, []int{0, 1, 2, 3}, nil, nil},
		{4, nil, [][2]int{{2, 3}}, []int{0, 1, 2}}, // one way is enough to part two
		{7, nil, apart([][]int{{0, 1}, {2, 3}, {4, 5, 6}}), []int{4, 5, 6}},
		{7, []int{4, 5}, apart([][]int{{0, 1}, {2, 3}, {4, 5, 6}}), []int{0, 1}},
	} {
		alive := everybody
		if c.dead != nil {
			alive = func(i int) bool { return !slices.Contains(c.dead, i) }
		}
		if got := clique(c.n, alive, c.cuts); !slices.Equal(got, c.want) {
			t.Errorf("n %d dead %v cuts %v: %v, want %v", c.n, c.dead, c.cuts, got, c.want)
		}
	}
}

func TestQuorum(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5, 10: 7, 16: 11} {
		if got := quorum(n); got != want {
			t.Errorf("quorum of %d: %d, want %d", n, got, want)
		}
	}
}

func TestCutRules(t *testing.T) {
	t.Parallel()
	const fresh = "table bridge chaos\ndelete table bridge chaos\n"
	if got := cutRules(nil); got != fresh {
		t.Errorf("no cuts: %q", got)
	}
	got := cutRules([][2]int{{0, 1}, {2, 0}})
	if !strings.HasPrefix(got, fresh) || !strings.Contains(got, "{ 10.77.0.1 . 10.77.0.2, 10.77.0.3 . 10.77.0.1 } drop") {
		t.Errorf("two cuts: %q", got)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	if got := times(nil); got != (Times{}) {
		t.Errorf("no times: %+v", got)
	}
	if got := times([]float64{3, 1, 2}); got != (Times{Count: 3, P50: 2, P99: 3, Max: 3}) {
		t.Errorf("three times: %+v", got)
	}
	var many []float64
	for i := range 200 {
		many = append(many, float64(200-i))
	}
	if got := times(many); got != (Times{Count: 200, P50: 100, P99: 198, Max: 200}) {
		t.Errorf("200 times: %+v", got)
	}
}
