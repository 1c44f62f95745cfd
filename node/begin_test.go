package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/consensus"
)

// copied makes the key of node i one that was copied by hand: nothing in the home
// tells where it comes from.
func (c *cluster) copied(i int) {
	c.t.Helper()
	for _, name := range []string{InstanceFile, newInstanceFile, DataDir} {
		if err := os.RemoveAll(filepath.Join(c.homes[i], name)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestCopiedKey: a key that was copied into an empty home observes before it
// votes, in a network that runs.
func TestCopiedKey(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	for i := range 3 {
		c.pay(i, i, 0, 1, 2, 3)
	}
	c.stop(3)
	c.copied(3)
	c.start(3)
	c.observes(3, doubtUnknown)
	if s := c.nodes[3].Status(); !s.Observing {
		t.Errorf("status: %+v", s)
	}
	c.await("node 0 hears that node 3 signs nothing", func() bool {
		p := c.nodes[0].presence(t.Context(), c.ids[3:])[0]
		return p.Connected && p.Answered && !p.Signs
	})
	c.votesAgain(1)
}

// TestCopiedKeysBegin: a network whose keys all came by hand begins by itself,
// and goes on after a restart of all.
func TestCopiedKeysBegin(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 0, nil)
	for i := range 4 {
		c.copied(i)
		c.start(i)
	}
	for i := range 4 {
		c.await("node votes", func() bool { return c.votes(i) })
	}
	c.pay(0, 0, 0, 1, 2, 3)
	for i := range 4 {
		c.stop(i)
	}
	for i := range 4 {
		c.start(i)
		if !c.votes(i) {
			t.Errorf("node %d does not vote after a plain restart: %+v", i, c.nodes[i].Status())
		}
	}
	c.pay(0, 1, 0, 1, 2, 3)
	c.noEvidence()
}

// TestCopiedKeyLate: the others have begun and wait for work; a copied key joins
// them in the first view, and is needed.
func TestCopiedKeyLate(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 0, nil)
	c.copied(3)
	c.startFirst(3)
	c.start(3)
	c.await("node 3 votes", func() bool { return c.votes(3) })
	c.stop(0)
	c.pay(1, 0, 1, 2, 3)
	c.noEvidence()
}

// TestCopiedKeyFew: where too few others can tell, the operator decides.
func TestCopiedKeyFew(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		c := newCluster(t, n, 0, nil)
		c.copied(0)
		c.startFirst(n)
		c.observes(0, "cairnd db reset-votes")
		c.stop(0)
		if r, err := ResetVotes(c.homes[0], false); err != nil || r.Why != doubtUnknown {
			t.Fatalf("reset: %+v, %v", r, err)
		}
		c.start(0)
		if !c.votes(0) {
			t.Errorf("it observes after a reset: %+v", c.nodes[0].Status())
		}
		c.connected(n - 1)
		c.pay(0, 0, 0)
	}
}

// TestObserversAreNotAsked: the view of a member that has forgotten its own says
// nothing about ours.
func TestObserversAreNotAsked(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 0, nil)
	c.copied(0)
	c.start(0)
	d := c.nodes[0].driver
	for _, tc := range []struct {
		signs bool
		want  int
	}{{false, 0}, {true, 3}} {
		now := d.era.Load()
		for from := range now.addrs {
			if from != now.self {
				d.deliver(t.Context(), &viewReport{era: now, from: from, view: 5, signs: tc.signs})
			}
		}
		c.own(0, func(d *driver) {
			if got := d.core.Status().Reports; got != tc.want {
				t.Errorf("members that sign %t: %d reports count, want %d", tc.signs, got, tc.want)
			}
		})
	}
}

// TestBeganTogether: one member that is further, even beside a quorum that is not, or
// too few in the first view, and the network is not one that begins.
func TestBeganTogether(t *testing.T) {
	t.Parallel()
	for n, not := range map[int][][]uint64{
		4: {{1, 1}, {1, 1, 2}, {5, 1, 1}, {2, 2, 2}},
		7: {{1, 1, 1, 1}, {2, 1, 1, 1, 1, 1}},
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			testBeganTogether(t, n, not)
		})
	}
}

func testBeganTogether(t *testing.T, n int, not [][]uint64) {
	c := newCluster(t, n, 0, nil)
	c.copied(0)
	c.start(0)
	d := c.nodes[0].driver
	now := d.era.Load()
	tell := func(views ...uint64) {
		t.Helper()
		c.own(0, func(d *driver) {
			d.beginners = nil
			for i, v := range views {
				if err := d.beganTogether(&viewReport{era: now, from: i + 1, view: v}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, views := range not {
		tell(views...)
		if c.votes(0) {
			t.Fatalf("others in views %v, and it votes", views)
		}
	}
	tell(slices.Repeat([]uint64{1}, consensus.Quorum(n))...)
	if !c.votes(0) {
		t.Errorf("a quorum of others in the first view: %+v", c.nodes[0].Status())
	}
	raw, err := os.ReadFile(filepath.Join(c.homes[0], InstanceFile))
	if err != nil || len(strings.Fields(string(raw))) != 1 {
		t.Errorf("instance file %q, %v", raw, err)
	}
	if s := d.state.Load(); s.View != 1 || s.Observing {
		t.Errorf("state %+v", s.Status)
	}
}
