package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"cairn/crypto"
)

// moreThanAnyDisk is a reserve in MiB that is never free.
const moreThanAnyDisk = 1 << 24

// reserveOf sets what a running node keeps free, and has it look at the disk.
func (c *cluster) reserveOf(i int, bytes uint64) {
	c.t.Helper()
	c.own(i, func(d *driver) {
		d.reserve = bytes
		if err := d.watchSpace(); err != nil {
			c.t.Error(err)
		}
	})
}

// readsOnlyAt checks that a node neither follows nor takes transactions, says so,
// and answers reads, while the others go on.
func (c *cluster) readsOnlyAt(i int, others ...int) {
	c.t.Helper()
	r := c.nodes[i]
	before, disk := c.height(i), r.store.Metrics().LogBytes
	for k := range 5 {
		c.pay(others[k%len(others)], k%4, others...)
	}
	c.await(fmt.Sprintf("node %d hears that it is behind", i), func() bool { return r.Status().Peers >= len(others) })
	if err := r.driver.submit(context.Background(), c.transfer(0, crypto.Address{19: 8})); !errors.Is(err, ErrNoRoom) {
		c.t.Errorf("a transaction: %v, want ErrNoRoom", err)
	}
	c.nonce[c.keys[0].Address()]--
	s := r.Status()
	if s.Voting || s.Healthy || !strings.Contains(strings.Join(s.Problems, "; "), "reads only") {
		c.t.Errorf("status: %+v", s)
	}
	if got := c.height(i); got != before {
		c.t.Errorf("height %d before, %d now: it follows", before, got)
	}
	if grown := r.store.Metrics().LogBytes - disk; grown != 0 {
		c.t.Errorf("its log grew by %d bytes", grown)
	}
	if _, err := r.driver.ledger.BlockByHeight(before); err != nil {
		c.t.Errorf("a read: %v", err)
	}
	if _, err := r.driver.ledger.Account(c.keys[0].Address()); err != nil {
		c.t.Errorf("a read: %v", err)
	}
}

// TestNoRoom: a start below the reserve, and less than half of it while running,
// leaves reads only; when there is room the node follows, votes and takes
// transactions again by itself. Between half and all of it the node follows and
// does not vote.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)

	c.stop(3)
	c.tune = func(i int, cfg *Config) {
		if i == 3 {
			cfg.Store.ReserveMiB = moreThanAnyDisk
		}
	}
	c.start(3)
	c.readsOnlyAt(3, 0, 1, 2)
	c.reserveOf(3, 1)
	c.await("node 3 votes again", func() bool { return c.nodes[3].Status().Voting })
	c.pay(3, 0, 0, 1, 2, 3)

	c.reserveOf(3, math.MaxUint64)
	c.readsOnlyAt(3, 0, 1, 2)
	c.reserveOf(3, 1)
	c.pay(3, 1, 0, 1, 2, 3)

	free, err := c.nodes[3].store.FreeBytes()
	if err != nil {
		t.Fatal(err)
	}
	c.reserveOf(3, free+free/2)
	c.pay(3, 2, 0, 1, 2, 3)
	if s := c.nodes[3].Status(); s.Voting || s.Healthy || !strings.Contains(strings.Join(s.Problems, "; "), "does not vote") {
		t.Errorf("below the reserve: %+v", s)
	}
	c.reserveOf(3, 1)

	// It is needed now: with one of the others gone nothing is final without it.
	c.stop(0)
	c.pay(3, 3, 1, 2, 3)
	c.sameChain()
	if s := c.nodes[3].Status(); !s.Healthy {
		t.Errorf("with room: %+v", s)
	}
}
