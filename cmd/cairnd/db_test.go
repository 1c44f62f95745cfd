package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"cairn/node"
)

// runHome runs the node of a home in a process of its own until stop is called.
func runHome(t *testing.T, home string, flags ...string) (p *process, stop func()) {
	t.Helper()
	argv := []string{"run", "--home", home, "--rpc-listen", "off", "--p2p-listen", "/ip4/127.0.0.1/tcp/0", "--mdns=false", "--dht=false"}
	p = startCairnd(t, append(argv, flags...)...)
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := node.Admin(t.Context(), home, http.MethodGet, "/peers", nil); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node does not answer:\n%s", p.log.String())
		}
		time.Sleep(5 * time.Millisecond) // between two looks, with a deadline
	}
	return p, func() {
		t.Helper()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the node ended with %v:\n%s", err, p.log.String())
		}
	}
}

// TestDatabaseCommands: a life of a database with one validator: copied while it
// runs, checked, measured, restored, and put back to work.
func TestDatabaseCommands(t *testing.T) {
	t.Parallel()
	home, copies := filepath.Join(t.TempDir(), "h"), t.TempDir()
	must(t, "init", "--dev", "--home", home)
	refused(t, 1, []string{string(node.ErrNoData)}, "db", "check", "--home", home)
	refused(t, 1, []string{string(node.ErrNoData)}, "db", "backup", filepath.Join(copies, "none"), "--home", home)
	refused(t, 1, []string{string(node.ErrNotRunning)}, "admin", "peers", "--home", home)
	_, stop := runHome(t, home)
	if info, err := os.Stat(filepath.Join(home, node.AdminSocket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if out := must(t, "admin", "peers", "--json", "--home", home); strings.TrimSpace(out) != "[]" {
		t.Errorf("peers: %s", out)
	}
	if out := must(t, "--home", home, "admin", "log-level", "debug") + must(t, "admin", "log-level", "--home", home); out != "debug\ndebug\n" {
		t.Errorf("log level: %s", out)
	}
	refused(t, 2, []string{"debug, info, warn, error"}, "admin", "log-level", "loud", "--home", home)
	live, second := filepath.Join(copies, "live"), filepath.Join(copies, "second")
	must(t, "db", "backup", live, "--home", home)
	must(t, "db", "--home", home, "backup", second)
	refused(t, 1, []string{"new directory"}, "db", "backup", live, "--home", home)
	refused(t, 1, []string{"stop it", "db backup"}, "db", "check", "--home", home)
	if out := must(t, "db", "check", "--data", live, "--home", home); !strings.HasPrefix(out, "sound: ") {
		t.Errorf("check of the copy: %s", out)
	}
	stop()
	if _, err := os.Stat(filepath.Join(home, node.AdminSocket)); err == nil {
		t.Error("the socket is still there")
	}

	var report checkReport
	if err := json.Unmarshal([]byte(must(t, "--home", home, "db", "check", "--json")), &report); err != nil || report.Findings != 0 || report.Accounts == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	text := must(t, "db", "stats", "--home", home)
	for _, want := range []string{"height ", "accounts", "account history", "all files"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	var stats struct{ Tables []tableReport }
	if err := json.Unmarshal([]byte(must(t, "db", "stats", "--json", "--home", home)), &stats); err != nil || len(stats.Tables) < 10 {
		t.Errorf("%+v, %v", stats, err)
	}
	must(t, "db", "backup", filepath.Join(copies, "cold"), "--home", home)

	// A validator alone that starts from a copy waits for its operator.
	data := filepath.Join(home, node.DataDir)
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(live, data); err != nil {
		t.Fatal(err)
	}
	p, stop := runHome(t, home)
	if !strings.Contains(p.log.String(), "restored from a backup") {
		t.Errorf("a restored node does not say that it observes:\n%s", p.log.String())
	}
	refused(t, 1, []string{"stop it first"}, "db", "reset-votes", "--yes", "--home", home)
	stop()
	refused(t, 2, []string{"What it risks", "--yes"}, "db", "reset-votes", "--home", home)
	if out := must(t, "db", "reset-votes", "--home", home, "--yes"); !strings.Contains(out, "votes at its next start") {
		t.Error(out)
	}
	p, stop = runHome(t, home)
	if strings.Contains(p.log.String(), "observes") {
		t.Errorf("it observes after the reset:\n%s", p.log.String())
	}
	stop()
	if out := must(t, "--home", home, "db", "reset-votes", "--yes"); !strings.Contains(out, "nothing was to be reset") {
		t.Error(out)
	}

	// Damage: each finding is a line, and the exit code is 1.
	spoil(t, data)
	refused(t, 1, []string{"findings", "docs/database.md"}, "db", "check", "--home", home)
}

// A validator of four needs no reset: the others tell it.
func TestResetVotesOfFour(t *testing.T) {
	t.Parallel()
	file, hash, homes := network(t, 4)
	must(t, "init", "--genesis", file, "--expect-hash", hash, "--home", homes[0])
	_, stop := runHome(t, homes[0])
	stop()
	refused(t, 1, []string{string(node.ErrObserves), "--stuck"}, "db", "reset-votes", "--yes", "--home", homes[0])
	must(t, "db", "reset-votes", "--yes", "--stuck", "--home", homes[0])
}

// spoil plants a transaction index row that leads nowhere.
func spoil(t *testing.T, data string) {
	t.Helper()
	db, err := pebble.Open(data, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte("t12345678\x01\x63"), nil, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, _ ...any) { panic(format) }
