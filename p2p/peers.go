package p2p

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// PeerInfo is what an operator sees of a connected peer. Addresses are for the
// admin interface only.
type PeerInfo struct {
	ID        peer.ID
	Addrs     []string      // remote addresses of the connections, with /p2p/ID
	Direction string        // inbound or outbound, of the oldest connection
	Latency   time.Duration // round trip, smoothed; 0 = not measured yet
	Validator bool
	UserAgent string
	RuleSets  []string
	Since     time.Time // end of the handshake
}

// peerState exists from a peer's first connection to the end of its last.
type peerState struct {
	id     peer.ID
	ctx    context.Context // ends with the peer
	cancel context.CancelFunc
	heard  atomic.Int64 // unix nanoseconds of the last consensus frame
	group  netip.Prefix // address, as in addressGroup; zero = loopback or a name

	// Under Host.mu.
	hello     *hello // what it said; nil until the handshake is done
	since     time.Time
	readyOnce chan struct{} // closed when hello is set
}

// Peers are the peers whose handshake is done, ordered by id.
func (h *Host) Peers() []PeerInfo {
	h.mu.Lock()
	var out []PeerInfo
	for p, s := range h.peers {
		if s.hello == nil {
			continue
		}
		_, validator := h.validators[p]
		out = append(out, PeerInfo{
			ID: p, Validator: validator, UserAgent: s.hello.UserAgent,
			RuleSets: slices.Clone(s.hello.RuleSets), Since: s.since,
		})
	}
	h.mu.Unlock()
	for i := range out {
		info := &out[i]
		info.Latency = h.host.Peerstore().LatencyEWMA(info.ID)
		for j, c := range h.host.Network().ConnsToPeer(info.ID) {
			if j == 0 {
				info.Direction = strings.ToLower(c.Stat().Direction.String())
			}
			info.Addrs = append(info.Addrs, c.RemoteMultiaddr().String()+"/p2p/"+info.ID.String())
		}
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

// peerCounts are the peers whose handshake is done, and the validators of them.
func (h *Host) peerCounts() (all, validators int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, s := range h.peers {
		if s.hello == nil {
			continue
		}
		all++
		if _, ok := h.validators[p]; ok {
			validators++
		}
	}
	return all, validators
}

// peersOfGroup counts the connected peers of an address that are not exempt.
func (h *Host) peersOfGroup(group netip.Prefix) int {
	h.mu.Lock()
	var ids []peer.ID
	for p, s := range h.peers {
		if s.group == group {
			ids = append(ids, p)
		}
	}
	h.mu.Unlock()
	return len(slices.DeleteFunc(ids, h.gater.exempt))
}

// roomFor says whether p may be one of the peers: exempt, or fewer than
// MaxPeers others are.
func (h *Host) roomFor(p peer.ID) bool {
	if h.gater.exempt(p) {
		return true
	}
	h.mu.Lock()
	var ids []peer.ID
	for q, s := range h.peers {
		if q != p && s.hello != nil {
			ids = append(ids, q)
		}
	}
	h.mu.Unlock()
	return len(slices.DeleteFunc(ids, h.gater.exempt)) < h.cfg.MaxPeers
}

func (h *Host) onConnected(_ network.Network, c network.Conn) {
	p := c.RemotePeer()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	s := h.peers[p]
	if s == nil {
		s = &peerState{id: p, readyOnce: make(chan struct{})}
		s.ctx, s.cancel = context.WithCancel(h.ctx)
		s.group, _ = addressGroup(c.RemoteMultiaddr())
		h.peers[p] = s
		h.spawnLocked(func() { h.expectHandshake(s) })
	}
	if c.Stat().Direction == network.DirOutbound {
		h.spawnLocked(func() { h.shake(s) })
	}
}

func (h *Host) onDisconnected(n network.Network, c network.Conn) {
	p := c.RemotePeer()
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.peers[p]; s != nil && n.Connectedness(p) != network.Connected {
		h.lostLocked(s)
	}
}

// lostLocked forgets a peer whose last connection has ended.
func (h *Host) lostLocked(s *peerState) {
	s.cancel()
	delete(h.peers, s.id)
	h.settleLocked(s.id, ErrHandshake)
	h.poke()
	if k := h.keepers[s.id]; k != nil {
		k.poke()
	}
	if s.hello != nil {
		h.log.Debug("peer lost", "peer", s.id)
	}
}

// state is the peer's, nil when it is not connected.
func (h *Host) state(p peer.ID) *peerState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peers[p]
}

// awaitReady waits until the handshake with p is done. Each side learns that a
// moment apart, so the first stream can be early.
// Errors: ErrNotConnected, those of ctx.
func (h *Host) awaitReady(ctx context.Context, p peer.ID) (*peerState, error) {
	s := h.state(p)
	if s == nil {
		return nil, ErrNotConnected
	}
	select {
	case <-s.readyOnce:
		return s, nil
	case <-s.ctx.Done():
		return nil, ErrNotConnected
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// admit is awaitReady for a stream that p opened, with a short limit.
func (h *Host) admit(s network.Stream) *peerState {
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
	defer cancel()
	state, err := h.awaitReady(ctx, s.Conn().RemotePeer())
	if err != nil {
		return nil
	}
	return state
}

// poke asks for a call of Handlers.PeerChange.
func (h *Host) poke() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *Host) tellChanges() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.changed:
			if h.handlers.PeerChange != nil {
				h.handlers.PeerChange()
			}
		}
	}
}

// pingPeers measures round trips and ends connections whose other end is gone
// without a word. TCP alone would notice after minutes, and after a partition
// wait as long before it tries again.
func (h *Host) pingPeers() {
	tick := time.NewTicker(h.waits.ping)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		for p, ok := range h.pingRound(n%pingOthersEvery == 0) {
			if !ok {
				h.closeSilent(p, began)
			}
		}
	}
}

// closeSilent closes the connections of a peer that were there before a round of
// pings which it did not answer, unless it was heard of since. A newer one stays:
// after a partition the other side often gives up first and dials anew while our
// pings still wait on the connection that it left.
func (h *Host) closeSilent(p peer.ID, began time.Time) {
	s := h.state(p)
	if s == nil || s.heardSince(began) {
		return
	}
	for _, c := range h.host.Network().ConnsToPeer(p) {
		if c.Stat().Opened.Before(began) {
			h.log.Info("peer does not answer; disconnecting", "peer", p)
			c.Close()
		}
	}
}

// pingRound pings validators, or all peers, at once, twice if need be, and says
// who answered.
func (h *Host) pingRound(all bool) map[peer.ID]bool {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answered := map[peer.ID]bool{}
	for _, p := range h.readyPeers() {
		if !all && !h.gater.isValidator(p) {
			continue
		}
		wg.Add(1)
		if !h.spawn(func() {
			defer wg.Done()
			ok := h.ping(p)
			if !ok { // one more: a ping may be lost to a full queue
				ok = h.ping(p)
			}
			mu.Lock()
			defer mu.Unlock()
			answered[p] = ok
		}) {
			wg.Done()
		}
	}
	wg.Wait()
	return answered
}

// ping records the round trip to p in the peer store.
func (h *Host) ping(p peer.ID) bool {
	ctx, cancel := context.WithTimeout(network.WithNoDial(h.ctx, "ping"), pingLimit)
	defer cancel()
	select {
	case r := <-ping.Ping(ctx, h.host, p):
		return r.Error == nil
	case <-ctx.Done():
		return h.ctx.Err() != nil
	}
}

// readyPeers are the peers whose handshake is done.
func (h *Host) readyPeers() []peer.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []peer.ID
	for p, s := range h.peers {
		if s.hello != nil {
			out = append(out, p)
		}
	}
	return out
}

// epoch is what hear counts from, on the monotonic clock: a wall clock that is set
// makes no peer silent.
var epoch = time.Now()

// hear notes that the peer is alive.
func (s *peerState) hear() { s.heard.Store(int64(time.Since(epoch))) }

func (s *peerState) heardSince(t time.Time) bool { return s.heard.Load() >= int64(t.Sub(epoch)) }
