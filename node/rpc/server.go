package rpc

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/cors"

	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/pool"
)

// Limits of the public listener.
const (
	maxBodyBytes     = 1 << 20  // of one HTTP request or WebSocket message
	maxBatch         = 1000     // calls in one batch
	maxBatchResponse = 25 << 20 // bytes of the answers of one batch
	maxFeeHistory    = 1024     // blocks of one eth_feeHistory
	maxPercentiles   = 100      // of one eth_feeHistory
)

// Config is what an operator chooses for the public listener.
type Config struct {
	CORS  []string // origins that browsers may call from; "*" = any
	Hosts []string // host names that requests may name; "*" = any; IP literals and localhost always pass
}

// Backend is what the methods answer from.
type Backend struct {
	Ledger        *ledger.Ledger
	Pool          *pool.Pool
	Signer        types.Signer
	Validators    *genesis.ValidatorSet
	Submit        func(context.Context, *types.Transaction) error // into the pool, the disk and the gossip
	Status        func() Status
	ClientVersion string
	Registerer    prometheus.Registerer
	Log           *slog.Logger
}

// Server is the handler of the public listener.
type Server struct {
	rpc     *rpc.Server
	http    http.Handler
	ws      http.Handler
	origins []string
	hosts   []string
}

// New registers the methods.
func New(cfg Config, b Backend) (*Server, error) {
	s := &Server{rpc: rpc.NewServer(), origins: cfg.CORS, hosts: cfg.Hosts}
	s.rpc.SetBatchLimits(maxBatch, maxBatchResponse)
	s.rpc.SetHTTPBodyLimit(maxBodyBytes)
	for name, api := range map[string]any{
		"eth": &ethAPI{b: b}, "net": &netAPI{b: b}, "web3": &web3API{b: b}, "cairn": &cairnAPI{b: b}, "txpool": &txpoolAPI{b: b},
	} {
		if err := s.rpc.RegisterName(name, api); err != nil {
			return nil, err
		}
	}
	s.http = cors.New(cors.Options{
		AllowedOrigins: cfg.CORS, AllowOriginFunc: refuseAll(cfg.CORS), AllowedMethods: []string{http.MethodPost}, AllowedHeaders: []string{"*"}, MaxAge: 600,
	}).Handler(s.rpc)
	s.ws = s.rpc.WebsocketHandler([]string{"*"}) // origins are checked in ServeHTTP
	return s, nil
}

// refuseAll stands in for an empty list, which the cors package reads as "any".
func refuseAll(origins []string) func(string) bool {
	if len(origins) > 0 {
		return nil
	}
	return func(string) bool { return false }
}

// Stop ends subscriptions and lets calls in flight finish.
func (s *Server) Stop() { s.rpc.Stop() }

// ServeHTTP checks the host and the origin, and tells HTTP from WebSocket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.hostAllowed(r.Host) {
		http.Error(w, "invalid host specified: add it to rpc.hosts", http.StatusForbidden)
		return
	}
	if isWebSocket(r) {
		if origin := r.Header.Get("Origin"); origin != "" && !s.originAllowed(origin) {
			http.Error(w, "origin not allowed: add it to rpc.cors", http.StatusForbidden)
			return
		}
		s.ws.ServeHTTP(w, r)
		return
	}
	s.http.ServeHTTP(w, r)
}

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// hostAllowed guards against DNS rebinding: a page that a browser loaded from a
// name that resolves to this machine must not reach the node.
func (s *Server) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "" || name == "localhost" || net.ParseIP(name) != nil {
		return true
	}
	return slices.ContainsFunc(s.hosts, func(h string) bool { return h == "*" || strings.EqualFold(h, name) })
}

func (s *Server) originAllowed(origin string) bool {
	return slices.ContainsFunc(s.origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}
