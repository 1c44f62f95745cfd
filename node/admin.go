package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// AdminSocket is the Unix socket in Home on which a running node takes orders of
// its operator: whoever may open it, may order. Its mode is 0600.
const AdminSocket = "admin.sock"

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

// startAdmin serves the admin socket in g until stopServers, and the listener of
// the configuration if there is one.
func (n *Node) startAdmin(g *errgroup.Group) error {
	if addr := n.cfg.Admin.Listen; addr != "" {
		h, err := n.adminHandler()
		if err != nil {
			return err
		}
		to := endpoint{name: "admin", addr: addr, cert: n.cfg.Admin.TLSCert, key: n.cfg.Admin.TLSKey}
		if err := n.serve(g, to, wantToken(n.cfg.Admin.TokenSHA256, h)); err != nil {
			return err
		}
	}
	path := filepath.Join(n.cfg.Home, AdminSocket)
	l, err := listenPrivate(path)
	if err != nil {
		// A home whose path is too long for a socket still makes a good node.
		n.log.Warn("no admin socket: 'cairnd admin' and a backup of the running node will not work", "path", path, "err", err)
		return nil
	}
	h, err := n.adminHandler()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeaderBytes}
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
	height, err := n.backupTo(r.FormValue("dir"))
	if errors.Is(err, ErrBackupDir) {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "height %d\n", height)
}

// ErrBackupDir says that a backup of a running node was asked for into a
// directory that is not absolute: whose working directory it means is open.
const ErrBackupDir = ErrorKind("dir: want the absolute path of a new directory")

// backupTo copies the database into a new directory and answers the height.
func (n *Node) backupTo(dir string) (height uint64, err error) {
	if !filepath.IsAbs(dir) {
		return 0, ErrBackupDir
	}
	start := time.Now()
	if err := backup(n.store, dir); err != nil {
		n.log.Warn("a backup failed; look at the disk and at the directory", "dir", dir, "err", err)
		return 0, err
	}
	n.log.Info("backup", "dir", dir, "took", time.Since(start).Round(time.Millisecond))
	return n.driver.ledger.HeadInfo().Height, nil
}

func (n *Node) adminPeers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(n.peerList())
}

func (n *Node) peerList() []AdminPeer {
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
	return out
}

// adminLogLevel tells and, given level, sets how much is logged.
func (n *Node) adminLogLevel(w http.ResponseWriter, r *http.Request) {
	level := ""
	if r.Method == http.MethodPost {
		level = r.FormValue("level")
	}
	level, err := n.logLevel(r.Context(), level, r.Method == http.MethodPost)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, level)
}

// logLevel answers how much is logged, after it was set if that is wanted.
func (n *Node) logLevel(ctx context.Context, name string, set bool) (string, error) {
	if n.cfg.Log.Dynamic == nil {
		return "", errors.New("this node's log has a fixed level")
	}
	if set {
		level, err := LogConfig{Level: name}.level()
		if err != nil {
			return "", err
		}
		n.cfg.Log.Dynamic.Set(level)
		n.log.Log(ctx, max(level, slog.LevelInfo), "log level", "level", level)
	}
	return strings.ToLower(n.cfg.Log.Dynamic.Level().String()), nil
}
