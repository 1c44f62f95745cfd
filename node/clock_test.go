package node

import (
	"fmt"
	"testing"
	"time"

	"cairn/crypto"
)

// setClock sets a running node's wall clock wrong.
func (c *cluster) setClock(i int, ahead time.Duration) {
	c.t.Helper()
	c.own(i, func(d *driver) { d.calendar = func() time.Time { return time.Now().Add(ahead) } })
}

// view is where a node's consensus is.
func (c *cluster) view(i int) uint64 { return c.nodes[i].driver.state.Load().View }

// TestClockJumps: a wall clock that jumps by hours, either way, halts nobody: the
// others go on, the node itself follows and its deadlines pass as before. Nothing
// final is dated ahead of the right clocks. What it costs is its own proposals
// while it is ahead and its own votes while it is behind; both come back when the
// clock is right, without a restart.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	for _, ahead := range []time.Duration{3 * time.Hour, -3 * time.Hour, 24 * time.Hour, 0} {
		c.setClock(3, ahead)
		from := c.height(0)
		for k := range 5 {
			c.pay(k%4, k%4, 0, 1, 2, 3)
		}
		limit := time.Now().Add(500 * time.Millisecond)
		for h := from + 1; h <= c.height(0); h++ {
			b, err := c.nodes[0].driver.ledger.BlockByHeight(h)
			if err != nil {
				t.Fatal(err)
			}
			if at := time.UnixMilli(blockFacts(b).Timestamp); at.After(limit) {
				t.Errorf("with node 3 %v ahead: block %d of %s is dated %v after now", ahead, h, b.Coinbase(), time.Until(at))
			}
		}
		if s := c.nodes[3].Status(); !s.Healthy || !s.Voting {
			t.Errorf("with node 3 %v ahead: %+v", ahead, s)
		}
	}

	// Now every vote is needed. Behind, node 3 keeps its votes back from what others
	// propose: their views pass by their deadlines. What it proposes itself is dated
	// just after the parent, and final.
	c.stop(0)
	c.pay(1, 1, 1, 2, 3)
	c.setClock(3, -3*time.Hour)
	tx := c.transfer(2, crypto.Address{19: 9})
	height, view := c.height(1), c.view(3)
	c.submit(1, tx)
	c.await("views pass", func() bool { return c.view(3) >= view+3 || c.final(3, tx) })
	// Of blocks of others that were voted for before the clock changed some may become
	// final only now. None of them holds a transfer that came after it.
	for h := height + 1; h <= c.height(3); h++ {
		b, err := c.nodes[3].driver.ledger.BlockByHeight(h)
		if err != nil {
			t.Fatal(err)
		}
		if b.Coinbase() != c.spec.Validators[3].Address && b.Transaction(tx.Hash()) != nil {
			t.Errorf("block %d of %s is final: a proposal 3 hours ahead of a needed voter's clock did not wait", h, b.Coinbase())
		}
	}
	c.setClock(3, 0)
	for i := 1; i <= 3; i++ {
		c.await(fmt.Sprintf("node %d has the transfer", i), func() bool { return c.final(i, tx) })
	}
	c.sameChain()
	c.noEvidence()
	for i := 1; i <= 3; i++ {
		if s := c.nodes[i].driver.state.Load(); s.Halted != "" || s.LastFinalizedView == 0 || s.Epoch != 0 {
			t.Errorf("node %d: %+v", i, s.Status)
		}
	}
}
