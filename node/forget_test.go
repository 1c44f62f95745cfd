package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cairn/consensus"
)

// loses deletes the database of a stopped node.
func (c *cluster) loses(i int) {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.homes[i], DataDir)); err != nil {
		c.t.Fatal(err)
	}
}

// TestForgottenVotesComeBack: a validator of two whose votes were reset is sent a
// vote that it cast and forgot. It is bound by it, and is no twin of itself; when
// its memory is whole, an unknown vote is another process's again.
func TestForgottenVotesComeBack(t *testing.T) {
	t.Parallel()
	c := running(t, 2, 0, nil)
	c.pay(0, 0, 0, 1)
	c.stop(0)
	c.loses(0)
	c.start(0)
	c.await("node 0 has what is final", func() bool { return c.height(0) == c.height(1) })
	c.observes(0, "cairnd db reset-votes")
	c.stop(0)
	if r, err := ResetVotes(c.homes[0], false); err != nil || r.Why == "" {
		t.Fatalf("reset: %+v, %v", r, err)
	}
	c.start(0)
	d := c.nodes[0].driver
	forgotten := func(ahead uint64) bool {
		now, state := d.era.Load(), d.state.Load()
		v := consensus.Vote{Subject: consensus.Subject{Kind: consensus.Nullify, View: state.View + ahead}, Signer: uint16(now.self)}
		v.Signature = d.key.Sign(v.Digest(d.net))
		d.deliver(t.Context(), consensus.VoteReceived{From: 1, Vote: v})
		found := false
		c.own(0, func(d *driver) {
			records, err := loadVoteLog(d.store)
			for _, r := range records {
				found = found || r.Vote != nil && r.Vote.Subject == v.Subject
			}
			found = found && err == nil
		})
		return found
	}
	if !forgotten(1) || !c.votes(0) {
		t.Fatalf("a forgotten vote is not taken over: %+v", c.nodes[0].Status())
	}
	c.connected(1)
	c.payUntil(0, "its memory is whole", func() bool {
		s := d.state.Load()
		return !s.Forgetful
	})
	c.stop(0)
	c.start(0)
	if d = c.nodes[0].driver; d.state.Load().Forgetful || !c.votes(0) {
		t.Errorf("a plain restart after it: %+v", c.nodes[0].Status())
	}
	if forgotten(7); c.votes(0) {
		t.Error("it votes on beside another process")
	}
	c.noEvidence()
}

// TestTooManyObserve: two of four lose their databases. Nothing becomes final, so
// neither can ever learn enough; the operators' word for one of them mends both.
func TestTooManyObserve(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	for i := range 2 {
		c.stop(i)
		c.loses(i)
	}
	for i := range 2 {
		c.start(i)
		c.observes(i, "deleted")
	}
	c.await("both have what is final", func() bool { return c.height(0) == c.height(2) && c.height(1) == c.height(2) })
	c.stop(0)
	if _, err := ResetVotes(c.homes[0], false); !errors.Is(err, ErrObserves) {
		t.Errorf("reset without saying that the network is stuck: %v", err)
	}
	if _, err := ResetVotes(c.homes[0], true); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.connected(3)
	c.payUntil(2, "the other one votes again by itself", func() bool { return c.votes(1) })
	c.noEvidence()
	c.sameChain()
}
