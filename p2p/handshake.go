package p2p

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"cairn/crypto"
)

// handshakeProtocol is the same on all networks, so that a node of another one
// can be told so.
const handshakeProtocol = protocol.ID("/cairn/handshake/1")

// networkPrefix begins the protocol ids of a network: 8 bytes of the genesis
// hash are enough to keep networks apart, the handshake checks all 32.
func networkPrefix(genesis crypto.Hash) string {
	return "/cairn/" + hex.EncodeToString(genesis[:8])
}

func (h *Host) hello(r refusal) *hello {
	return &hello{
		Version: wireVersion, Lowest: wireVersionMin, Genesis: h.cfg.Genesis, Instance: h.instance, Refusal: r,
		UserAgent: h.cfg.UserAgent, RuleSets: h.cfg.RuleSets,
	}
}

// judge decides whether p, who said m, can be a peer.
func (h *Host) judge(p peer.ID, m *hello) refusal {
	switch {
	case m.Genesis != h.cfg.Genesis:
		return refusalGenesis
	case m.Version < wireVersionMin || m.Lowest > wireVersion:
		return refusalVersion
	}
	switch err := h.gater.check(p); {
	case errors.Is(err, ErrBanned):
		return refusalBanned
	case errors.Is(err, ErrNotAllowed):
		return refusalNotAllowed
	}
	if !h.roomFor(p) {
		return refusalTooManyPeers
	}
	return refusalNone
}

// shake says hello to a peer that was dialled.
func (h *Host) shake(s *peerState) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(s.ctx, "handshake"), h.cfg.HandshakeTimeout)
	defer cancel()
	m, conn, err := h.exchangeHello(ctx, s.id)
	if err == nil {
		var byPeer bool
		r := m.Refusal
		if byPeer = r != refusalNone; !byPeer {
			r = h.judge(s.id, m)
		}
		if r == refusalNone {
			h.ready(s, m, conn)
			return
		}
		err = &IncompatibleError{Kind: r.kind(), Ours: h.cfg.Genesis, Theirs: m.Genesis, UserAgent: m.UserAgent, ByPeer: byPeer}
	}
	h.refuse(s, err)
}

func (h *Host) exchangeHello(ctx context.Context, p peer.ID) (*hello, network.Conn, error) {
	stream, err := h.host.NewStream(ctx, p, handshakeProtocol)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Reset() })()
	if _, err = stream.Write(appendFrame(nil, h.hello(refusalNone).encode())); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	raw, err := readFrame(stream, maxHello)
	if err != nil {
		h.countFrameError(err)
		return nil, nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	m, err := decodeHello(raw)
	if err != nil {
		h.count.inc(cFramesMalformed)
		return nil, nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return m, stream.Conn(), nil
}

// answerHandshake is the side that was dialled.
func (h *Host) answerHandshake(stream network.Stream) (closed bool) {
	s := h.state(stream.Conn().RemotePeer())
	if s == nil {
		return false
	}
	stream.SetDeadline(time.Now().Add(h.cfg.HandshakeTimeout))
	raw, err := readFrame(stream, maxHello)
	if err != nil {
		h.countFrameError(err)
		h.refuse(s, fmt.Errorf("%w: %w", ErrHandshake, err))
		return false
	}
	m, err := decodeHello(raw)
	if err != nil {
		h.count.inc(cFramesMalformed)
		h.Penalize(s.id, FaultMalformed)
		h.refuse(s, fmt.Errorf("%w: %w", ErrHandshake, err))
		return false
	}
	r := h.judge(s.id, m)
	if r == refusalNone {
		// Before the answer: the peer may use other protocols as soon as it
		// has it.
		h.ready(s, m, stream.Conn())
	}
	_, err = stream.Write(appendFrame(nil, h.hello(r).encode()))
	if r != refusalNone {
		// The answer must arrive before the connection goes: wait until the
		// peer has closed its side.
		stream.CloseWrite()
		stream.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, io.LimitReader(stream, 1))
		h.refuse(s, &IncompatibleError{Kind: r.kind(), Ours: h.cfg.Genesis, Theirs: m.Genesis, UserAgent: m.UserAgent})
		return false
	}
	return err == nil && stream.Close() == nil
}

// ready notes that the handshake with a peer is done, on conn.
func (h *Host) ready(s *peerState, m *hello, conn network.Conn) {
	h.mu.Lock()
	if h.peers[s.id] != s {
		h.mu.Unlock()
		return
	}
	before := s.hello
	s.hello = m
	if before != nil {
		apart := h.waits.together
		if before.Instance != m.Instance {
			apart = 0 // it was started anew
		}
		h.spawnLocked(func() { h.closeOlder(conn, apart) })
		h.mu.Unlock()
		return
	}
	s.since = time.Now()
	close(s.readyOnce)
	h.settleLocked(s.id, nil)
	if snd := h.senders[s.id]; snd != nil {
		snd.poke()
	}
	if k := h.keepers[s.id]; k != nil {
		k.poke()
	}
	h.spawnLocked(func() { h.askForPeers(s) })
	h.spawnLocked(func() { h.ping(s.id) })
	h.mu.Unlock()
	h.count.inc(cHandshakes)
	h.book.met(s.id)
	h.poke()
	h.log.Debug("peer ready", "peer", s.id, "agent", m.UserAgent)
}

// closeOlder closes the connections of a peer that opened before conn by more
// than apart. Nobody dials a peer that it is connected to, so the other end of
// these is gone: after a partition one side may have given up a connection and
// the other not yet, and what that one sends on it would be lost for as long as
// TCP tries. Two that opened close together may have been dialled at the same
// time from both sides; those stay.
func (h *Host) closeOlder(conn network.Conn, apart time.Duration) {
	for _, c := range h.host.Network().ConnsToPeer(conn.RemotePeer()) {
		if c.ID() != conn.ID() && conn.Stat().Opened.Sub(c.Stat().Opened) > apart {
			h.log.Debug("closing a connection that the peer has left", "peer", conn.RemotePeer())
			c.Close()
			h.count.inc(cConnectionsLeft)
		}
	}
}

// refuse disconnects a peer whose handshake failed or that cannot be a peer.
func (h *Host) refuse(s *peerState, err error) {
	if h.ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	done := s.hello != nil
	h.mu.Unlock()
	var bad *IncompatibleError
	if !errors.As(err, &bad) && done {
		return // another connection's handshake was fine, this one's stream broke
	}
	switch {
	case errors.Is(err, ErrWrongGenesis):
		h.count.inc(cWrongGenesis)
	case errors.Is(err, ErrIncompatible):
		h.count.inc(cIncompatible)
	case bad != nil:
		h.count.inc(cPeersRefused)
	default:
		h.count.inc(cHandshakesFailed)
	}
	if bad != nil && h.mustKeep(s.id) {
		h.log.Warn("handshake with a bootnode or validator failed; check its genesis file, version and settings", "peer", s.id, "err", err)
	} else {
		h.log.Debug("handshake failed", "peer", s.id, "err", err)
	}
	h.book.failed(s.id)
	h.mu.Lock()
	h.settleLocked(s.id, err)
	h.mu.Unlock()
	h.host.Network().ClosePeer(s.id)
}

// expectHandshake disconnects a peer that never completes a handshake.
func (h *Host) expectHandshake(s *peerState) {
	t := time.NewTimer(h.cfg.HandshakeTimeout)
	defer t.Stop()
	select {
	case <-s.readyOnce:
	case <-s.ctx.Done():
	case <-t.C:
		h.count.inc(cStreamsSlow)
		h.refuse(s, fmt.Errorf("%w: nothing within %s", ErrHandshake, h.cfg.HandshakeTimeout))
	}
}

// countFrameError counts why a frame could not be read and answers the fault
// to charge for, if any.
func (h *Host) countFrameError(err error) (Fault, bool) {
	switch {
	case errors.Is(err, ErrFrameTooLarge):
		h.count.inc(cFramesOversize)
		return FaultOversize, true
	case errors.Is(err, ErrFrameEmpty):
		h.count.inc(cFramesMalformed)
		return FaultMalformed, true
	case errors.Is(err, ErrFrameTruncated):
		h.count.inc(cFramesMalformed)
	case isTimeout(err):
		h.count.inc(cStreamsSlow)
		return FaultSlow, true
	}
	return "", false
}
