// Package fetchtest has peers in memory, for tests of what asks peers.
package fetchtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Answer is what a peer says instead of the honest answer.
type Answer func(ctx context.Context, name string, request, honest []byte) ([]byte, error)

// Network is a fetch.Network of peers that serve the same. It is safe for concurrent
// use.
type Network struct {
	serve  map[string]func(context.Context, []byte) ([]byte, error)
	delay  time.Duration  // the way there and back
	asking sync.WaitGroup // requests under way, also those that nobody waits for any more

	mu      sync.Mutex
	order   []peer.ID
	answers map[peer.ID]Answer
	asked   map[peer.ID]map[string]int
	lied    map[peer.ID]error
	failed  map[peer.ID]error
}

// New makes peers that answer after a delay, honestly, by the name of the request.
func New(serve map[string]func(context.Context, []byte) ([]byte, error), delay time.Duration, peers ...peer.ID) *Network {
	return &Network{
		serve: serve, delay: delay, order: peers, answers: make(map[peer.ID]Answer),
		asked: make(map[peer.ID]map[string]int), lied: make(map[peer.ID]error), failed: make(map[peer.ID]error),
	}
}

// Set says which peers there are from now on.
func (n *Network) Set(peers ...peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.order = peers
}

// Answers has a peer answer otherwise than honestly from now on.
func (n *Network) Answers(p peer.ID, answer Answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[p] = answer
}

// Lies has a peer lie in its answers to a request: lie says what it says, and
// whether that is a lie. Lies are counted.
func (n *Network) Lies(p peer.ID, request string, lie func(honest []byte) ([]byte, bool)) (told *atomic.Int32) {
	told = new(atomic.Int32)
	n.Answers(p, func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
		if name != request {
			return honest, nil
		}
		said, is := lie(honest)
		if is {
			told.Add(1)
		}
		return said, nil
	})
	return told
}

// Peers are those that there are.
func (n *Network) Peers() []peer.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.order)
}

// Request has a peer answer. An error is the server's, the context's, or of a
// request that nobody serves.
func (n *Network) Request(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error) {
	n.asking.Add(1)
	defer n.asking.Done()
	n.mu.Lock()
	if n.asked[p] == nil {
		n.asked[p] = make(map[string]int)
	}
	n.asked[p][name]++
	answer := n.answers[p]
	n.mu.Unlock()
	if n.delay > 0 {
		select {
		case <-time.After(n.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	serve := n.serve[name]
	if serve == nil {
		return nil, fmt.Errorf("request %q", name)
	}
	honest, err := serve(ctx, request)
	if err != nil || answer == nil {
		return honest, err
	}
	return answer(ctx, name, request, honest)
}

// Wait returns when no request is under way.
func (n *Network) Wait() { n.asking.Wait() }

// Lied notes a liar.
func (n *Network) Lied(p peer.ID, _ string, err error) { n.note(n.lied, p, err) }

// Failed notes who gave no answer.
func (n *Network) Failed(p peer.ID, _ string, err error) { n.note(n.failed, p, err) }

func (n *Network) note(in map[peer.ID]error, p peer.ID, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	in[p] = err
}

// Liars are the peers that were held to have lied, with the last reason.
func (n *Network) Liars() map[peer.ID]error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.lied)
}

// Failures are the peers that gave no answer, with the last reason.
func (n *Network) Failures() map[peer.ID]error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.failed)
}

// Forgive forgets who lied.
func (n *Network) Forgive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.lied)
}

// Asked is how often a peer was asked one of the requests; without names, any.
func (n *Network) Asked(p peer.ID, names ...string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, times := range n.asked[p] {
		if len(names) == 0 || slices.Contains(names, name) {
			count += times
		}
	}
	return count
}
