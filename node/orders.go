package node

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/node/rpc"
	"cairn/p2p"
)

// adminHandler takes an operator's orders, as requests of their own and as
// admin_ methods of JSON-RPC, and serves profiles. Whoever reaches it, may order.
func (n *Node) adminHandler() (http.Handler, error) {
	server := gethrpc.NewServer()
	if err := server.RegisterName("admin", &adminAPI{n}); err != nil {
		return nil, fmt.Errorf("admin methods: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", n.adminBackup)
	mux.HandleFunc("GET /peers", n.adminPeers)
	mux.HandleFunc("GET /log-level", n.adminLogLevel)
	mux.HandleFunc("POST /log-level", n.adminLogLevel)
	mux.Handle("POST /{$}", server)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux, nil
}

// wantToken lets through who sends the token of a hash as
// "Authorization: Bearer TOKEN", which no web page can make a browser do.
func wantToken(hash string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !rpc.SameToken(token, hash) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this listener wants the admin token", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// adminAPI has the admin_ methods. They are served on the admin socket and on the
// admin listener, never on the public one.
type adminAPI struct{ n *Node }

// Peers lists the connected peers with their addresses.
func (a *adminAPI) Peers() []AdminPeer { return a.n.peerList() }

// AddPeer connects to a multiaddr that ends in /p2p/ID, and answers when the
// handshake is done.
func (a *adminAPI) AddPeer(ctx context.Context, addr string) (bool, error) {
	err := a.n.host.Connect(ctx, addr)
	return err == nil, err
}

// RemovePeer closes the connections to a peer. One that is dialled for a reason,
// as bootnodes and validators are, comes back.
func (a *adminAPI) RemovePeer(id string) (bool, error) {
	p, err := decodePeer(id)
	if err == nil {
		err = a.n.host.Disconnect(p)
	}
	return err == nil, err
}

// Ban keeps a peer away for so many seconds, a year at most, or until the node
// stops; 0 lifts the ban.
func (a *adminAPI) Ban(id string, seconds uint64) (bool, error) {
	p, err := decodePeer(id)
	if err == nil {
		err = a.n.host.Ban(p, time.Duration(min(seconds, uint64(p2p.MaxBan/time.Second)))*time.Second)
	}
	return err == nil, err
}

// LogLevel answers how much is logged; given a level, it sets it until the next
// restart.
func (a *adminAPI) LogLevel(ctx context.Context, level *string) (string, error) {
	if level == nil {
		return a.n.logLevel(ctx, "", false)
	}
	return a.n.logLevel(ctx, *level, true)
}

// Backup copies the database into a new directory of the node's machine and
// answers the height.
func (a *adminAPI) Backup(dir string) (uint64, error) { return a.n.backupTo(dir) }

func decodePeer(id string) (peer.ID, error) {
	p, err := peer.Decode(id)
	if err != nil {
		return "", fmt.Errorf("%q is no peer id: %w", id, err)
	}
	return p, nil
}
