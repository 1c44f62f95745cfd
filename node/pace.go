package node

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxPaced bounds the peers that a pace remembers.
const maxPaced = 1024

// busy are the peers with which something is under way that is not begun twice.
type busy struct {
	mu    sync.Mutex
	peers map[peer.ID]struct{}
}

func (b *busy) begin(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.peers[p]; ok {
		return false
	}
	if b.peers == nil {
		b.peers = make(map[peer.ID]struct{})
	}
	b.peers[p] = struct{}{}
	return true
}

func (b *busy) end(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, p)
}

// pace lets each peer cause an answer at most once in an interval.
type pace struct {
	every time.Duration

	mu   sync.Mutex
	last map[peer.ID]time.Time
}

func newPace(every time.Duration) *pace {
	return &pace{every: every, last: make(map[peer.ID]time.Time)}
}

func (p *pace) allow(id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last[id]) < p.every {
		return false
	}
	if len(p.last) >= maxPaced {
		clear(p.last)
	}
	p.last[id] = now
	return true
}
