//go:build linux

package main

import (
	"context"
	"sync"
	"time"
)

const (
	stallTick   = 20 * time.Millisecond
	stallNoted  = 100 * time.Millisecond
	maxStalls   = 4096
	stallMemory = 2 * giveUp
)

// stalls notes when this machine kept the program itself waiting: a time that is
// measured then says as much about the machine as about the network. It excuses
// nothing; it is told with every time that is too long.
type stalls struct {
	mu   sync.Mutex
	list []stall // oldest first, at most maxStalls of the last stallMemory
}

type stall struct {
	end  time.Time
	took time.Duration
}

// watch notes every tick that comes late, until ctx ends.
func (s *stalls) watch(ctx context.Context) {
	tick := time.NewTicker(stallTick)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		s.note(now, now.Sub(last)-stallTick)
		last = now
	}
}

func (s *stalls) note(end time.Time, took time.Duration) {
	if took < stallNoted {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.list) > 0 && (len(s.list) >= maxStalls || end.Sub(s.list[0].end) > stallMemory) {
		s.list = s.list[1:]
	}
	s.list = append(s.list, stall{end, took})
}

// worst is the longest stall that ended after a moment; 0 = none.
func (s *stalls) worst(since time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		if one.end.After(since) {
			longest = max(longest, one.took)
		}
	}
	return longest
}
