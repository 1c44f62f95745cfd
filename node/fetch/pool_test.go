package fetch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// crowd is one peer that gives all that is asked for and many that give a crumb,
// each after its own time.
type crowd struct {
	peers []peer.ID
	slow  time.Duration

	mu    sync.Mutex
	asked map[peer.ID]int
}

const whole = "whole"

func (c *crowd) Peers() []peer.ID { return c.peers }

func (c *crowd) Request(ctx context.Context, p peer.ID, _ string, _ []byte) ([]byte, error) {
	c.mu.Lock()
	c.asked[p]++
	c.mu.Unlock()
	wait, size := c.slow, 1
	if p == whole {
		wait, size = 100*time.Millisecond, 512<<10
	}
	select {
	case <-time.After(wait):
		return make([]byte, size), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *crowd) Lied(peer.ID, string, error)   {}
func (c *crowd) Failed(peer.ID, string, error) {}

// TestCrumbs: those who give as little as they may, late, are asked after those
// who give all, however many they are.
func TestCrumbs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{slow: 2 * time.Second, asked: make(map[peer.ID]int), peers: []peer.ID{whole}}
		for i := range 20 {
			c.peers = append(c.peers, peer.ID(fmt.Sprint("crumbs ", i)))
		}
		pool := New(c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var left sync.WaitGroup
		var mu sync.Mutex
		got := 0
		begun := time.Now()
		for range 8 {
			left.Go(func() {
				for {
					mu.Lock()
					enough := got >= 200*512<<10
					mu.Unlock()
					if enough {
						return
					}
					n, _, err := Ask(ctx, pool, Question[int]{
						Check: func(_ peer.ID, raw []byte) (int, error) { return len(raw), nil },
						Short: func(n int) bool { return n == 1 },
					})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					got += n
					mu.Unlock()
				}
			})
		}
		left.Wait()
		// 200 answers of 100 ms, three at once, and a first round with everybody.
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("took %s: %d questions to the one that gives all", took, c.asked[whole])
		}
	})
}

// TestGatherBeside: what peers serve is asked of those, too, that are busy.
func TestGatherBeside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{asked: make(map[peer.ID]int), peers: []peer.ID{whole}}
		pool := New(c)
		q := Question[int]{Check: func(_ peer.ID, raw []byte) (int, error) { return len(raw), nil }}
		var left sync.WaitGroup
		for range perPeer + 2 {
			left.Go(func() {
				if _, _, err := Ask(t.Context(), pool, q); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got := Gather(t.Context(), pool, 4, q); len(got) != 1 {
			t.Errorf("%d answered", len(got))
		}
		left.Wait()
	})
}

// TestSlowerThanHung: a peer that was fast and now holds its questions does not
// keep a far slower one, who is free, from being asked.
func TestSlowerThanHung(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{slow: time.Second, asked: make(map[peer.ID]int), peers: []peer.ID{whole, "slow"}}
		pool := New(c)
		for p, rate := range map[peer.ID]float64{whole: 1 << 30, "slow": 1 << 10} {
			pool.mu.Lock()
			s := pool.standing(p, time.Now())
			s.rate = rate
			if p == whole {
				s.active = perPeer
			}
			pool.mu.Unlock()
		}
		begun := time.Now()
		_, p, err := Ask(t.Context(), pool, Question[int]{
			Check: func(_ peer.ID, raw []byte) (int, error) { return len(raw), nil },
		})
		if took := time.Since(begun); err != nil || p != "slow" || took > hedgeAfter+2*time.Second {
			t.Errorf("%q after %s: %v", p, took, err)
		}
	})
}
