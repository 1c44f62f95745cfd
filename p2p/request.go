package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
	"golang.org/x/time/rate"
)

// A request is one stream: the frame of format(1) and the request's bytes one
// way, the frame of status(1) and the response's bytes the other. The asking
// side keeps its half open until it has the response: closing or resetting it
// earlier cancels the request.
const requestFormat = 1

const (
	statusOK byte = iota
	statusRefused
	statusLimited
)

// peersRequest is answered by this package.
const peersRequest = "peers"

var requestName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func checkRequestName(name string) error {
	if !requestName.MatchString(name) {
		return fmt.Errorf("%w: request name %q does not match %s", ErrConfig, name, requestName)
	}
	if name == peersRequest {
		return fmt.Errorf("%w: request name %q is taken", ErrConfig, name)
	}
	return nil
}

func (h *Host) requestProtocol(name string) protocol.ID { return h.protocol("request/" + name) }

// requestServer bounds what peers ask of us.
type requestServer struct {
	mu     sync.Mutex
	peers  map[peer.ID]*allowance
	active int // requests of peers that are no validators, being answered
	bytes  int // of responses being written to those
}

// allowance is what one peer may still ask. It outlives the connection, so that
// reconnecting gains nothing.
type allowance struct {
	requests *rate.Limiter
	batches  *rate.Limiter
	active   int // requests being answered
	direct   int // batches being read
}

const maxAllowances = 4096

// allowance answers p's; requestServer.mu is held.
func (r *requestServer) allowance(p peer.ID, perSecond float64) *allowance {
	a := r.peers[p]
	if a == nil {
		if len(r.peers) >= maxAllowances {
			r.forget()
		}
		a = &allowance{
			requests: rate.NewLimiter(rate.Limit(perSecond), max(1, int(2*perSecond))),
			batches:  rate.NewLimiter(directBatchesRate, 2*directBatchesRate),
		}
		r.peers[p] = a
	}
	if a.requests.Limit() != rate.Limit(perSecond) { // became a validator, or is none any more
		a.requests.SetLimit(rate.Limit(perSecond))
		a.requests.SetBurst(max(1, int(2*perSecond)))
	}
	return a
}

// forget makes room: those whose allowance is full again lose nothing.
func (r *requestServer) forget() {
	for p, a := range r.peers {
		full := a.requests.Tokens() >= float64(a.requests.Burst()) && a.batches.Tokens() >= float64(a.batches.Burst())
		if full && a.active == 0 && a.direct == 0 {
			delete(r.peers, p)
		}
	}
	for p, a := range r.peers {
		if len(r.peers) < maxAllowances {
			break
		}
		if a.active == 0 && a.direct == 0 {
			delete(r.peers, p)
		}
	}
}

// beginRequest takes a slot for a request of p; the caller calls the function
// it gets.
func (h *Host) beginRequest(p peer.ID, validator bool) (done func(), ok bool) {
	atOnce, perSecond := requestsPerPeer, h.cfg.RequestRate
	if validator {
		atOnce, perSecond = requestsPerValidator, perSecond*validatorRateFactor
	}
	r := &h.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.allowance(p, perSecond)
	if a.active >= atOnce || !validator && r.active >= requestsTotal || !a.requests.Allow() {
		return nil, false
	}
	share := 1
	if validator {
		share = 0 // others cannot crowd validators out
	}
	a.active++
	r.active += share
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		a.active--
		r.active -= share
	}, true
}

// beginResponse says whether n more bytes may wait for slow readers.
func (h *Host) beginResponse(n int, validator bool) (done func(), ok bool) {
	r := &h.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	if validator {
		return func() {}, true
	}
	if r.bytes > 0 && r.bytes+n > maxResponsesBytes {
		return nil, false
	}
	r.bytes += n
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bytes -= n
	}, true
}

func (h *Host) startRequests() {
	h.requests = requestServer{peers: map[peer.ID]*allowance{}}
	h.serve(peersRequest, h.answerPeers)
	for name, f := range h.handlers.Requests {
		h.serve(name, f)
	}
}

func (h *Host) serve(name string, f Request) {
	h.host.SetStreamHandler(h.requestProtocol(name), h.guard(func(s network.Stream) bool { return h.serveOne(s, name, f) }))
}

// serveOne answers one request.
func (h *Host) serveOne(stream network.Stream, name string, f Request) (closed bool) {
	from := stream.Conn().RemotePeer()
	validator := h.gater.isValidator(from)
	done, ok := h.beginRequest(from, validator)
	if !ok {
		h.count.inc(cRequestsLimited)
		h.Penalize(from, FaultFlood)
		_ = h.respond(stream, statusLimited, nil)
		return stream.Close() == nil
	}
	defer done()
	state := h.admit(stream)
	if state == nil {
		return false
	}
	stream.SetReadDeadline(time.Now().Add(h.waits.request))
	req, err := readFrame(stream, maxRequest+1)
	if err == nil && req[0] != requestFormat {
		err = fmt.Errorf("%w: request format %d", ErrFrameEmpty, req[0])
	}
	if err != nil {
		if f, ok := h.countFrameError(err); ok {
			h.Penalize(from, f)
		}
		return false
	}
	ctx, cancel := context.WithTimeout(state.ctx, requestServeLimit)
	defer cancel()
	// The asking side sends nothing more: whatever this read brings, it has
	// the response, no longer wants it, or is gone.
	stream.SetReadDeadline(time.Time{})
	gone := make(chan struct{})
	h.spawn(func() {
		defer close(gone)
		_, _ = stream.Read(make([]byte, 1))
		cancel()
	})
	status := statusOK
	resp, err := f(ctx, from, req[1:])
	if err == nil && len(resp) > h.cfg.MaxResponseBytes {
		err = fmt.Errorf("%w: response of %d bytes, limit %d", ErrFrameTooLarge, len(resp), h.cfg.MaxResponseBytes)
	}
	if err != nil {
		h.count.inc(cRequestsRefused)
		h.log.Debug("request not answered", "name", name, "peer", from, "err", err)
		status, resp = statusRefused, nil
	}
	written, ok := h.beginResponse(len(resp), validator)
	if !ok {
		h.count.inc(cRequestsLimited)
		status, resp, written = statusLimited, nil, func() {}
	}
	defer written()
	if h.respond(stream, status, resp) != nil {
		return false
	}
	if status == statusOK {
		h.count.inc(cRequestsServed)
	}
	// A reset now could overtake the response, but the stream must end some
	// time: the other side closes it when it has read all.
	select {
	case <-gone:
	case <-state.ctx.Done():
	case <-time.After(requestWriteLimit):
		h.count.inc(cStreamsSlow)
		h.Penalize(from, FaultSlow)
	}
	return false
}

// respond writes a whole response and closes this side of the stream.
func (h *Host) respond(stream network.Stream, status byte, resp []byte) error {
	stream.SetWriteDeadline(time.Now().Add(requestWriteLimit))
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4<<10), uint32(1+len(resp)))
	head = append(head, status)
	if len(head)+len(resp) <= cap(head) {
		head, resp = append(head, resp...), nil
	}
	_, err := stream.Write(head)
	if err == nil && len(resp) > 0 {
		_, err = stream.Write(resp)
	}
	if err == nil {
		err = stream.CloseWrite()
	}
	if isTimeout(err) {
		h.count.inc(cStreamsSlow)
		h.Penalize(stream.Conn().RemotePeer(), FaultSlow)
	}
	return err
}

// Request asks a connected peer and returns its response's bytes, at most
// Config.MaxResponseBytes; req has at most 64 KiB. It takes at most
// Config.RequestTimeout, less if ctx ends earlier.
// Errors: ErrNotConnected, ErrRequestTooLarge, ErrRequestUnknown,
// ErrRequestTimeout, ErrRequestRefused, ErrRateLimited, ErrBadResponse, those
// of ctx and of the stream.
func (h *Host) Request(ctx context.Context, to peer.ID, name string, req []byte) ([]byte, error) {
	return h.request(ctx, to, name, req, h.cfg.MaxResponseBytes)
}

// RequestAtMost is Request for a response that has fewer bytes at most than
// others: of more than most no byte is read after the length.
func (h *Host) RequestAtMost(ctx context.Context, to peer.ID, name string, req []byte, most int) ([]byte, error) {
	return h.request(ctx, to, name, req, min(most, h.cfg.MaxResponseBytes))
}

func (h *Host) request(ctx context.Context, to peer.ID, name string, req []byte, maxResponse int) ([]byte, error) {
	if len(req) > maxRequest {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrRequestTooLarge, len(req), maxRequest)
	}
	if name != peersRequest && !requestName.MatchString(name) {
		return nil, fmt.Errorf("%w: %q", ErrRequestUnknown, name)
	}
	limited, cancel := context.WithTimeout(ctx, h.cfg.RequestTimeout)
	defer cancel()
	h.count.inc(cRequestsSent)
	resp, err := h.requestOnce(limited, to, name, req, maxResponse)
	if err == nil {
		return resp, nil
	}
	h.count.inc(cRequestsFailed)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case h.ctx.Err() != nil:
		err = ErrClosed
	case limited.Err() != nil:
		err = fmt.Errorf("%w: %s", ErrRequestTimeout, h.cfg.RequestTimeout)
	}
	return nil, fmt.Errorf("request %s of %s: %w", name, to, err)
}

func (h *Host) requestOnce(ctx context.Context, to peer.ID, name string, req []byte, maxResponse int) ([]byte, error) {
	state, err := h.awaitReady(ctx, to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(network.WithNoDial(ctx, name))
	defer cancel()
	defer context.AfterFunc(state.ctx, cancel)()
	stream, err := h.host.NewStream(ctx, to, h.requestProtocol(name))
	if err != nil {
		if state.ctx.Err() != nil {
			return nil, ErrNotConnected
		}
		if isUnsupported(err) {
			return nil, ErrRequestUnknown
		}
		return nil, err
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, func() { stream.Reset() })()
	out := make([]byte, 0, frameHeader+1+len(req))
	out = binary.BigEndian.AppendUint32(out, uint32(1+len(req)))
	out = append(append(out, requestFormat), req...)
	if _, err := stream.Write(out); err != nil {
		return nil, h.requestError(state, err)
	}
	resp, err := readFrame(stream, maxResponse+1)
	if err != nil {
		return nil, h.requestError(state, err)
	}
	stream.Close()
	switch resp[0] {
	case statusOK:
		return resp[1:], nil
	case statusRefused:
		return nil, ErrRequestRefused
	case statusLimited:
		return nil, ErrRateLimited
	}
	h.count.inc(cFramesMalformed)
	h.Penalize(to, FaultMalformed)
	return nil, fmt.Errorf("%w: status %d", ErrBadResponse, resp[0])
}

func isUnsupported(err error) bool {
	var unsupported multistream.ErrNotSupported[protocol.ID]
	return errors.As(err, &unsupported)
}

// requestError says what a broken request stream means.
func (h *Host) requestError(state *peerState, err error) error {
	switch {
	case state.ctx.Err() != nil:
		return ErrNotConnected
	case isUnsupported(err):
		return ErrRequestUnknown
	case errors.Is(err, ErrFrameTooLarge), errors.Is(err, ErrFrameEmpty), errors.Is(err, ErrFrameTruncated):
		if f, ok := h.countFrameError(err); ok {
			h.Penalize(state.id, f)
		}
		return fmt.Errorf("%w: %w", ErrBadResponse, err)
	case errors.Is(err, io.EOF), errors.Is(err, network.ErrReset):
		return fmt.Errorf("%w: %w", ErrRequestRefused, err)
	}
	return err
}
