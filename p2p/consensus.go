package p2p

import (
	"bufio"
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// sender owns the outgoing consensus stream to one validator: a bounded queue
// and the goroutine that writes it.
type sender struct {
	h      *Host
	to     peer.ID
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // frames were queued, or the peer became ready

	mu    sync.Mutex
	queue []queued
	bytes int
	open  bool // a stream is open: the queue moves
}

type queued struct {
	body []byte
	at   time.Time
}

// newSenderLocked starts the sender of a validator. Host.mu is held.
func (h *Host) newSenderLocked(to peer.ID) *sender {
	s := &sender{h: h, to: to, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	h.spawnLocked(s.run)
	return s
}

// SendConsensus queues one message for a validator's direct stream and returns
// at once. msg must not change afterwards. False = dropped: the peer is no
// validator, the queue is full, or msg is empty or above MaxConsensusBytes.
// True is no promise: what waits longer than 2 s for a lost peer, or is written
// as the connection ends, is lost.
func (h *Host) SendConsensus(to peer.ID, msg []byte) bool {
	h.mu.Lock()
	s := h.senders[to]
	h.mu.Unlock()
	if s == nil || len(msg) == 0 || len(msg) > h.cfg.MaxConsensusBytes || !s.push(msg) {
		h.count.inc(cConsensusDropped)
		return false
	}
	s.poke()
	return true
}

func (s *sender) push(msg []byte) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		s.expire(now)
	}
	if len(s.queue) >= consensusQueueFrames || s.bytes+len(msg) > s.h.cfg.MaxConsensusQueue {
		return false
	}
	s.queue = append(s.queue, queued{msg, now})
	s.bytes += len(msg)
	return true
}

// expire drops what a peer that was away no longer needs: consensus resends.
func (s *sender) expire(now time.Time) {
	n := 0
	for n < len(s.queue) && now.Sub(s.queue[n].at) > consensusStaleAfter {
		s.bytes -= len(s.queue[n].body)
		n++
	}
	s.drop(n)
	s.h.count.add(cConsensusDropped, n)
}

// drop removes n frames from the front.
func (s *sender) drop(n int) {
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
}

// take moves frames that wait into buf, at least one if there is any, and
// answers how many.
func (s *sender) take(buf []byte) ([]byte, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.queue) {
		body := s.queue[n].body
		if n > 0 && len(buf)+frameHeader+len(body) > consensusWriteBuffer {
			break
		}
		buf = appendFrame(buf, body)
		s.bytes -= len(body)
		n++
	}
	s.drop(n)
	return buf, n
}

func (s *sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) setOpen(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.expire(time.Now())
	}
	s.open = open
}

// run opens the stream whenever the peer is there and writes until it breaks.
// The first retry comes at once, for a restarted peer; later ones back off, for
// one that refuses us.
func (s *sender) run() {
	wait := streamRetryFirst
	for s.ctx.Err() == nil {
		state, err := s.h.awaitReady(s.ctx, s.to)
		if err != nil {
			select {
			case <-s.wake: // by Host.ready, or for nothing by SendConsensus
			case <-s.ctx.Done():
			}
			continue
		}
		opened := time.Now()
		s.stream(state)
		if time.Since(opened) > streamRetryLast {
			wait = streamRetryFirst
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
		}
		wait = min(2*wait, streamRetryLast)
	}
}

// stream opens one stream and writes until it or the peer ends.
func (s *sender) stream(state *peerState) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(state.ctx, "consensus"), s.h.waits.open)
	stream, err := s.h.host.NewStream(ctx, s.to, s.h.protocol("consensus"))
	cancel()
	if err != nil {
		s.h.log.Debug("consensus stream not opened", "peer", s.to, "err", err)
		return
	}
	// Reset, not Close: what is unsent is no longer worth waiting for. It also
	// ends the reader below.
	stop := context.AfterFunc(s.ctx, func() { stream.Reset() })
	defer stop()
	defer stream.Reset()
	s.h.count.inc(cConsensusStreams)
	s.setOpen(true)
	defer s.setOpen(false)

	gone := make(chan struct{})
	s.h.spawn(func() {
		defer close(gone)
		// The peer never writes here; a read ends when the stream does.
		_, _ = stream.Read(make([]byte, 1))
	})
	buf := make([]byte, 0, 4<<10)
	for {
		var n int
		if buf, n = s.take(buf[:0]); n == 0 {
			select {
			case <-s.wake:
			case <-gone:
				return
			case <-s.ctx.Done():
				return
			}
			continue
		}
		if err := s.write(stream, buf); err != nil {
			s.h.count.add(cConsensusDropped, n)
			return
		}
		s.h.count.add(cConsensusSent, n)
		s.h.count.add(cConsensusSentBytes, len(buf))
		if cap(buf) > 2*consensusWriteBuffer {
			buf = make([]byte, 0, 4<<10)
		}
	}
}

// write sends buf within a time that a slow line (128 KiB/s) keeps. A peer that
// does not is disconnected, so that reconnecting can find a better path.
func (s *sender) write(stream network.Stream, buf []byte) error {
	limit := consensusWriteLimit + time.Duration(len(buf))*time.Second/(128<<10)
	if err := stream.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := stream.Write(buf)
	if isTimeout(err) {
		s.h.count.inc(cStreamsSlow)
		s.h.log.Info("validator takes no data; disconnecting", "peer", s.to, "limit", limit)
		stream.Conn().Close()
	}
	return err
}

// queuedConsensus is the number of bytes in all queues.
func (h *Host) queuedConsensus() uint64 {
	h.mu.Lock()
	senders := make([]*sender, 0, len(h.senders))
	for _, s := range h.senders {
		senders = append(senders, s)
	}
	h.mu.Unlock()
	total := 0
	for _, s := range senders {
		s.mu.Lock()
		total += s.bytes
		s.mu.Unlock()
	}
	return uint64(total)
}

// receiveConsensus reads a validator's stream until it ends. A newer stream of
// the same validator ends this one.
func (h *Host) receiveConsensus(stream network.Stream) (closed bool) {
	from := stream.Conn().RemotePeer()
	if h.handlers.Consensus == nil || !h.takeInbound(from, stream) {
		h.count.inc(cConsensusRefused)
		return false
	}
	defer h.releaseInbound(from, stream)
	state := h.admit(stream)
	if state == nil {
		return false
	}
	r := bufio.NewReaderSize(stream, 16<<10)
	for {
		body, err := h.readConsensusFrame(stream, r)
		if err != nil {
			if f, ok := h.countFrameError(err); ok {
				h.log.Info("bad consensus frame", "peer", from, "err", err)
				h.Penalize(from, f)
			}
			return false
		}
		state.hear()
		h.count.inc(cConsensusReceived)
		h.handlers.Consensus(from, body)
	}
}

// readConsensusFrame waits for the next frame without limit, but once it began
// for no longer than waits.consensus.
func (h *Host) readConsensusFrame(stream network.Stream, r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	timed := false
	if r.Buffered() < frameHeader {
		timed = true
		stream.SetReadDeadline(time.Now().Add(h.waits.consensus))
	}
	n, err := readFrameLength(r, h.cfg.MaxConsensusBytes)
	if err != nil {
		return nil, err
	}
	if timed || r.Buffered() < n {
		timed = true
		stream.SetReadDeadline(time.Now().Add(h.waits.consensus + time.Duration(n)*time.Second/(128<<10)))
	}
	body, err := readFrameBody(r, n)
	if err == nil && timed {
		err = stream.SetReadDeadline(time.Time{})
	}
	return body, err
}

// takeInbound makes stream the validator's only one; false = no validator.
func (h *Host) takeInbound(from peer.ID, stream network.Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.validators[from]; !ok || h.closed {
		return false
	}
	if old := h.inbound[from]; old != nil {
		old.Reset()
	}
	h.inbound[from] = stream
	return true
}

func (h *Host) releaseInbound(from peer.ID, stream network.Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inbound[from] == stream {
		delete(h.inbound, from)
	}
}
