package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlacesTurns: who has many requests waiting gets one place for each that
// another caller gets.
func TestPlacesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(1)
		check(t, p.enter(t.Context(), nil, "first"))
		var mu sync.Mutex
		var order []string
		enter := func(who string) {
			go func() {
				check(t, p.enter(t.Context(), nil, who))
				mu.Lock()
				order = append(order, who)
				mu.Unlock()
				p.leave(who)
			}()
			synctest.Wait()
		}
		for range 4 {
			enter("many")
		}
		enter("one")
		enter("other")
		p.leave("first")
		synctest.Wait()
		equal(t, "order", fmt.Sprint(order), "[many one other many many many]")
		equal(t, "taken", p.taken(), 0)
		equal(t, "nobody is remembered", len(p.held)+len(p.lines)+len(p.turns), 0)
	})
}

// TestPlacesShare: no caller but this machine's has every place.
func TestPlacesShare(t *testing.T) {
	t.Parallel()
	p := newPlaces(8)
	n := 0
	for p.tryEnter("10.0.0.1") {
		n++
	}
	equal(t, "one address", n, 6)
	for p.tryEnter("127.0.0.1") {
		n++
	}
	equal(t, "with loopback", n, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.enter(ctx, nil, "10.0.0.2"); !errors.Is(err, context.Canceled) {
		t.Errorf("one that has left: %v", err)
	}
	stopping := make(chan struct{})
	close(stopping)
	if err := p.enter(t.Context(), stopping, "10.0.0.2"); !errors.Is(err, errStopping) {
		t.Errorf("while the node stops: %v", err)
	}
	p.leave("127.0.0.1")
	equal(t, "those that left have no place", p.tryEnter("10.0.0.3"), true)
}

// TestPlacesRandom: whatever comes and goes, no place is lost and never are there
// more than there are.
func TestPlacesRandom(t *testing.T) {
	t.Parallel()
	const places, callers = 5, 40
	p := newPlaces(places)
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(7, uint64(i)))
			who := fmt.Sprint("10.0.0.", i%7)
			for range 200 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(draw.IntN(200))*time.Microsecond)
				if p.enter(ctx, nil, who) == nil {
					n := inside.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					inside.Add(-1)
					p.leave(who)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if most.Load() > places || most.Load() == 0 {
		t.Errorf("%d inside at once, at most %d", most.Load(), places)
	}
	equal(t, "taken", p.taken(), 0)
	equal(t, "free", p.free, places)
}
