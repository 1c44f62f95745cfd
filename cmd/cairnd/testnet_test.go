package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holiman/uint256"

	"cairn/genesis"
	"cairn/node"
)

func TestTestnetInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "net")
	must(t, "testnet", "init", "--dir", dir, "-n", "3", "--rpc-base", "20000", "--p2p-base", "21000")
	net0, err := openTestnet(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, hash, err := readGenesis(filepath.Join(dir, node.GenesisFile))
	if err != nil || hash != net0.GenesisHash || s.ChainID != net0.ChainID || len(s.Validators) != 3 {
		t.Fatalf("%+v, %s, %v", s, hash, err)
	}
	if age := time.Since(time.UnixMilli(int64(s.Timestamp))); age < time.Duration(s.Rules.Heartbeat)*time.Millisecond {
		t.Errorf("block 0 is only %s old: block 1 would have to wait for the heartbeat", age)
	}
	addresses := map[string]string{}
	for _, v := range s.Validators {
		addresses[v.Name] = v.Address.Hex() + v.PeerID
	}
	for i, name := range []string{"node0", "node1", "node2"} {
		home := filepath.Join(dir, name)
		key, peerID, err := loadIdentity(home, "")
		if err != nil || addresses[name] != key.Address().Hex()+peerID {
			t.Errorf("%s is not the validator of its name: %v", name, err)
		}
		cfg, err := node.LoadConfig(home)
		if err != nil || cfg.RPC.Listen != fmt.Sprintf("127.0.0.1:%d", 20000+i) || !strings.Contains(cfg.P2P.Listen[0], strconv.Itoa(21000+i)) || cfg.RPC.CORS[0] != "*" {
			t.Errorf("%+v, %v", cfg, err)
		}
		if _, have, err := readGenesis(filepath.Join(home, node.GenesisFile)); err != nil || have != hash {
			t.Errorf("%s has genesis %s, %v", name, have, err)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("init left %v", entries)
	}
}

func TestTestnetReportSchema(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "init", "--dir", dir, "-n", "2", "--chain-id", "77", "--rpc-base", "20100", "--p2p-base", "21100")
	if name := must(t, "testnet", "add", "--dir", dir); name != "node2\n" {
		t.Errorf("the added node is %q", name)
	}
	if name := must(t, "testnet", "add", "--dir", dir); name != "node3\n" {
		t.Errorf("the added node is %q", name)
	}
	var r testnetReport
	decode(t, must(t, "testnet", "status", "--json", "--dir", dir), &r)
	if r.ChainID != 77 || len(r.Nodes) != 4 || len(r.Accounts) != 10 {
		t.Fatalf("%+v", r)
	}
	for i, n := range r.Nodes {
		port := 20100 + i
		home := filepath.Join(dir, nodeName(i))
		want := nodeReport{nodeName(i), nil, fmt.Sprintf("http://127.0.0.1:%d", port), fmt.Sprintf("ws://127.0.0.1:%d", port), home, i < 2}
		if n != want {
			t.Errorf("%+v, want %+v", n, want)
		}
	}
	s, _, err := readGenesis(filepath.Join(dir, node.GenesisFile))
	if err != nil {
		t.Fatal(err)
	}
	million, _ := uint256.FromDecimal("1000000000000000000000000")
	rich := map[string]bool{}
	for _, a := range s.Alloc {
		rich[a.Address.Hex()] = !a.Balance.Lt(million)
	}
	for i, a := range r.Accounts {
		if !rich[a.Address] || a.PrivateKey != fmt.Sprintf("0x%x", genesis.DevelopmentAccounts()[i].Bytes()) {
			t.Errorf("%+v", a)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node2", node.ValidatorKeyFile)); err == nil {
		t.Error("an added node has a validator key")
	}
	if text := must(t, "testnet", "status", "--dir", dir); strings.Count(text, "down") != 4 {
		t.Errorf("%s", text)
	}
}

func TestTestnetErrors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "net")
	must(t, "testnet", "init", "--dir", dir, "-n", "1", "--rpc-base", "20200", "--p2p-base", "21200")
	full := t.TempDir()
	write(t, filepath.Join(full, "file"), "x", 0o644)
	none := t.TempDir()
	for _, c := range []struct {
		code int
		says string
		argv []string
	}{
		{1, "not empty", []string{"init", "--dir", dir}},
		{1, "not empty", []string{"init", "--dir", full, "--resume"}},
		{0, "", []string{"init", "--resume", "--dir", dir}},
		{0, "", []string{"init", "--resume", "--dir", dir, "-n", "1", "--p2p-base=21200"}},
		{1, "--n 1, not 2", []string{"init", "--resume", "--dir", dir, "-n", "2"}},
		{1, "--rpc-base 20200, not 1", []string{"init", "--resume", "--dir", dir, "--rpc-base", "1"}},
		{2, "validators", []string{"init", "--dir", none, "-n", "0"}},
		{2, "validators", []string{"init", "--dir", none, "-n", "101"}},
		{2, "--rpc-base", []string{"init", "--dir", none, "--rpc-base", "65535"}},
		{2, "overlap", []string{"init", "--dir", none, "--rpc-base", "5000", "--p2p-base", "5003"}},
		{1, "chainId", []string{"init", "--dir", none, "--chain-id", "0"}},
		{1, "holds no testnet", []string{"status", "--dir", none}},
		{1, "holds no testnet", []string{"add", "--dir", none}},
		{1, `no node "node7"`, []string{"wait", "--dir", dir, "node7"}},
		{2, "--until", []string{"wait", "--dir", dir, "--until", "later"}},
		{1, "node0 does not run", []string{"wait", "--dir", dir}},
	} {
		refused(t, c.code, []string{c.says}, append([]string{"testnet"}, c.argv...)...)
	}
	if entries, _ := os.ReadDir(none); len(entries) != 0 {
		t.Errorf("a refused init left %v", entries)
	}
	write(t, filepath.Join(dir, testnetFile), `{"format": 2}`, 0o644)
	refused(t, 1, []string{"format 2"}, "testnet", "status", "--dir", dir)
}

func TestTestnetTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if port > 65000 {
		t.Skip("the kernel's port leaves no room for more nodes")
	}
	dir := filepath.Join(t.TempDir(), "net")
	base := []string{"--dir", dir, "-n", "1", "--rpc-base", strconv.Itoa(port), "--p2p-base", "1000"}
	refused(t, 1, []string{"node0: RPC port " + strconv.Itoa(port), "--rpc-base"}, append([]string{"testnet", "init", "--check-ports"}, base...)...)
	if _, err := os.Stat(dir); err == nil {
		t.Error("the refused init made the directory")
	}
	must(t, append([]string{"testnet", "init"}, base...)...)
	refused(t, 1, []string{"node0: RPC port " + strconv.Itoa(port)}, "testnet", "ports", "--dir", dir, "node0")
}

// A pid whose process started at another time is somebody else's.
func TestPIDIsCheckedByStartTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := &testnet{dir: dir}
	if err := os.Mkdir(n.home("node0"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(n.home("node0"), pidFile)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("no /proc here")
	}
	own, id := os.Getpid(), strings.TrimSpace(string(boot))
	start := startTime(own)
	for text, want := range map[string]int{
		fmt.Sprintf("%d %s %s\n", own, start, id):      own,
		fmt.Sprintf("%d %s1 %s\n", own, start, id):     0,
		fmt.Sprintf("%d %s %s\n", own, start, "other"): 0,
		fmt.Sprintf("%d\n", own):                       0,
		fmt.Sprintf("-1 %s %s\n", start, id):           0,
		"":                                             0,
	} {
		write(t, file, text, 0o644)
		if got := n.pid("node0"); got != want {
			t.Errorf("%q: pid %d, want %d", text, got, want)
		}
	}
}

// fakeNode makes this process node0 of a testnet whose RPC answers what status
// and ready say.
func fakeNode(t *testing.T, status func() string, ready func() int) *testnet {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(ready())
			return
		}
		_, _ = w.Write([]byte(status()))
	}))
	t.Cleanup(server.Close)
	n := &testnet{dir: t.TempDir(), RPCBase: server.Listener.Addr().(*net.TCPAddr).Port, Validators: 1}
	home := n.home("node0")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, node.ConfigFile), "", 0o600)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("no /proc here")
	}
	write(t, filepath.Join(home, pidFile), fmt.Sprintf("%d %s %s", os.Getpid(), startTime(os.Getpid()), boot), 0o600)
	return n
}

func TestAwait(t *testing.T) {
	t.Parallel()
	zero := "0x" + strings.Repeat("0", 64)
	answer := func(height string, connected int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"genesisHash":%q,"height":%q,"validators":2,"validatorsConnected":%d}}`, zero, height, connected)
	}
	steps := []struct {
		status string
		ready  int
		reason string
	}{
		{"<html>", 503, "not cairn_status"},
		{`{"error":{"message":"starting"}}`, 503, "starting"},
		{`{"result":{"genesisHash":"0x` + strings.Repeat("1", 64) + `"}}`, 200, "another network"},
		{answer("0x1", 1), 200, "1 of 2 validators"},
		{answer("0x0", 2), 200, "no block is final"},
		{answer("0x1", 2), 503, ""},
		{answer("0x1", 2), 200, ""},
	}
	var step atomic.Int32
	n := fakeNode(t, func() string { return steps[step.Load()].status }, func() int { return steps[step.Load()].ready })
	for i, s := range steps {
		step.Store(int32(i))
		done, reason := n.ready(context.Background(), 0)
		if done != (i == len(steps)-1) || !strings.Contains(reason, s.reason) {
			t.Errorf("step %d: %v %q, want %q", i, done, reason, s.reason)
		}
	}
	if done, reason := n.synced(context.Background(), 0); done || reason != "no other node answers" {
		t.Errorf("alone: %v %q", done, reason)
	}
	step.Store(4)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := n.await(ctx, 0, n.ready); err == nil || !strings.Contains(err.Error(), "still waiting") {
		t.Errorf("%v", err)
	}
	write(t, filepath.Join(n.home("node0"), pidFile), "", 0o600)
	write(t, filepath.Join(n.home("node0"), "cairnd.log"), "first\nthe disk is full\n", 0o600)
	if err := n.await(context.Background(), 0, n.ready); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("%v", err)
	}
}

// The script's own command line: options in any place, and what it refuses.
func TestScriptCommandLine(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		code int
		says string
		argv []string
	}{
		{0, "usage", []string{"--help"}},
		{2, "usage", nil},
		{2, "unknown verb 'upp'", []string{"upp"}},
		{2, "unknown option --jsn", []string{"status", "--jsn"}},
		{2, "unknown option --jsn", []string{"--jsn", "status"}},
		{2, "--dir needs a value", []string{"status", "--dir"}},
		{2, "--dir needs a value", []string{"status", "--dir="}},
		{2, "kill needs the NAME", []string{"kill", "--dir", none}},
		{2, "kill takes no --json", []string{"kill", "node0", "--json"}},
		{2, "status takes no -n", []string{"-n", "3", "status"}},
		{2, "'three': want a whole number", []string{"up", "-n", "three"}},
		{2, "unexpected argument 'node0'", []string{"status", "node0", "--dir", none}},
		{2, "unexpected argument 'b'", []string{"kill", "a", "b"}},
		{1, "holds no testnet", []string{"status", "--dir", none}},
		{1, "holds no testnet", []string{"--dir=" + none, "kill", "node0"}},
		{1, "holds no testnet", []string{"kill", "--dir", none, "node0"}},
		{0, "", []string{"reset", "--dir", none}},
	} {
		cmd := exec.Command(bash, append([]string{"../../scripts/testnet.sh"}, c.argv...)...)
		cmd.Env = append(os.Environ(), "CAIRND="+bash) // present, and never run by these
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%v: exit code %d, want %d: %s lacks %q", c.argv, code, c.code, out, c.says)
		}
	}
}
