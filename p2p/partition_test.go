package p2p

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
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
// dials anew, the other has not noticed. What the other sends from then on takes
// the new connection; the old one, which has more streams, is closed.
func TestLeftConnection(t *testing.T) {
	t.Parallel()
	box := &inbox{}
	start := func(n int, handlers Handlers) *Host {
		cfg := testConfig(t, n)
		cfg.waits = defaultWaits
		cfg.waits.together = 100 * time.Millisecond
		h := startHost(t, cfg, handlers)
		h.SetValidators([]peer.ID{testID(t, 0), testID(t, 1)})
		return h
	}
	gone, stays := start(0, box.handlers()), start(1, Handlers{})
	w, addr := newWire(t, stays.ListenAddrs()[0])
	if err := gone.Connect(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	sent := 0
	arrives := func() bool {
		sent++
		stays.SendConsensus(gone.ID(), []byte(fmt.Sprint("frame ", sent)))
		got := box.got(&box.consensus)
		return len(got) > 0 && strings.HasPrefix(got[len(got)-1], "frame")
	}
	eventually(t, "a first frame", arrives)
	opened := time.Now()
	w.cutOff()
	began := time.Now()
	for time.Since(opened) <= 2*stays.waits.together {
		time.Sleep(10 * time.Millisecond) // the connections must not look as if dialled at once
	}
	if err := gone.host.Network().ClosePeer(stays.ID()); err != nil { // as after pings without an answer
		t.Fatal(err)
	}
	before := len(box.got(&box.consensus))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := gone.Connect(ctx, stays.ListenAddrs()[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a frame over the new connection", func() bool { return arrives() && len(box.got(&box.consensus)) > before })
	// Pings without an answer would end the old connection too, but not before.
	if took := time.Since(began); took >= 2*pingLimit {
		t.Errorf("the first frame took %s", took)
	}
	eventually(t, "the end of the old connection", func() bool { return len(stays.host.Network().ConnsToPeer(gone.ID())) == 1 })
}
