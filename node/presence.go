package node

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/rpc"
)

// Limits on asking others where they are on behalf of JSON-RPC clients: one
// question a peer in presenceFor, however many ask.
const (
	presenceFor  = time.Second
	presenceWait = 2 * time.Second // for an answer
	presenceMany = 64              // questions at once
	maxPresences = 1024            // answers that are remembered
)

// presences remembers where other nodes said they are.
type presences struct {
	mu    sync.Mutex
	known map[peer.ID]presence
}

type presence struct {
	at       time.Time
	answered bool
	height   uint64
	signs    bool
	own      uint64 // our height when it was asked: the answer may be looked at later
}

// presence answers for each peer id whether that node is connected and where it
// says it is. It asks those that it has not asked just now. What they say is
// their word alone: it informs an operator, it moves nothing.
func (n *Node) presence(ctx context.Context, peerIDs []string) []rpc.Presence {
	connected := make(map[peer.ID]bool)
	for _, p := range n.host.Peers() {
		connected[p.ID] = true
	}
	out := make([]rpc.Presence, len(peerIDs))
	places := make(chan struct{}, presenceMany)
	var asked sync.WaitGroup
	for i, text := range peerIDs {
		id, err := peer.Decode(text)
		switch {
		case err != nil:
		case id == n.host.ID():
			own := n.driver.ledger.HeadInfo().Height
			out[i] = rpc.Presence{Connected: true, Answered: true, Height: own, Own: own, Signs: n.driver.signs(n.driver.state.Load())}
		case connected[id]:
			out[i].Connected = true
			places <- struct{}{}
			asked.Go(func() {
				defer func() { <-places }()
				p := n.whereIs(ctx, id)
				out[i].Answered, out[i].Height, out[i].Own, out[i].Signs = p.answered, p.height, p.own, p.signs
			})
		}
	}
	asked.Wait()
	return out
}

// whereIs asks a connected peer for its head, unless it was asked just now.
func (n *Node) whereIs(ctx context.Context, id peer.ID) presence {
	n.presences.mu.Lock()
	p, ok := n.presences.known[id]
	n.presences.mu.Unlock()
	if ok && time.Since(p.at) < presenceFor {
		return p
	}
	p = presence{at: time.Now(), own: n.driver.ledger.HeadInfo().Height}
	if a, err := n.driver.sync.where(ctx, id); err == nil && a.Genesis == n.driver.net.Genesis {
		p.answered, p.height, p.signs = true, a.Height, a.Signs
	}
	n.presences.mu.Lock()
	defer n.presences.mu.Unlock()
	if len(n.presences.known) >= maxPresences || n.presences.known == nil {
		n.presences.known = make(map[peer.ID]presence)
	}
	n.presences.known[id] = p
	return p
}

// where is what a peer says of itself.
func (s *syncer) where(ctx context.Context, p peer.ID) (*statusAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, presenceWait)
	defer cancel()
	return s.status(ctx, p)
}

// signs says whether this node signs votes, or would as a member.
func (d *driver) signs(s *driverState) bool {
	return s != nil && !s.Observing && !s.Twin && s.twin == "" && s.Halted == "" && d.room() == roomy
}
