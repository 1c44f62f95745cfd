package rpc

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cairn/crypto"
)

// pipes is a listener of connections without any buffer: what their reader does not
// read is not written.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// Accept waits for the next connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipes) Close() error { close(p.closed); return nil }

// Addr is no address.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// bare is a WebSocket connection without buffers, and the server's end of it.
func (f *fixture) bare(t *testing.T) (*websocket.Conn, *socket) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	s := &http.Server{Handler: f.server, ReadHeaderTimeout: patience}
	served := make(chan error, 1)
	go func() { served <- s.Serve(p) }()
	t.Cleanup(func() {
		check(t, s.Close())
		<-served
	})
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	p.conns <- theirs
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return ours, nil }}
	c, resp, err := d.DialContext(t.Context(), "ws://localhost/", nil)
	check(t, err)
	check(t, resp.Body.Close())
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
	sockets := f.server.service.sockets
	var end *socket
	eventually(t, "the connection", func() bool {
		sockets.mu.Lock()
		defer sockets.mu.Unlock()
		end = sockets.open["pipe"]
		return end != nil
	})
	return c, end
}

// TestPingOfSlowReader: a ping that comes while its sender reads slowly does not cut
// short the time that it has to read.
func TestPingOfSlowReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SlowReader: Duration(patience)}}})
	c, end := f.bare(t)
	read := func(want string) {
		t.Helper()
		_, m, err := c.ReadMessage()
		check(t, err)
		contains(t, string(m), want)
	}
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newPendingTransactions"]}`)))
	read(`"id":1`)
	waits := func(what string, ok func() bool) {
		t.Helper()
		eventually(t, what, func() bool {
			end.mu.Lock()
			defer end.mu.Unlock()
			return ok()
		})
	}
	const n = 50
	waits("the answer is written", func() bool { return end.bytes == 0 })
	f.events.Added(crypto.Hash{0})
	waits("the first is being written", func() bool { return end.bytes > 0 && len(end.queue) == 0 })
	for i := 1; i < n; i++ { // are written at once
		f.events.Added(crypto.Hash{byte(i)})
	}
	waits("the rest waits", func() bool { return len(end.queue) == n-1 })
	read(crypto.Hash{0}.Hex())
	check(t, c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience)))
	select {
	case <-end.done:
		t.Error("the connection ended")
	case <-time.After(3 * closeWait / 2): // it reads nothing
	}
	var pong string
	c.SetPongHandler(func(data string) error { pong = data; return nil })
	for i := 1; i < n; i++ {
		read(crypto.Hash{byte(i)}.Hex())
	}
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":2,"method":"eth_chainId"}`)))
	for pong == "" {
		f.events.Added(crypto.Hash{n})
		_, _, err := c.ReadMessage()
		check(t, err)
	}
	equal(t, "pong", pong, "x")
}

// TestSmallAnswersWait: small answers that nobody reads are few of each connection
// when too much waits for all, and are read in the end.
func TestSmallAnswersWait(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SlowReader: Duration(patience), WaitingBytes: 1}}})
	c, end := f.bare(t)
	const n = 400
	const call = `{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["0x0",false]}`
	sent := make(chan error, 1)
	go func() {
		var err error
		for range n {
			if err = c.WriteMessage(websocket.TextMessage, []byte(call)); err != nil {
				break
			}
		}
		sent <- err
	}()
	eventually(t, "no more is read", func() bool { return len(end.calls) == cap(end.calls) || len(sent) > 0 })
	equal(t, "all is read", len(sent), 0)
	_, answer, err := c.ReadMessage()
	check(t, err)
	if have, most := f.server.service.waiting.Load(), int64(2*smallAnswer+(cap(end.calls)+2)*len(answer)); have > most {
		t.Errorf("%d bytes wait, at most %d", have, most)
	}
	for range n - 1 {
		_, _, err := c.ReadMessage()
		check(t, err)
	}
	check(t, <-sent)
	eventually(t, "nothing waits", func() bool { return f.server.service.waiting.Load() == 0 })
}
