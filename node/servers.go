package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
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

// maxHeaderBytes bounds the head of a request.
const maxHeaderBytes = 64 << 10

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
		server, err := rpc.New(n.cfg.RPC.server(), n.rpcBackend())
		if err != nil {
			return fmt.Errorf("json-rpc: %w", err)
		}
		n.servers.rpc = server
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", server.CheckHost(n.serveHealth))
		mux.HandleFunc("GET /readyz", server.CheckHost(n.serveReady))
		mux.Handle("/", server)
		to := endpoint{name: "json-rpc", addr: addr, cert: n.cfg.RPC.TLSCert, key: n.cfg.RPC.TLSKey, limit: server.Listener}
		if err := n.serve(g, to, mux); err != nil {
			return err
		}
	}
	if addr := n.cfg.Metrics.Listen; addr != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(d.meters.registry, promhttp.HandlerOpts{}))
		if err := n.serve(g, endpoint{name: "metrics", addr: addr}, mux); err != nil {
			return err
		}
	}
	return nil
}

// endpoint is where one handler is served.
type endpoint struct {
	name, addr string
	cert, key  string                          // PEM files; empty = no TLS
	limit      func(net.Listener) net.Listener // may be nil
}

// serve listens and serves in g. HTTP/1.1 only: WebSocket needs it, and limits by
// connection mean what they say.
func (n *Node) serve(g *errgroup.Group, to endpoint, h http.Handler) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeaderBytes,
		Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	s.Protocols.SetHTTP1(true)
	if to.cert != "" {
		pair, err := loadCertificate(to.cert, to.key, n.log)
		if err != nil {
			return fmt.Errorf("%s: %w", to.name, err)
		}
		s.TLSConfig = &tls.Config{GetCertificate: pair.get, MinVersion: tls.VersionTLS12}
	}
	l, err := net.Listen("tcp", to.addr)
	if err != nil {
		return fmt.Errorf("%s: listen on %s (another program may use the port): %w", to.name, to.addr, err)
	}
	n.servers.running = append(n.servers.running, s)
	n.log.Info(to.name+" listens", "address", l.Addr().String(), "tls", to.cert != "")
	if to.limit != nil {
		l = to.limit(l)
	}
	g.Go(func() error {
		run := func() error { return s.Serve(l) }
		if to.cert != "" {
			run = func() error { return s.ServeTLS(l, "", "") }
		}
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s: %w", to.name, err)
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
