package p2p

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// wire forwards TCP connections to a host until it is cut: then nothing passes
// any more, and neither end is told.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	conns    []net.Conn
}

// newWire answers a wire to a listen address of a host and the address of its
// other end.
func newWire(t *testing.T, to string) (*wire, string) {
	t.Helper()
	addr, err := ma.NewMultiaddr(to)
	if err != nil {
		t.Fatal(err)
	}
	target, id := ma.SplitLast(addr)
	netAddr, err := manet.ToNetAddr(target)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.listener.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range w.conns {
			c.Close()
		}
	})
	go func() {
		for {
			from, err := w.listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", netAddr.String())
			if err != nil {
				from.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, from, to)
			w.mu.Unlock()
			go w.forward(to, from)
			go w.forward(from, to)
		}
	}()
	return w, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d%s", w.listener.Addr().(*net.TCPAddr).Port, id.String())
}

func (w *wire) forward(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut {
			_, _ = io.Copy(io.Discard, from) // the sender is not told either
			return
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) cutOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// TestLeftConnection: one side of a cut link has given its connection up and
// dials anew, the other has not noticed. It learns so from the handshake: it
// closes the old connection, which has more streams, and what it sends from then
// on takes the new one.
func TestLeftConnection(t *testing.T) {
	t.Parallel()
	box := &inbox{}
	start := func(n int, handlers Handlers) *Host {
		cfg := testConfig(t, n)
		cfg.waits.together = 100 * time.Millisecond
		h := startHost(t, cfg, handlers)
		h.SetValidators([]peer.ID{testID(t, 0), testID(t, 1)})
		return h
	}
	gone, stays := start(0, box.handlers()), start(1, Handlers{})
	w, addr := newWire(t, stays.ListenAddrs()[0])
	dial := func(addr string) {
		t.Helper()
		reach(t, gone, addr)
		if len(gone.host.Network().ConnsToPeer(stays.ID())) == 0 {
			t.Fatal("Connect found a connection that had ended")
		}
	}
	dial(addr)
	arrives := func(frame string) func() bool {
		return func() bool {
			stays.SendConsensus(gone.ID(), []byte(frame))
			return slices.Contains(box.got(&box.consensus), frame)
		}
	}
	eventually(t, "a frame", arrives("over the old connection"))
	w.cutOff()
	old := stays.host.Network().ConnsToPeer(gone.ID())
	for opened := time.Now(); time.Since(opened) <= 2*stays.waits.together; {
		time.Sleep(10 * time.Millisecond) // the connections must not look as if dialled at once
	}
	if err := gone.host.Network().ClosePeer(stays.ID()); err != nil { // as after pings without an answer
		t.Fatal(err)
	}
	dial(stays.ListenAddrs()[0])
	// Counted, since the multiplexer would end it, too, after 40 s.
	eventually(t, "the old connection is found left", func() bool { return stays.Metrics()["connections_left_total"] > 0 })
	for _, c := range old {
		if !c.IsClosed() {
			t.Error("the old connection is open")
		}
	}
	eventually(t, "a frame", arrives("over the new connection"))
}

// TestSilentPeer: pings without an answer end the connections that were there
// before them. One that opened meanwhile stays, and so does a peer of whom
// something else was heard.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	a, b := startHost(t, testConfig(t, 0), Handlers{}), startHost(t, testConfig(t, 1), Handlers{})
	closes := func(began time.Time) (n int) {
		conns := a.host.Network().ConnsToPeer(b.ID())
		if len(conns) == 0 {
			t.Fatal("not connected")
		}
		a.closeSilent(b.ID(), began)
		for _, c := range conns {
			if c.IsClosed() {
				n++
			}
		}
		return n
	}
	began := time.Now()
	connect(t, a, b)
	if closes(began) != 0 {
		t.Fatal("closed a connection that opened after the pings began")
	}
	began = time.Now()
	a.state(b.ID()).hear()
	if closes(began) != 0 {
		t.Fatal("closed that of a peer that was heard of")
	}
	if closes(time.Now()) == 0 {
		t.Fatal("kept the connection of a silent peer")
	}
	reach(t, a, b.ListenAddrs()[0])
	if closes(began) != 0 { // and there is one, although the end of the other may not have been told yet
		t.Fatal("closed the connection dialled again")
	}
}
