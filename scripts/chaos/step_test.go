//go:build linux

package main

import (
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// runOf is a run whose n nodes are all up, with a record of its own.
func runOf(t *testing.T, n int) *run {
	t.Helper()
	rec, _ := newTestRecord(t)
	r := &run{c: &cluster{}, rec: rec, quorum: quorum(n)}
	for i := range n {
		r.c.nodes = append(r.c.nodes, &node{index: i, cmd: &exec.Cmd{}})
	}
	return r
}

// TestLeft: a node that is killed within a partition is no part of the quorum
// that has to go on, but may be one of those that make a block final.
func TestLeft(t *testing.T) {
	t.Parallel()
	f := Fault{Kind: KillInCut, Nodes: []int{1}, Cuts: apart([][]int{{0}, {1, 2}})}
	r := runOf(t, 3)
	if always, most := r.left(f); len(always) != 1 || most != 2 {
		t.Errorf("three, halves and a kill: %v always, %d at most", always, most)
	}
	r = runOf(t, 4)
	r.c.nodes[2].cmd = nil
	r.c.nodes[3].paused = true
	if always, most := r.left(Fault{Kind: Pause, Nodes: []int{3}}); !slices.Equal(always, []int{0, 1}) || most != 2 {
		t.Errorf("one dead, one paused: %v always, %d at most", always, most)
	}
}

// TestQuiet: only a block that was made after the last quorum is held against a
// network without one, not an older one that is seen late.
func TestQuiet(t *testing.T) {
	t.Parallel()
	lost := time.Unix(1_800_000_000, 700e6)
	for name, c := range map[string]struct {
		kind  Kind
		made  time.Time
		most  int
		alarm bool
	}{
		"made before, seen after":  {Halves, lost.Add(-time.Second), 4, false},
		"within the grace":         {Halves, lost.Add(quietGrace), 4, false},
		"made after":               {Halves, lost.Add(quietGrace + time.Second), 4, true},
		"a quorum was left":        {Halves, lost.Add(quietGrace + time.Second), 5, false},
		"one way, through another": {OneWay, lost.Add(quietGrace + time.Second), 4, false},
	} {
		r := runOf(t, 7)
		mustObserve(t, r.rec, 0, testBlock(0, "genesis", ""))
		b := testBlock(1, "one", "genesis")
		b.Time = hexutil.Uint64(c.made.Unix())
		if err := r.rec.observe(0, b, lost.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := r.quiet(Fault{Kind: c.kind}, c.most, lost); errors.Is(err, errWrong) != c.alarm || (err != nil) != c.alarm {
			t.Errorf("%s: %v", name, err)
		}
	}
}
