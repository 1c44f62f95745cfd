package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// deafFor is how long a peer that left a request unanswered is asked last.
const deafFor = 30 * time.Second

// deaf are the peers whose last request came to nothing. One that hangs (it is
// connected and never answers) would otherwise cost a walk back over many blocks
// a whole fetchWait for each block that it is drawn for.
type deaf struct {
	mu    sync.Mutex
	known map[peer.ID]unanswered // of those that failed, some of them long ago
}

// unanswered is the name of a request, and until when it counts.
type unanswered struct {
	name  string
	until time.Time
}

// judge hears how a request ended. Only an answer to the same one, or time, puts
// a peer in turn again: one may hang with blocks and still tell its status.
func (s *deaf) judge(p peer.ID, name string, answered bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, u := range s.known {
		if other == p && u.name == name || now.After(u.until) {
			delete(s.known, other)
		}
	}
	if !answered {
		if s.known == nil {
			s.known = make(map[peer.ID]unanswered)
		}
		s.known[p] = unanswered{name: name, until: now.Add(deafFor)}
	}
}

// last moves deaf peers behind the others, and keeps the order otherwise.
func (s *deaf) last(ps []peer.ID, now time.Time) []peer.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	hearing, rest := make([]peer.ID, 0, len(ps)), []peer.ID(nil)
	for _, p := range ps {
		if now.Before(s.known[p].until) {
			rest = append(rest, p)
		} else {
			hearing = append(hearing, p)
		}
	}
	return append(hearing, rest...)
}

// tries are the first most of those whom last has put in order, but the last try is
// for one that is deaf: it may be the only one that has what is asked for, while
// those who answer say that they have nothing.
func (s *deaf) tries(ps []peer.ID, most int, now time.Time) []peer.ID {
	if len(ps) <= most {
		return ps
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := slices.IndexFunc(ps, func(p peer.ID) bool { return now.Before(s.known[p].until) })
	if first < most {
		return ps[:most]
	}
	return append(slices.Clone(ps[:most-1]), ps[first])
}

// ask puts a request to a peer and remembers whether it answered. A request that
// ended because nobody waits for it any more says nothing of the peer.
func (d *driver) ask(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error) {
	raw, err := d.host.RequestAtMost(ctx, p, name, request, answerLimit(name, request, d.rules))
	if !errors.Is(ctx.Err(), context.Canceled) {
		d.deaf.judge(p, name, err == nil, time.Now())
	}
	return raw, err
}
