package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

// Times of a WebSocket connection.
const (
	pingEvery = 30 * time.Second
	readWait  = 90 * time.Second // without a message or a pong
	closeWait = time.Second      // for the frame that says why
)

// Reasons in close frames.
const (
	reasonSlow     = "slow reader: answers and notifications waited too long; read faster or subscribe to less"
	reasonStopping = "the node stops"
	reasonLost     = "slow reader: events were lost; subscribe again"
)

var (
	errSocketClosed = errors.New("connection is closed")
	errSlowReader   = errors.New(reasonSlow)
	upgrader        = websocket.Upgrader{
		ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool),
		CheckOrigin: func(*http.Request) bool { return true }, // Server.ServeHTTP has checked it
	}
)

// socket is one WebSocket connection, as the stream of JSON values that
// go-ethereum's server serves. What waits to be written is bounded, in bytes and
// in time: a reader that does not keep up is told so and closed.
type socket struct {
	conn    *websocket.Conn
	cork    *cork  // under conn
	address string // ip:port, its name among sockets
	limits  *Limits
	meters  *meters
	server  *Server
	request *http.Request // with the name and context that calls are made under
	waiting *atomic.Int64

	rest  []byte        // of the message that go-ethereum's server reads
	in    *intake       // of that message
	held  atomic.Int64  // bytes of messages that are read or wait for their answers
	calls chan struct{} // places for messages that wait for their answers

	mu     sync.Mutex
	room   *sync.Cond // the queue has become shorter, or the connection is closed
	queue  []outgoing
	bytes  int // in queue
	closed bool
	began  map[string]begun // calls that came alone, by id
	notifier
	filled  chan struct{} // length 1: the queue has something
	pings   chan string   // length 1: the newest that has no answer
	done    chan struct{} // closed with the connection
	open    atomic.Int32  // subscriptions
	telling *turn         // of the goroutine that serves the subscriptions
}

// begun is a call that is being answered.
type begun struct {
	meter *methodMeter
	at    time.Time
}

// serveSocket upgrades a request and serves the connection until it ends.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	svc := s.service
	host := remoteHost(r.RemoteAddr)
	if !svc.sockets.enter(host) {
		svc.meters.refused("sockets")
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many WebSocket connections (rpc.limits.sockets, sockets_per_address)", http.StatusTooManyRequests)
		return
	}
	defer svc.sockets.leave(host)
	corked := &corking{ResponseWriter: w}
	conn, err := upgrader.Upgrade(corked, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	c := &socket{
		conn: conn, cork: corked.cork, address: r.RemoteAddr, limits: &svc.limits, meters: svc.meters, server: s, waiting: &svc.waiting,
		calls: make(chan struct{}, svc.limits.SocketCalls), began: make(map[string]begun), notifier: notifier{poke: make(chan struct{}, 1)},
		filled: make(chan struct{}, 1), pings: make(chan string, 1), done: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context())) // a request's own ends with the upgrade
	defer cancel()
	c.request = (&http.Request{
		Method: http.MethodPost, URL: r.URL, Host: r.Host, RemoteAddr: r.RemoteAddr, Proto: r.Proto,
		Header: http.Header{"Content-Type": {"application/json"}},
	}).WithContext(ctx)
	c.room = sync.NewCond(&c.mu)
	conn.SetReadLimit(int64(svc.limits.BodyBytes))
	conn.SetPingHandler(c.pinged)
	conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(readWait)) })
	svc.sockets.add(c)
	defer svc.sockets.remove(c)
	written := make(chan struct{})
	go func() { defer close(written); c.write() }()
	s.rpc.ServeCodec(rpc.NewCodec(c), 0)
	if c.in != nil {
		c.in.release()
	}
	_ = c.Close()
	<-written
}

// Read gives go-ethereum's decoder one whole JSON value after the other. A
// message that is no JSON is answered here, and the connection goes on.
func (c *socket) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.in != nil {
			c.in.release()
		}
		in := c.server.service.intake(&c.held)
		c.in = in
		msg, err := c.receive(in)
		if err != nil {
			return 0, io.EOF
		}
		if msg == nil {
			continue // it is refused
		}
		f := firstLook(msg, &in.scan)
		if !f.subscribes() {
			places := c.places(&f, len(msg))
			if !c.begin(&f, places) {
				return 0, io.EOF
			}
			c.in = nil // is released with the answer
			go c.answer(msg, f, in, places)
			continue
		}
		if err := c.subscribe(msg, &f); err != nil {
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// receive reads one message; nil is one that was refused, and the connection goes
// on. One that is too much for the node ends it, as does too much that is refused.
func (c *socket) receive(in *intake) ([]byte, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(readWait))
	_, r, err := c.conn.NextReader()
	if err != nil {
		return nil, err
	}
	svc, who := c.server.service, callerOf(c.request.Context())
	if svc.refusals.spent(who.sender()) {
		c.meters.refused("refusals")
		c.end(websocket.CloseTryAgainLater, errTooMuchRefused.Error())
		return nil, errTooMuchRefused
	}
	msg, err := in.read(r, -1)
	switch {
	case errors.Is(err, errTooMuchComes):
		c.meters.refused("memory")
		c.end(websocket.CloseTryAgainLater, err.Error())
	case err == nil && !in.scan.begun:
		return nil, c.enqueue(message(svc.refused(who, nil, io.ErrUnexpectedEOF)))
	case errors.Is(err, errTooDeep), errors.Is(err, errBatchTooLarge):
		return nil, c.enqueue(message(svc.refused(who, msg, err)))
	}
	return msg, err
}

// subscribe hands a call that is about the connection to go-ethereum's decoder, if
// it is allowed.
func (c *socket) subscribe(msg []byte, f *frame) error {
	var v json.RawMessage
	if err := json.Unmarshal(msg, &v); err != nil {
		c.server.service.refuse(callerOf(c.request.Context()), "malformed")
		return c.enqueue(message(parseError(err)))
	}
	if err := c.server.service.allowed(c.request.Context(), &f.calls[0]); err != nil {
		return c.enqueue(message(errorAnswer(f.calls[0].id, err).body))
	}
	if !c.begin(f, 1) {
		return errSocketClosed
	}
	c.rest = append(bytes.Clone(msg), '\n') // ends a value that is a bare number
	return nil
}

// callsOfPlace is about how many calls, read, take as much memory as a message that
// takes one place.
const callsOfPlace = 32

// places is how many of a connection's places a message takes: a long one, and one
// of many calls, takes more, so that one connection never has many of them waiting.
func (c *socket) places(f *frame, length int) int {
	if f.subscribes() {
		return 1
	}
	return min(1+length/smallAnswer+f.count/callsOfPlace, cap(c.calls))
}

// begin takes places for a message. It waits while too many are being answered.
func (c *socket) begin(f *frame, places int) bool {
	for range places {
		select {
		case c.calls <- struct{}{}:
		case <-c.done:
			return false
		}
	}
	if f.subscribes() {
		meter := c.meters.arrived(f)
		c.mu.Lock()
		c.began[string(f.calls[0].id)] = begun{meter: meter, at: time.Now()}
		c.mu.Unlock()
	}
	return true
}

// answer has a message answered that needs nothing of the connection, as if it
// had come over HTTP: with the same limits.
func (c *socket) answer(msg []byte, f frame, in *intake, places int) {
	defer func() {
		in.release()
		for range places {
			<-c.calls
		}
	}()
	out, err := c.server.answer(c.request, msg, &f)
	switch {
	case err != nil:
		c.end(websocket.CloseTryAgainLater, err.Error())
	case out.size > 0:
		_ = c.enqueueCounted(outgoing{parts: out.parts})
	}
}

// Write takes one message of go-ethereum's server: the answer to one who
// subscribes or unsubscribes.
func (c *socket) Write(p []byte) (int, error) {
	raw := bytes.Clone(bytes.TrimSuffix(p, []byte("\n")))
	if err := c.enqueue(message(raw)); err != nil {
		return 0, err
	}
	if id, code, ok := outcome(raw); ok {
		c.mu.Lock()
		b, known := c.began[string(id)]
		delete(c.began, string(id))
		if code == 0 {
			c.saidLocked(raw)
		}
		c.mu.Unlock()
		c.pokeNotifier()
		if known {
			b.meter.seconds.Observe(time.Since(b.at).Seconds())
			c.meters.answered(b.meter, raw)
		}
	}
	select {
	case <-c.calls:
	default:
	}
	return len(p), nil
}

// end closes the connection with a reason, once. Without a reason no close frame
// is sent.
func (c *socket) end(code int, reason string) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	for _, o := range c.queue {
		c.waiting.Add(-int64(o.size()))
	}
	c.queue, c.bytes = nil, 0
	close(c.done)
	c.room.Broadcast()
	c.mu.Unlock()
	if reason != "" {
		if reason == reasonSlow || reason == reasonLost {
			c.meters.refused("slow reader")
		}
		_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWait))
	}
	_ = c.conn.Close()
}

// Close is called by go-ethereum's server when it is done with the connection.
func (c *socket) Close() error {
	c.end(websocket.CloseNormalClosure, "closed")
	return nil
}

// SetWriteDeadline does nothing: Write puts into a queue that has its own.
func (c *socket) SetWriteDeadline(time.Time) error { return nil }

// RemoteAddr names the connection in the context of its calls.
func (c *socket) RemoteAddr() string { return c.address }
