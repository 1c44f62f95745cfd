package blocksync_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// TestJoin: a chain of several epochs is replayed whole, from one peer and from
// several, in batches of blocks.
func TestJoin(t *testing.T) {
	t.Parallel()
	c := grown(t, 60)
	for _, peers := range [][]peer.ID{{"a"}, {"a", "b", "c"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(c.Ledger, peers...)
			j := newJoiner(t, c, w, nil)
			check(t, j.join(t.Context(), c))
			j.same(c)
			for _, p := range peers {
				if w.Asked(p) == 0 {
					t.Errorf("%s of %d was never asked", p, len(peers))
				}
			}
			if j.most < 2 {
				t.Error("blocks come one by one")
			}
		})
	}
}

// TestSlowAndSilent: neither a peer that never answers nor one that takes 15 s
// an answer nor one that always breaks off holds up a join.
func TestSlowAndSilent(t *testing.T) {
	t.Parallel()
	c := grown(t, 60)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(c.Ledger, "silent", "slow", "broken", "good")
		w.Answers("silent", func(ctx context.Context, _ string, _, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.Answers("slow", func(ctx context.Context, _ string, _, honest []byte) ([]byte, error) {
			select {
			case <-time.After(15 * time.Second):
				return honest, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		w.Answers("broken", func(context.Context, string, []byte, []byte) ([]byte, error) { return nil, errGone })
		j := newJoiner(t, c, w, nil)
		begun := time.Now()
		check(t, j.join(t.Context(), c))
		j.same(c)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("took %s", took)
		}
		if len(w.Liars()) > 0 {
			t.Errorf("who is slow has not lied: %v", w.Liars())
		}
		if !errors.Is(w.Failures()["broken"], errGone) {
			t.Errorf("the broken peer: %v", w.Failures()["broken"])
		}
	})
}

// TestPeerGone: the only peer goes in the middle of a join and another comes
// later; the join goes on where it was.
func TestPeerGone(t *testing.T) {
	t.Parallel()
	c := grown(t, 60)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(c.Ledger, "first")
		w.Answers("first", func(_ context.Context, _ string, request, honest []byte) ([]byte, error) {
			if q, err := blocksync.DecodeBlocksRequest(request); err == nil && q.From > 20 {
				return nil, errGone
			}
			return honest, nil
		})
		j := newJoiner(t, c, w, nil)
		if err := j.join(t.Context(), c); !errors.Is(err, fetch.ErrNobody) || !errors.Is(err, errGone) {
			t.Fatalf("with nobody left: %v", err)
		}
		at := j.ledger.HeadInfo().Height
		if at == 0 || at == c.Ledger.HeadInfo().Height {
			t.Fatalf("at height %d, the peer was gone above 20", at)
		}
		w.Set("first", "second")
		check(t, j.join(t.Context(), c))
		j.same(c)
	})
}

// TestHave: a peer that is known to be lower is not asked for what it lacks, and
// one that answers with nothing has not lied.
func TestHave(t *testing.T) {
	t.Parallel()
	c := grown(t, 30)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(c.Ledger, "low", "empty", "good")
		w.Answers("low", func(context.Context, string, []byte, []byte) ([]byte, error) {
			return nil, errors.New("asked for what it does not have")
		})
		w.Answers("empty", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if name == blocksync.RequestEpochs {
				return honest, nil
			}
			return fetch.Encode(&blocksync.BlocksAnswer{}), nil
		})
		j := newJoiner(t, c, w, nil)
		_, epoch := c.Ledger.Validators()
		w.Set("good")
		check(t, j.sets.Walk(t.Context(), j.pool, epoch, nil))
		w.Set("low", "empty", "good")
		cfg := j.config()
		cfg.Have = func(p peer.ID) (uint64, bool) { return 0, p == "low" }
		check(t, blocksync.Run(t.Context(), cfg, 1, c.Ledger.HeadInfo().Height))
		j.same(c)
		if w.Asked("low") > 0 || len(w.Liars()) > 0 || w.Asked("empty") == 0 {
			t.Errorf("asked the low one %d times, the empty one %d times, lied %v", w.Asked("low"), w.Asked("empty"), w.Liars())
		}
	})
}

// TestApplyFails: an error of this node ends a run with that error, and the
// goroutines with it.
func TestApplyFails(t *testing.T) {
	t.Parallel()
	c := grown(t, 30)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(c.Ledger, "a", "b")
		j := newJoiner(t, c, w, nil)
		_, epoch := c.Ledger.Validators()
		check(t, j.sets.Walk(t.Context(), j.pool, epoch, nil))
		cfg, disk := j.config(), errors.New("disk")
		cfg.Apply = func(context.Context, []blocksync.Block) error { return disk }
		if err := blocksync.Run(t.Context(), cfg, 1, c.Ledger.HeadInfo().Height); !errors.Is(err, disk) {
			t.Errorf("error %v", err)
		}
	})
}

// TestUnknownSets: without the walk, a run ends at the closing block of the last
// epoch that is known, and all up to there is kept.
func TestUnknownSets(t *testing.T) {
	t.Parallel()
	c := grown(t, 30)
	end, err := c.Ledger.EpochEnd(0)
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		j := newJoiner(t, c, newWorld(c.Ledger, "a"), nil)
		check(t, blocksync.Run(t.Context(), j.config(), 1, end))
		if at := j.ledger.HeadInfo().Height; at != end {
			t.Errorf("at %d, the epoch ended at %d", at, end)
		}
	})
}

// TestPin: a block that the configuration trusts is the only one at its height
// that is taken, wherever it comes up.
func TestPin(t *testing.T) {
	t.Parallel()
	c := grown(t, 30)
	end, err := c.Ledger.EpochEnd(0)
	check(t, err)
	for _, height := range []uint64{1, 5, end, c.Ledger.HeadInfo().Height} {
		hash, err := c.Ledger.HashByHeight(height)
		check(t, err)
		synctest.Test(t, func(t *testing.T) {
			j := newJoiner(t, c, newWorld(c.Ledger, "a"), &blocksync.Pin{Height: height, Hash: hash})
			check(t, j.join(t.Context(), c))
			j.same(c)
			hash[0] ^= 1
			w := newWorld(c.Ledger, "a")
			j = newJoiner(t, c, w, &blocksync.Pin{Height: height, Hash: hash})
			if err := j.join(t.Context(), c); !errors.Is(err, blocksync.ErrTrusted) || !errors.Is(w.Liars()["a"], blocksync.ErrTrusted) {
				t.Errorf("another hash at height %d: %v, %v", height, err, w.Liars()["a"])
			}
			if at := j.ledger.HeadInfo().Height; at >= height {
				t.Errorf("kept up to %d, block %d is not the trusted one", at, height)
			}
		})
	}
}
