package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// AdminSocket is the Unix socket in Home on which a running node takes orders of
// its operator: whoever may open it, may order. Its mode is 0600.
const AdminSocket = "admin.sock"

// maxAdminAnswer bounds what a client of the socket reads.
const maxAdminAnswer = 1 << 20

// ErrNotRunning says that nothing listens on the admin socket of a home.
const ErrNotRunning = ErrorKind("no node runs in this directory")

// AdminPeer is one connected peer. Addresses are told here only, never on the
// public port.
type AdminPeer struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"` // of a validator
	Addrs     []string  `json:"addrs"`
	Direction string    `json:"direction"`
	LatencyMS float64   `json:"latencyMs"` // 0 = not measured yet
	UserAgent string    `json:"userAgent"`
	Since     time.Time `json:"since"`
}

// startAdmin serves the admin socket in g until stopServers.
func (n *Node) startAdmin(g *errgroup.Group) error {
	path := filepath.Join(n.cfg.Home, AdminSocket)
	l, err := listenPrivate(path)
	if err != nil {
		// A home whose path is too long for a socket still makes a good node.
		n.log.Warn("no admin socket: 'cairnd admin' and a backup of the running node will not work", "path", path, "err", err)
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", n.adminBackup)
	mux.HandleFunc("GET /peers", n.adminPeers)
	mux.HandleFunc("GET /log-level", n.adminLogLevel)
	mux.HandleFunc("POST /log-level", n.adminLogLevel)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	n.servers.running = append(n.servers.running, s)
	g.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("admin socket: %w", err)
		}
		_ = os.Remove(path) // the next start replaces it anyway
		return nil
	})
	return nil
}

// listenPrivate makes a socket that nobody else can connect to at any moment:
// it is born in a directory of mode 0700 and moved when its own mode is right.
// The home's lock says that a socket that is there already is a dead one.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".a")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	born := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(born, 0o600), os.Rename(born, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (n *Node) adminBackup(w http.ResponseWriter, r *http.Request) {
	dir := r.FormValue("dir")
	if !filepath.IsAbs(dir) {
		http.Error(w, "dir: want the absolute path of a new directory", http.StatusBadRequest)
		return
	}
	start := time.Now()
	if err := backup(n.store, dir); err != nil {
		n.log.Warn("a backup failed; look at the disk and at the directory", "dir", dir, "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	n.log.Info("backup", "dir", dir, "took", time.Since(start).Round(time.Millisecond))
	fmt.Fprintf(w, "height %d\n", n.driver.ledger.HeadInfo().Height)
}

func (n *Node) adminPeers(w http.ResponseWriter, _ *http.Request) {
	now := n.driver.era.Load()
	out := []AdminPeer{}
	for _, p := range n.host.Peers() {
		a := AdminPeer{
			ID: p.ID.String(), Addrs: p.Addrs, Direction: p.Direction,
			LatencyMS: float64(p.Latency.Microseconds()) / 1000, UserAgent: p.UserAgent, Since: p.Since,
		}
		if i := now.indexOf(p.ID); i >= 0 {
			a.Name = now.set.At(i).Name
		}
		out = append(out, a)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// adminLogLevel tells and, given level, sets how much is logged.
func (n *Node) adminLogLevel(w http.ResponseWriter, r *http.Request) {
	if n.cfg.Log.Dynamic == nil {
		http.Error(w, "this node's log has a fixed level", http.StatusNotImplemented)
		return
	}
	if r.Method == http.MethodPost {
		level, err := LogConfig{Level: r.FormValue("level")}.level()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n.cfg.Log.Dynamic.Set(level)
		n.log.Log(r.Context(), max(level, slog.LevelInfo), "log level", "level", level)
	}
	fmt.Fprintln(w, strings.ToLower(n.cfg.Log.Dynamic.Level().String()))
}

// Admin asks the node that runs in home. Errors: ErrNotRunning; what the node
// says.
func Admin(ctx context.Context, home, method, path string, form url.Values) ([]byte, error) {
	socket := filepath.Join(home, AdminSocket)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, fmt.Errorf("%w (%s): %w", ErrNotRunning, socket, err)
			}
			return conn, nil
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return nil, fmt.Errorf("%s: %w", socket, ErrNotRunning)
		}
		return nil, fmt.Errorf("ask the running node: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the running node says: %s", strings.TrimSpace(string(body)))
	}
	return body, err
}
