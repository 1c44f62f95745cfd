package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/cors"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/pool"
)

// Backend is what the methods answer from.
type Backend struct {
	Ledger        *ledger.Ledger
	Pool          *pool.Pool
	Signer        types.Signer
	Submit        func(context.Context, *types.Transaction) error // into the pool, the disk and the gossip
	Status        func() Status
	Peers         func() []Peer // may be nil
	Events        *Events       // of the pool; nil = no such subscriptions
	ClientVersion string
	Registerer    prometheus.Registerer // may be nil
	Log           *slog.Logger

	// Presence says of nodes, by peer id and in order, whether they are connected
	// and in step; this node is. May be nil.
	Presence func(ctx context.Context, peerIDs []string) []Presence

	// Evidence answers what proves that validators contradicted themselves. May be
	// nil.
	Evidence func() ([]Evidence, error)

	// Sync says how far a node that is behind has come; nil = it is in step, or
	// says so in Status only. May be nil.
	Sync func() *Sync

	// Stage says whether a transaction of the pool is in a block that is not
	// final: StageProposed or StageNotarized; empty = in none. May be nil.
	Stage func(context.Context, crypto.Hash) string

	// Seen asks the validators whether they have a transaction of the pool; nil =
	// too much was asked just now. May be nil.
	Seen func(context.Context, crypto.Hash) *Seen
}

// service is what the methods share.
type service struct {
	Backend
	limits   Limits
	heads    *heads
	filters  *filters
	finals   *finals
	writes   *rates // transactions that are sent
	refusals *rates // requests that are refused for what they are
	sockets  *sockets
	meters   *meters
	heavy    *places // of heavy requests that are worked on
	tellers  *places // of connections whose subscribers are told
	arrivals *lru.Cache[crypto.Hash, []byte]
	methods  map[string]*callable
	waiting  atomic.Int64 // bytes of answers that wait for their readers
	bodies   atomic.Int64 // bytes of requests that are read or wait for their answers
	openRPC  json.RawMessage
	stopping <-chan struct{}
}

func (s *service) encoder() encoder {
	return encoder{signer: s.Signer, rules: &s.Ledger.Config().Rules}
}

// apis are the receivers whose exported methods are served, by namespace.
func (s *service) apis() map[string][]any {
	return map[string][]any{
		"eth": {&ethAPI{b: s}, &syncingSubscription{b: s}}, "net": {&netAPI{b: s}}, "web3": {&web3API{b: s}},
		"txpool": {&txpoolAPI{b: s}}, "cairn": {&cairnAPI{b: s}}, "rpc": {&rpcAPI{b: s}},
		"ots": {&otsAPI{b: s}}, "erigon": {&erigonAPI{b: s}},
	}
}

// Server is the handler of the public listener.
type Server struct {
	service *service
	rpc     *rpc.Server
	http    http.Handler
	cors    *cors.Cors
	hosts   []string
	busy    *places // of HTTP requests that are served
	grants  []grant
	closed  bool // to who brings no token
	stop    context.CancelFunc
}

// New registers the methods. Stop ends what it starts.
func New(cfg Config, b Backend) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if b.Log == nil {
		b.Log = slog.New(slog.DiscardHandler)
	}
	ctx, end := context.WithCancel(context.Background())
	limits := cfg.Limits.withDefaults()
	svc := &service{
		Backend: b, limits: limits, heads: newHeads(b.Ledger), filters: newFilters(limits), writes: newRates(limits.WritesPerSecond, limits.WriteBurst),
		refusals: newRates(limits.RefusalsPerSecond, limits.RefusalBurst),
		sockets:  newSockets(limits), heavy: newPlaces(limits.Heavy), tellers: newPlaces(limits.Heavy),
		arrivals: lru.NewCache[crypto.Hash, []byte](arrivals), stopping: ctx.Done(),
	}
	cancel := func() { end(); svc.heads.cancel() }
	s := &Server{
		service: svc, rpc: rpc.NewServer(), hosts: cfg.Hosts,
		busy: newPlaces(limits.Concurrent), closed: cfg.RequireToken, stop: end,
	}
	s.rpc.SetBatchLimits(limits.Batch, limits.ResponseBytes)
	s.rpc.SetHTTPBodyLimit(limits.BodyBytes)
	apis := svc.apis()
	methods := methodsOf(apis)
	var err error
	for name, receivers := range apis {
		for _, api := range receivers {
			err = errors.Join(err, s.rpc.RegisterName(name, api))
		}
	}
	svc.methods = callables(apis)
	if err == nil {
		s.grants, err = newGrants(cfg.Tokens, namesOf(methods))
	}
	if err == nil {
		svc.openRPC, err = describe(methods, b.ClientVersion)
	}
	if err == nil {
		svc.meters, err = newMeters(b.Registerer, methods, svc)
	}
	svc.finals = newFinals(limits.CacheBytes, svc.meters)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("json-rpc: %w", err)
	}
	s.cors = cors.New(cors.Options{
		AllowedOrigins: cfg.CORS, AllowOriginFunc: refuseAll(cfg.CORS),
		AllowedMethods: []string{http.MethodPost}, AllowedHeaders: []string{"*"}, MaxAge: 600,
	})
	s.http = s.cors.Handler(http.HandlerFunc(s.serveHTTP))
	go svc.heads.run(ctx)
	return s, nil
}

// refuseAll stands in for an empty list, which the cors package reads as "any".
func refuseAll(origins []string) func(string) bool {
	if len(origins) > 0 {
		return nil
	}
	return func(string) bool { return false }
}

// Stop ends subscriptions, closes the WebSocket connections and lets calls in
// flight finish.
func (s *Server) Stop() {
	s.stop()
	s.service.sockets.closeAll()
	s.rpc.Stop()
}

// ServeHTTP checks the host, the token and the origin, and tells HTTP from
// WebSocket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.CheckHost(s.serve)(w, r)
}

// CheckHost has h answer only what names this machine by a name that it may have.
func (s *Server) CheckHost(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.hostAllowed(r.Host) {
			http.Error(w, "invalid host specified: add it to rpc.hosts", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	who, ok := s.identify(r)
	if s.service.refusals.spent(who.sender()) {
		s.turnAway(w, r)
		return
	}
	if !ok {
		s.service.refuse(who, "token")
		http.Error(w, "this needs a token in the path: http://HOST/TOKEN, one of rpc.tokens", http.StatusUnauthorized)
		return
	}
	r = r.WithContext(withCaller(r.Context(), who))
	if isWebSocket(r) {
		if r.Header.Get("Origin") != "" && !s.cors.OriginAllowed(r) {
			http.Error(w, "origin not allowed: add it to rpc.cors", http.StatusForbidden)
			return
		}
		s.serveSocket(w, r)
		return
	}
	s.http.ServeHTTP(w, r)
}

// identify finds out who asks, by the token in the path. A preflight of a browser
// comes without a body and is answered to everybody.
func (s *Server) identify(r *http.Request) (*caller, bool) {
	who := &caller{host: remoteHost(r.RemoteAddr)}
	path := strings.Trim(r.URL.Path, "/")
	if len(s.grants) == 0 || path == "" {
		return who, !s.closed || r.Method == http.MethodOptions
	}
	who.grant = findGrant(s.grants, path)
	return who, who.grant != nil
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
