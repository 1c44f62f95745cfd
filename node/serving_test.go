package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/blocksync"
)

// TestServingBudget: what is sent to nodes that sync stays within the bytes a
// second, one peer within half of them, and no more answers are made at once
// than there are places; who would wait too long is turned away.
func TestServingBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond, answer = 4 << 20, 1 << 20
		s := newServing(blocksync.Server{}, nil, perSecond)
		ask := s.bulk(func(context.Context, []byte) ([]byte, error) { return make([]byte, answer), nil })
		take := func(p peer.ID, period time.Duration) (bytes int) {
			for end := time.Now().Add(period); time.Now().Before(end); {
				raw, err := ask(t.Context(), p, nil)
				if err != nil {
					t.Fatal(err)
				}
				bytes += len(raw)
			}
			return bytes
		}
		// A burst of two seconds' worth, then half the rate.
		if got, most := take("one", 20*time.Second), 20*perSecond/bulkShare+perSecond+2*answer; got > most || got < most/2 {
			t.Errorf("one peer took %d MiB in 20 s, want at most %d", got>>20, most>>20)
		}
		time.Sleep(time.Minute)
		total := make(chan int, 4)
		for _, p := range []peer.ID{"a", "b", "c", "d"} {
			go func() { total <- take(p, 20*time.Second) }()
		}
		sum := <-total + <-total + <-total + <-total
		if most := 22*perSecond + 8*answer; sum > most || sum < most/2 {
			t.Errorf("four peers took %d MiB in 20 s, want at most %d", sum>>20, most>>20)
		}

		slow := s.bulk(func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		time.Sleep(time.Minute)
		held, free := context.WithCancel(t.Context())
		for range bulkAtOnce {
			go func() { _, _ = slow(held, "slow", nil) }()
		}
		synctest.Wait()
		begun := time.Now()
		if _, err := ask(t.Context(), "late", nil); !errors.Is(err, errBusy) || time.Since(begun) != bulkWait {
			t.Errorf("without a place: %v after %s", err, time.Since(begun))
		}
		free()
		synctest.Wait()
		if _, err := ask(t.Context(), "late", nil); err != nil {
			t.Errorf("with a place again: %v", err)
		}
	})
}

// TestServingFair: a peer that has used up its share waits without a place, so
// that another one is answered at once.
func TestServingFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 4 << 20
		s := newServing(blocksync.Server{}, nil, perSecond)
		ask := s.bulk(func(_ context.Context, req []byte) ([]byte, error) { return make([]byte, len(req)), nil })
		var greedy sync.WaitGroup
		for range 8 {
			greedy.Go(func() {
				for range 4 { // some are refused
					_, _ = ask(t.Context(), peer.ID("greedy"), make([]byte, perSecond/2))
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		if raw, err := ask(t.Context(), peer.ID("modest"), make([]byte, 1000)); err != nil || len(raw) != 1000 {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		if took := time.Since(begun); took > 500*time.Millisecond {
			t.Errorf("the modest peer waited %s", took)
		}
		greedy.Wait()
	})
}
