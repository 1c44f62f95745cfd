package blocksync_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"cairn/ledger/chain"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// stripper is a peer that leaves out every finalization that it can: an answer of
// it is proven by that of a descendant as far above as may be.
type stripper struct {
	t     testing.TB
	chain *lighttest.Chain
	reach uint64 // headers of descendants, at most

	mu     sync.Mutex
	proofs map[uint64]bool // heights whose finalization it gave
}

func (s *stripper) answer(_ context.Context, name string, request, honest []byte) ([]byte, error) {
	if name != blocksync.RequestBlocks {
		return honest, nil
	}
	q, err := blocksync.DecodeBlocksRequest(request)
	check(s.t, err)
	a, err := blocksync.DecodeBlocksAnswer(honest, &s.chain.Spec.Rules)
	check(s.t, err)
	for i := range a.Blocks {
		if b, err := chain.DecodeBlock(a.Blocks[i].Body, &s.chain.Spec.Rules); err != nil || !chain.IsClosing(b.Header()) {
			a.Blocks[i].Finalization = nil
		}
	}
	n := len(a.Blocks)
	if a.Headers, a.Finalization = nil, nil; n == 0 || len(a.Blocks[n-1].Finalization) > 0 {
		return fetch.Encode(a), nil
	}
	last := q.From + uint64(n) - 1
	_, epoch, err := s.chain.Ledger.ValidatorsAt(last)
	check(s.t, err)
	var headers [][]byte
	for h := last; h <= min(last+s.reach, s.chain.Ledger.HeadInfo().Height); h++ {
		header, err := s.chain.Ledger.HeaderByHeight(h)
		check(s.t, err)
		if extra, err := chain.DecodeExtra(header); err != nil || extra.Epoch != epoch {
			break
		}
		if h > last {
			headers = append(headers, chain.EncodeHeader(header))
		}
		if raw, err := s.chain.Ledger.Certificate(h); err == nil && len(raw) > 0 {
			a.Headers, a.Finalization = headers, raw
			if h == last {
				a.Blocks[n-1].Finalization, a.Finalization = raw, nil
			}
		}
	}
	if len(a.Headers) > 0 {
		a.Blocks[n-1].Finalization = nil
		s.mu.Lock()
		s.proofs[last+uint64(len(a.Headers))] = true
		s.mu.Unlock()
	}
	return fetch.Encode(a), nil
}

// TestStripped: from a peer alone that leaves out every finalization that it can,
// a node joins whole and keeps those that it had to give. So another one joins
// from it.
func TestStripped(t *testing.T) {
	t.Parallel()
	c := grown(t, 120)
	synctest.Test(t, func(t *testing.T) {
		s := &stripper{t: t, chain: c, reach: 30, proofs: make(map[uint64]bool)}
		w := newWorld(c.Ledger, "stripper")
		w.Answers("stripper", s.answer)
		j := newJoiner(t, c, w, nil)
		check(t, j.join(t.Context(), c))
		if a, b := j.ledger.HeadInfo().Hash, c.Ledger.HeadInfo().Hash; a != b {
			t.Fatalf("joined at %s, want %s", a, b)
		}
		if len(s.proofs) == 0 || len(w.Liars()) > 0 {
			t.Fatalf("gave %v, lied %v", s.proofs, w.Liars())
		}
		for h := range s.proofs {
			if raw, err := j.ledger.Certificate(h); err != nil || len(raw) == 0 {
				t.Errorf("the finalization of height %d was given and not kept: %v", h, err)
			}
		}
		if raw, err := j.ledger.Certificate(c.Ledger.HeadInfo().Height); err != nil || len(raw) == 0 {
			t.Errorf("the head has no finalization: %v", err)
		}
		from := newWorld(j.ledger, "joined")
		second := newJoiner(t, c, from, nil)
		check(t, second.join(t.Context(), c))
		if a, b := second.ledger.HeadInfo().Hash, c.Ledger.HeadInfo().Hash; a != b || len(from.Liars()) > 0 {
			t.Errorf("from the one that joined so: %s, want %s, lied %v", a, b, from.Liars())
		}
	})
}

// TestStrippedLast: who is known to leave finalizations out is not asked while
// another peer has more.
func TestStrippedLast(t *testing.T) {
	t.Parallel()
	c := grown(t, 120)
	synctest.Test(t, func(t *testing.T) {
		s := &stripper{t: t, chain: c, reach: 30, proofs: make(map[uint64]bool)}
		w := newWorld(c.Ledger, "stripper", "honest")
		w.Answers("stripper", s.answer)
		j := newJoiner(t, c, w, nil)
		check(t, j.join(t.Context(), c))
		if len(s.proofs) == 0 {
			t.Fatal("was never asked")
		}
		clear(s.proofs)
		again := newJoiner(t, c, w, nil)
		again.pool, again.sets = j.pool, j.sets
		check(t, again.join(t.Context(), c))
		again.same(c)
		if len(s.proofs) > 0 {
			t.Errorf("was asked again: %v", s.proofs)
		}
	})
}

// TestUnproven: a stretch without any finalization that is longer than the headers
// of one proof cannot be had in ranges. The join says so, keeps what is below it,
// and holds nobody to have lied.
func TestUnproven(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 1)
	c.Seal(c.Transfer(0))
	b := c.Build(nil)
	for range light.MaxDescendants {
		b = c.Build(b)
	}
	c.Finalize(c.Build(b)) // one more than a proof reaches
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(c.Ledger, "a", "b")
		j := newJoiner(t, c, w, nil)
		if err := j.join(t.Context(), c); !errors.Is(err, fetch.ErrNobody) || !errors.Is(err, fetch.ErrAbsent) {
			t.Errorf("%v", err)
		}
		if at := j.ledger.HeadInfo().Height; at != 1 || len(w.Liars()) > 0 {
			t.Errorf("at height %d, lied %v", at, w.Liars())
		}
	})
}
