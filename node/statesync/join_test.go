package statesync_test

import (
	"context"
	"errors"
	"math"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/fetch"
	"cairn/node/statesync"
)

// TestJoin: the state of a checkpoint, with the registry's storage, comes from
// several peers, and what follows executes on it to the same root.
func TestJoin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 400, "a", "b", "c")
		at := n.chain.Ledger.HeadInfo().Height
		n.pay(1000, 20)
		n.chain.Change(5, true)
		n.pay(300, 50)
		j := newJoiner(t, n)
		height, err := statesync.Join(t.Context(), j.cfg)
		check(t, err)
		if height != at {
			t.Errorf("joined at %d, the checkpoint is of %d", height, at)
		}
		again, err := statesync.Join(t.Context(), j.cfg)
		if err != nil || again != height {
			t.Errorf("a join that is complete: %d, %v", again, err)
		}
		j.same(at)
		for _, p := range []peer.ID{"a", "b", "c"} {
			if n.Asked(p, statesync.RequestAccounts) == 0 {
				t.Errorf("%s was never asked for accounts", p)
			}
		}
	})
}

// TestNothing: without a checkpoint above what is here, and without peers, Join
// says so and leaves nothing.
func TestNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 50, "a")
		j := newJoiner(t, n)
		j.cfg.Above = n.chain.Ledger.HeadInfo().Height
		if _, err := statesync.Join(t.Context(), j.cfg); !errors.Is(err, statesync.ErrNoOffer) {
			t.Errorf("at the height of the checkpoint: %v", err)
		}
		j.cfg.Above = 0
		n.Set()
		if _, err := statesync.Join(t.Context(), j.cfg); !errors.Is(err, statesync.ErrNoOffer) {
			t.Errorf("without peers: %v", err)
		}
		if _, err := os.Stat(j.cfg.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is there: %v", err)
		}
	})
}

// TestResume: a join that is killed goes on with what it has; all in all no more
// is asked for than by one that is not.
func TestResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 400, "a")
		at := n.chain.Ledger.HeadInfo().Height
		count := func() int {
			return n.Asked("a", statesync.RequestAccounts) + n.Asked("a", statesync.RequestSlots) + n.Asked("a", statesync.RequestCode)
		}
		whole := newJoiner(t, n)
		_, err := statesync.Join(t.Context(), whole.cfg)
		check(t, err)
		once := count()
		j := newJoiner(t, n)
		for kills := 0; ; kills++ {
			ctx, kill := context.WithCancel(t.Context())
			var answers atomic.Int32
			n.Answers("a", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
				if name != statesync.RequestSnapshots && answers.Add(1) == 9 {
					kill()
				}
				return honest, nil
			})
			_, err := statesync.Join(ctx, j.cfg)
			kill()
			if err == nil {
				if kills == 0 {
					t.Fatal("was never killed")
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if kills > once {
				t.Fatal("gets nowhere")
			}
		}
		j.same(at)
		if twice := count() - once; twice > 3*once {
			t.Errorf("%d questions without a kill, %d with", once, twice)
		}
	})
}

// TestServerKilled: of two peers that serve the checkpoint one goes in the
// middle.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 400, "dies", "lives")
		at := n.chain.Ledger.HeadInfo().Height
		var left atomic.Int32
		left.Store(4)
		n.Answers("dies", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if left.Add(-1) < 0 {
				return nil, errGone
			}
			return honest, nil
		})
		j := newJoiner(t, n)
		_, err := statesync.Join(t.Context(), j.cfg)
		check(t, err)
		j.same(at)
		if left.Load() > -1 || n.Liars()["dies"] != nil {
			t.Errorf("the peer was asked %d times after it died; lied: %v", -left.Load(), n.Liars()["dies"])
		}
	})
}

// TestStale: the network moves on and no peer serves the checkpoint any more: the
// join begins again with a newer one and keeps nothing of the old.
func TestStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 400, "a", "b")
		old := n.chain.Ledger.HeadInfo().Height
		var served atomic.Int32
		serve := func(_ context.Context, _ string, request, honest []byte) ([]byte, error) {
			if q, err := statesync.DecodeRangeRequest(request); err == nil && q.Height == old && served.Add(1) > 10 {
				return nil, nil
			}
			return honest, nil
		}
		n.Answers("a", serve)
		n.Answers("b", serve)
		var newest uint64
		moved := false
		j := newJoiner(t, n)
		done := make(chan error, 1)
		go func() {
			var err error
			newest, err = statesync.Join(t.Context(), j.cfg)
			done <- err
		}()
		for served.Load() <= 10 {
			time.Sleep(time.Millisecond)
		}
		for range 2 { // as many as are kept
			n.pay(2000+100*int(n.chain.Ledger.HeadInfo().Height), 30)
			n.checkpoint()
			moved = true
		}
		check(t, <-done)
		if want := n.chain.Ledger.HeadInfo().Height; newest != want || !moved {
			t.Errorf("joined at %d, want %d", newest, want)
		}
		j.same(newest)
	})
}

// TestIdle: a checkpoint that nobody asks for is closed, and opened again.
func TestIdle(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 50, "a")
	at := n.chain.Ledger.HeadInfo()
	ask := fetch.Encode(&statesync.RangeRequest{Height: at.Height, Hash: at.Hash, To: [32]byte{0: 0xff}, Bytes: math.MaxUint64})
	synctest.Test(t, func(t *testing.T) {
		open := func() bool {
			s, err := n.dir.Open(at.Height) // once at a time
			if err != nil {
				return true
			}
			check(t, s.Close())
			return false
		}
		for range 2 {
			if open() {
				t.Fatal("open before anybody asked")
			}
			raw, err := n.state.Accounts(t.Context(), ask)
			if err != nil || len(raw) == 0 || !open() {
				t.Fatalf("%d bytes, %v, open %v", len(raw), err, open())
			}
			time.Sleep(50 * time.Second)
			if _, err := n.state.Accounts(t.Context(), ask); err != nil || !open() {
				t.Fatalf("after 50 s: %v, open %v", err, open())
			}
			time.Sleep(61 * time.Second)
			synctest.Wait()

		}
		if open() {
			t.Error("stays open")
		}
	})
}
