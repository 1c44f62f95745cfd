package node

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/crypto"
	"cairn/p2p"
)

// TestDeaf: who left a request unanswered is asked last for a while, and in turn
// again once it answers or the time is over.
func TestDeaf(t *testing.T) {
	t.Parallel()
	var s deaf
	now := time.Unix(1000, 0)
	all := []peer.ID{"a", "b", "c", "d"}
	for _, step := range []struct {
		peer     peer.ID
		name     string
		answered bool
		after    time.Duration
		want     []peer.ID
	}{
		{"b", requestBlock, true, 0, []peer.ID{"a", "b", "c", "d"}},
		{"b", requestBlock, false, 0, []peer.ID{"a", "c", "d", "b"}},
		{"a", requestBlock, false, time.Second, []peer.ID{"c", "d", "a", "b"}},
		{"b", requestStatus, true, time.Second, []peer.ID{"c", "d", "a", "b"}},
		{"b", requestBlock, true, time.Second, []peer.ID{"b", "c", "d", "a"}},
		{"c", requestBlock, true, deafFor, []peer.ID{"a", "b", "c", "d"}},
	} {
		now = now.Add(step.after)
		s.judge(step.peer, step.name, step.answered, now)
		if got := s.last(all, now); !slices.Equal(got, step.want) {
			t.Errorf("%s answered %s %t: %v, want %v", step.peer, step.name, step.answered, got, step.want)
		}
	}
	if len(s.known) != 0 {
		t.Errorf("remembered for ever: %v", s.known)
	}
}

// TestLastTry: however many answer and have nothing, one of those who left a
// request unanswered is among the few that are asked.
func TestLastTry(t *testing.T) {
	t.Parallel()
	var s deaf
	now := time.Unix(1000, 0)
	all := []peer.ID{"a", "b", "c", "d", "e", "f"}
	for _, step := range []struct {
		deaf []peer.ID
		most int
		want []peer.ID
	}{
		{nil, 3, []peer.ID{"a", "b", "c"}},
		{[]peer.ID{"b"}, 3, []peer.ID{"a", "c", "b"}},
		{[]peer.ID{"a", "b"}, 3, []peer.ID{"c", "d", "a"}},
		{[]peer.ID{"a", "b"}, 5, []peer.ID{"c", "d", "e", "f", "a"}},
		{[]peer.ID{"a", "b", "c", "d", "e"}, 3, []peer.ID{"f", "a", "b"}},
		{all, 3, []peer.ID{"a", "b", "c"}},
		{[]peer.ID{"a"}, 6, []peer.ID{"b", "c", "d", "e", "f", "a"}},
	} {
		s.known = nil
		for _, p := range step.deaf {
			s.judge(p, requestBlock, false, now)
		}
		if got := s.tries(s.last(all, now), step.most, now); !slices.Equal(got, step.want) {
			t.Errorf("of %v deaf, %d tries: %v, want %v", step.deaf, step.most, got, step.want)
		}
	}
}

// besideHung is a full node, 1, beside the validator that answers it and a peer
// that leaves its requests of a name unanswered.
func besideHung(t *testing.T, name string) *cluster {
	t.Helper()
	c := newCluster(t, 1, 1, nil)
	c.start(0)
	c.start(1)
	c.pay(0, 0, 0, 1)
	hangs := func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.liar(p2p.Handlers{Requests: map[string]p2p.Request{name: hangs}}, 1)
	c.await("node 1 has both peers", func() bool { return len(c.nodes[1].driver.askable()) == 2 })
	return c
}

// TestHungPeer: a peer that is connected and answers nothing is not asked first
// for every block of a walk.
func TestHungPeer(t *testing.T) {
	t.Parallel()
	c := besideHung(t, requestBlock)
	d, honest := c.nodes[1].driver, c.nodes[0].host.ID()
	for _, p := range d.askable() {
		if p != honest {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if _, err := d.ask(ctx, p, requestBlock, make([]byte, crypto.HashLength)); err == nil {
				t.Error("an answer of a peer that hangs")
			}
			d.sync.heard(p)
		}
	}
	for range 20 {
		if ps := d.sync.heardFirst(d.askable()); ps[0] != honest {
			t.Fatalf("asks %v, and %s answers", ps, honest)
		}
	}
}
