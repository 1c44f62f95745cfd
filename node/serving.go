package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"cairn/node/blocksync"
	"cairn/node/statesync"
	"cairn/p2p"
)

// Limits of the answers that others sync from, besides the bytes a second that
// the operator chooses. Consensus messages and small requests are outside of
// them: a node that serves never waits for those whom it serves.
const (
	bulkAtOnce   = 4               // answers being made
	bulkWait     = 5 * time.Second // for a place and for bytes to be allowed again
	bulkPeers    = 1024            // whose use is remembered
	bulkShare    = 2               // one peer may take one part in bulkShare of the bytes
	bulkBurst    = 2 * time.Second // worth of bytes that may go at once
	minBulkBytes = 1 << 20
	bulkSlack    = 4096 // bytes; more than the requests of one peer that wait, each of which has taken one
)

// errBusy is the answer to a peer that asks for more than it may have now; it
// asks another or later.
var errBusy = errors.New("no more of this for now")

// serving answers what others sync from, within a budget.
type serving struct {
	blocks blocksync.Server
	states *statesync.Server // nil = no snapshots are kept here

	places *semaphore.Weighted
	all    *rate.Limiter
	each   rate.Limit

	mu    sync.Mutex
	peers map[peer.ID]*rate.Limiter
}

// newServing makes a server that sends up to perSecond bytes.
func newServing(blocks blocksync.Server, states *statesync.Server, perSecond int) *serving {
	limit := rate.Limit(perSecond)
	return &serving{
		blocks: blocks, states: states, places: semaphore.NewWeighted(bulkAtOnce),
		all: newBulkLimiter(limit), each: limit / bulkShare, peers: make(map[peer.ID]*rate.Limiter),
	}
}

func newBulkLimiter(limit rate.Limit) *rate.Limiter {
	return rate.NewLimiter(limit, max(int(float64(limit)*bulkBurst.Seconds()), minBulkBytes))
}

// requests adds what is served within the budget to the other requests.
func (s *serving) requests(to map[string]p2p.Request) map[string]p2p.Request {
	for name, answer := range s.blocks.Requests() {
		to[name] = s.bulk(answer)
	}
	if s.states != nil {
		for name, answer := range s.states.Requests() {
			to[name] = s.bulk(answer)
		}
	}
	return to
}

// bulk answers a request when there is a place and the bytes of earlier answers
// are paid for.
func (s *serving) bulk(answer func(context.Context, []byte) ([]byte, error)) p2p.Request {
	return func(ctx context.Context, from peer.ID, req []byte) ([]byte, error) {
		wait, cancel := context.WithTimeout(ctx, bulkWait)
		defer cancel()
		own := s.limiter(from)
		// How much an answer takes is known when it is made: it is paid for
		// after, by those that follow. A peer that has used up its share waits
		// before it takes a place, or it would hold the places of the others.
		for {
			if own.WaitN(wait, 1) != nil || s.places.Acquire(wait, 1) != nil {
				return nil, errBusy
			}
			if own.Tokens() > -bulkSlack {
				break
			}
			s.places.Release(1) // its answers before this one have used it up since
		}
		defer s.places.Release(1)
		if s.all.WaitN(wait, 1) != nil {
			return nil, errBusy
		}
		raw, err := answer(ctx, req)
		if n := len(raw); n > 0 {
			own.ReserveN(time.Now(), min(n, own.Burst()))
			s.all.ReserveN(time.Now(), min(n, s.all.Burst()))
		}
		return raw, err
	}
}

// limiter is a peer's own.
func (s *serving) limiter(p peer.ID) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.peers[p]
	if l == nil {
		if len(s.peers) >= bulkPeers {
			for q, l := range s.peers {
				if l.Tokens() >= float64(l.Burst()) {
					delete(s.peers, q)
				}
			}
		}
		if len(s.peers) >= bulkPeers {
			clear(s.peers)
		}
		l = newBulkLimiter(s.each)
		s.peers[p] = l
	}
	return l
}
