package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Peers of peers: the request "peers" is empty; the response is up to
// maxExchangedPeers frames, each a signed address record (libp2p envelope) of a
// peer the answering node knows.

func encodePeers(records [][]byte) []byte {
	var out []byte
	for _, r := range records {
		if len(r) > 0 && len(out)+frameHeader+len(r) <= maxPeersResponse {
			out = appendFrame(out, r)
		}
	}
	return out
}

// decodePeers splits a response into records, which are not checked yet and
// share b's memory. Errors: ErrPeersMalformed.
func decodePeers(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		if len(b) < frameHeader {
			return nil, fmt.Errorf("%w: record %d is cut short", ErrPeersMalformed, len(out))
		}
		n := uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
		switch {
		case n == 0 || n > maxPeerRecord:
			return nil, fmt.Errorf("%w: record %d has %d bytes, want 1..%d", ErrPeersMalformed, len(out), n, maxPeerRecord)
		case n > uint64(len(b)-frameHeader):
			return nil, fmt.Errorf("%w: record %d is cut short", ErrPeersMalformed, len(out))
		case len(out) == maxExchangedPeers:
			return nil, fmt.Errorf("%w: more than %d records", ErrPeersMalformed, maxExchangedPeers)
		}
		end := frameHeader + int(n)
		out = append(out, b[frameHeader:end:end])
		b = b[end:]
	}
	return out, nil
}

// answerPeers tells a peer of others: validators first, then those connected.
// Loopback addresses go to peers on this machine only.
func (h *Host) answerPeers(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
	if len(req) > 0 {
		return nil, fmt.Errorf("%w: request of %d bytes", ErrPeersMalformed, len(req))
	}
	local := h.onLoopback(from)
	visible := func(p peer.ID, addrs []ma.Multiaddr) bool {
		return p != from && (local || !allLoopback(addrs))
	}
	seen := map[peer.ID]bool{}
	var records [][]byte
	for _, class := range []func(peer.ID) bool{h.gater.isValidator, h.isReady} {
		records = append(records, h.book.records(maxExchangedPeers-len(records), func(p peer.ID, addrs []ma.Multiaddr) bool {
			if !visible(p, addrs) || seen[p] || !class(p) {
				return false
			}
			seen[p] = true
			return true
		})...)
	}
	return encodePeers(records), nil
}

func (h *Host) isReady(p peer.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.peers[p]
	return s != nil && s.hello != nil
}

// onLoopback says whether p is connected from this machine.
func (h *Host) onLoopback(p peer.ID) bool {
	conns := h.host.Network().ConnsToPeer(p)
	for _, c := range conns {
		if !isLoopback(c.RemoteMultiaddr()) {
			return false
		}
	}
	return len(conns) > 0
}

// keepAddr is the filter for addresses learned from a peer: loopback of another
// machine is ours, so it means nothing unless the teller is on this one.
func keepAddr(local bool) func(ma.Multiaddr) bool {
	return func(a ma.Multiaddr) bool { return local || !isLoopback(a) }
}

// askForPeers learns addresses from a peer and has the finder look at them.
func (h *Host) askForPeers(s *peerState) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	raw, err := h.request(ctx, s.id, peersRequest, nil, maxPeersResponse)
	if err != nil {
		h.log.Debug("peer names no peers", "peer", s.id, "err", err)
		return
	}
	records, err := decodePeers(raw)
	if err != nil {
		h.count.inc(cFramesMalformed)
		h.Penalize(s.id, FaultMalformed)
		return
	}
	keep := keepAddr(h.onLoopback(s.id))
	for _, r := range records {
		if ctx.Err() != nil {
			return
		}
		p, changed, err := h.book.addRecord(r, keep)
		if err != nil {
			h.count.inc(cFramesMalformed)
			h.Penalize(s.id, FaultMalformed)
			return
		}
		if changed {
			h.addressLearned(p)
		}
	}
}

// learnIdentified notes the signed records that peers send of themselves when
// they connect or their addresses change.
func (h *Host) learnIdentified() error {
	sub, err := h.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("subscribe to identification: %w", err)
	}
	h.spawn(func() {
		defer sub.Close()
		for {
			select {
			case <-h.ctx.Done():
				return
			case e, ok := <-sub.Out():
				if !ok {
					return
				}
				h.identified(e.(event.EvtPeerIdentificationCompleted))
			}
		}
	})
	return nil
}

func (h *Host) identified(e event.EvtPeerIdentificationCompleted) {
	if e.SignedPeerRecord == nil {
		h.book.addHint(e.Peer, e.ListenAddrs)
		return
	}
	raw, err := e.SignedPeerRecord.Marshal()
	if err != nil {
		return
	}
	p, changed, err := h.book.addRecord(raw, keepAddr(isLoopback(e.Conn.RemoteMultiaddr())))
	if err == nil && changed {
		h.addressLearned(p)
	}
}

// addressLearned has p dialled if it should be: at once if it is kept, else by
// the finder.
func (h *Host) addressLearned(p peer.ID) {
	h.mu.Lock()
	k := h.keepers[p]
	h.mu.Unlock()
	if k != nil {
		k.learned()
	}
	h.discovery.poke()
}
