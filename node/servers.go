package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"cairn/node/rpc"
)

// stopWait bounds how long a clean stop waits for answers in flight.
const stopWait = time.Second

// servers are the node's HTTP listeners.
type servers struct {
	rpc     *rpc.Server
	running []*http.Server
}

// startServers opens the listeners of the configuration and serves them in g.
func (n *Node) startServers(g *errgroup.Group) error {
	if err := n.startAdmin(g); err != nil {
		return err
	}
	d := n.driver
	if addr := n.cfg.RPC.Listen; addr != "" {
		server, err := rpc.New(rpc.Config{CORS: n.cfg.RPC.CORS, Hosts: n.cfg.RPC.Hosts, Limits: n.cfg.RPC.Limits}, n.rpcBackend())
		if err != nil {
			return fmt.Errorf("json-rpc: %w", err)
		}
		n.servers.rpc = server
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", n.serveHealth)
		mux.HandleFunc("GET /readyz", n.serveReady)
		mux.Handle("/", server)
		if err := n.serve(g, "json-rpc", addr, mux); err != nil {
			return err
		}
	}
	if addr := n.cfg.Metrics.Listen; addr != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(d.meters.registry, promhttp.HandlerOpts{}))
		if err := n.serve(g, "metrics", addr, mux); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) serve(g *errgroup.Group, what, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s: listen on %s (another program may use the port): %w", what, addr, err)
	}
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	n.servers.running = append(n.servers.running, s)
	n.log.Info(what+" listens", "address", l.Addr().String())
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
	return nil
}

// stopServers lets answers in flight finish for a moment, then closes.
func (n *Node) stopServers() {
	if n.servers.rpc != nil {
		n.servers.rpc.Stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for _, s := range n.servers.running {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}
}

// serveHealth answers 200 while the node does what a restart would not mend.
func (n *Node) serveHealth(w http.ResponseWriter, _ *http.Request) {
	s := n.Status()
	answer(w, s.Healthy, s)
}

// serveReady answers 200 when the node may be sent traffic: it is healthy, in
// step with the head, and connected to a quorum.
func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	s := n.Status()
	answer(w, s.Healthy && !s.Syncing && n.connected(&s), s)
}

func answer(w http.ResponseWriter, ok bool, s rpc.Status) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if ok {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	reasons := s.Problems
	if s.Syncing {
		reasons = append(reasons, fmt.Sprintf("syncing: height %d of %d", s.Height, s.Target))
	}
	if len(reasons) == 0 {
		reasons = []string{"not ready"}
	}
	_, _ = w.Write([]byte(strings.Join(reasons, "\n") + "\n"))
}
