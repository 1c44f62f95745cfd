package statesync_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

// offer is what proves the block at a height, as a peer would offer it.
func (n *network) offer(height uint64) statesync.Offer {
	header, err := n.chain.Ledger.HeaderByHeight(height)
	check(n.t, err)
	cert, err := n.chain.Ledger.Certificate(height)
	check(n.t, err)
	return statesync.Offer{Header: chain.EncodeHeader(header), Finalization: cert}
}

// TestEndlessOffers: a peer that offers one newer block after the other, and
// gives nothing, costs a join its patience once.
func TestEndlessOffers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100, "honest", "offers")
		at := n.chain.Ledger.HeadInfo().Height
		const newer = 40
		for i := range newer {
			n.pay(i, 1)
		}
		var offered atomic.Uint64
		n.Answers("offers", func(_ context.Context, name string, _, _ []byte) ([]byte, error) {
			if name != statesync.RequestSnapshots {
				return nil, nil
			}
			return fetch.Encode(&statesync.OffersAnswer{Offers: []statesync.Offer{n.offer(at + min(offered.Add(1), newer))}}), nil
		})
		j := newJoiner(t, n)
		j.cfg.Patience(300 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		height, err := statesync.Join(ctx, j.cfg)
		check(t, err)
		if height != at {
			t.Errorf("joined at %d, the honest peer has %d", height, at)
		}
		j.same(at)
	})
}

// TestOffBeat: a final block at a height at which nobody keeps snapshots is no
// offer.
func TestOffBeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100, "offers")
		spec := *n.chain.Spec
		spec.Rules.CheckpointInterval = n.chain.Ledger.HeadInfo().Height + 1
		j := newJoiner(t, n)
		j.cfg.Spec = &spec
		if _, err := statesync.Join(t.Context(), j.cfg); !errors.Is(err, statesync.ErrNoOffer) || !errors.Is(n.Liars()["offers"], fetch.ErrUnasked) {
			t.Errorf("%v; lied: %v", err, n.Liars()["offers"])
		}
	})
}

// TestSlowLook: a peer that takes its time to say what it serves holds nothing up.
func TestSlowLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 300, "honest", "slow")
		var looks, asked atomic.Int32
		release := make(chan struct{})
		n.Answers("slow", func(_ context.Context, name string, _, _ []byte) ([]byte, error) {
			if name == statesync.RequestSnapshots && looks.Add(1) > 1 {
				<-release
			}
			return nil, errGone
		})
		n.Answers("honest", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if name == statesync.RequestAccounts {
				asked.Add(1)
				time.Sleep(200 * time.Millisecond) // in all ten times longer than until the second look
			}
			return honest, nil
		})
		j := newJoiner(t, n)
		j.cfg.Look(50 * time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := statesync.Join(t.Context(), j.cfg)
			done <- err
		}()
		deadline := time.Now().Add(20 * time.Second)
		for asked.Load() < 32 && time.Now().Before(deadline) { // as many as there are segments
			time.Sleep(time.Millisecond)
		}
		if got := asked.Load(); got < 32 || looks.Load() < 2 {
			t.Errorf("%d segments were asked for while a look hung, %d looks", got, looks.Load())
		}
		close(release)
		check(t, <-done)
	})
}

// TestCrumbs: a peer that alone goes on to serve a checkpoint, an account now and
// then, does not keep a join there.
func TestCrumbs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 400, "crumbs")
		at := n.chain.Ledger.HeadInfo().Height
		n.Answers("crumbs", func(_ context.Context, name string, request, honest []byte) ([]byte, error) {
			if name != statesync.RequestAccounts {
				return honest, nil
			}
			q, err := statesync.DecodeRangeRequest(request)
			check(t, err)
			q.Bytes = 1
			time.Sleep(200 * time.Millisecond)
			return n.state.Accounts(t.Context(), fetch.Encode(q))
		})
		j := newJoiner(t, n)
		j.cfg.Patience(time.Second)
		if _, err := statesync.Join(t.Context(), j.cfg); !errors.Is(err, statesync.ErrNoOffer) {
			t.Errorf("joining at %d: %v", at, err)
		}
	})
}

// TestOpenBounded: who asks for old checkpoints again and again does not keep
// them all.
func TestOpenBounded(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 50, "a")
	served := func(height uint64) bool {
		hash, err := n.chain.Ledger.HashByHeight(height)
		check(t, err)
		raw, err := n.state.Accounts(t.Context(), fetch.Encode(&statesync.RangeRequest{Height: height, Hash: hash, To: [32]byte{0: 0xff}, Bytes: 1}))
		check(t, err)
		return len(raw) > 0
	}
	all := []uint64{n.chain.Ledger.HeadInfo().Height}
	for i := range 6 {
		for _, h := range all {
			served(h)
		}
		n.pay(3000+i, 1)
		all = append(all, n.checkpoint())
	}
	for _, h := range all {
		served(h) // closes what is too many
	}
	var open []uint64
	for _, h := range all {
		if served(h) {
			open = append(open, h)
		}
	}
	if len(open) > 3 || open[len(open)-1] != all[len(all)-1] {
		t.Errorf("%v of %v are served", open, all)
	}
	raw, err := n.state.Snapshots(t.Context(), nil)
	check(t, err)
	if a, err := statesync.DecodeOffers(raw); err != nil || len(a.Offers) > 3 || len(a.Offers) < 2 {
		t.Errorf("%d are offered, %v", len(a.Offers), err)
	}
	check(t, n.state.Close())
	n.dir.Close()
	names, err := store.ListCheckpoints(checkpoints, store.Options{FS: n.fs})
	if err != nil || len(names) > 3 {
		t.Errorf("%v are on disk, %v", names, err)
	}
}

// TestCrawl: a checkpoint that one peer alone serves, and slowly, is left for an
// older one when several peers come who serve that. Until then it is good enough.
func TestCrawl(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 150, "crawls")
		old := n.chain.Ledger.HeadInfo().Height
		n.pay(2000, 1)
		newest := n.checkpoint()
		only := func(height uint64, honest []byte) []byte {
			a, err := statesync.DecodeOffers(honest)
			check(t, err)
			a.Offers = slices.DeleteFunc(a.Offers, func(o statesync.Offer) bool {
				h, err := chain.DecodeHeader(o.Header)
				return err != nil || h.Number.Uint64() != height
			})
			return fetch.Encode(a)
		}
		n.Answers("crawls", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			switch name {
			case statesync.RequestSnapshots:
				return only(newest, honest), nil
			case statesync.RequestAccounts:
				time.Sleep(19 * time.Second) // three at once of 32 ranges: a fifth of them in a minute
			}
			return honest, nil
		})
		several := func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if name == statesync.RequestSnapshots {
				return only(old, honest), nil
			}
			return honest, nil
		}
		n.Answers("a", several)
		n.Answers("b", several)
		j := newJoiner(t, n)
		j.cfg.Patience(time.Minute)
		j.cfg.Lone(0.5)
		begun := time.Now()
		time.AfterFunc(70*time.Second, func() {
			n.Set("crawls", "a", "b")
		})
		height, err := statesync.Join(t.Context(), j.cfg)
		check(t, err)
		if took := time.Since(begun); height != old || took < 70*time.Second || took > 10*time.Minute {
			t.Errorf("joined at %d after %s, several serve %d", height, took, old)
		}
		if n.Asked("crawls", statesync.RequestAccounts) == 0 {
			t.Error("the first was never asked")
		}
	})
}
