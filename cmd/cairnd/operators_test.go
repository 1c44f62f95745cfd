package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/crypto"
	"cairn/node/rpc"
)

// The test binary is cairnd when this variable is set, so that tests run real
// processes without a build of their own.
const actAsCairnd = "TEST_ACT_AS_CAIRND"

func TestMain(m *testing.M) {
	if os.Getenv(actAsCairnd) != "" {
		os.Exit(run(os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is one running cairnd.
type process struct {
	cmd *exec.Cmd
	log lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startCairnd(t *testing.T, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], argv...)}
	p.cmd.Env = []string{actAsCairnd + "=1", "HOME=" + t.TempDir()}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%v\n%s", argv, p.log.String())
		}
	})
	return p
}

// Four operators on four hosts, here four loopback addresses, share nothing but
// the validator files, the genesis file with its hash, and one node's address.
func TestOperatorsBootstrapByOneAddress(t *testing.T) {
	t.Parallel()
	file, hash, homes := network(t, 4, "--timestamp", "2020-01-01T00:00:00Z") // old: block 1 comes at once
	var peerIDs []string
	for _, home := range homes {
		must(t, "init", "--home", home, "--genesis", file, "--expect-hash", hash)
		_, id, err := loadIdentity(home, "")
		if err != nil {
			t.Fatal(err)
		}
		peerIDs = append(peerIDs, id)
	}
	// A loopback network of this test's own: other runs take other addresses.
	host := func(i int) string {
		return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%128, os.Getpid()/128%256, 1+i)
	}
	bootnode := fmt.Sprintf("/ip4/%s/tcp/30303/p2p/%s", host(0), peerIDs[0])
	var nodes []*process
	for i, home := range homes {
		argv := []string{
			"run", "--home", home, "--mdns=false", "--metrics-listen", "off", "--rpc-listen", host(i) + ":8545",
			"--p2p-listen", fmt.Sprintf("/ip4/%s/tcp/30303", host(i)),
			"--p2p-listen", fmt.Sprintf("/ip4/%s/udp/30303/quic-v1", host(i)),
		}
		if i > 0 {
			argv = append(argv, "--bootnode", bootnode)
		}
		nodes = append(nodes, startCairnd(t, argv...))
	}
	genesisHash, err := crypto.ParseHash(hash)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heads := map[crypto.Hash]bool{}
	for i := range nodes {
		s := awaitStatus(ctx, t, "http://"+host(i)+":8545", genesisHash, func(s *rpc.Status) bool {
			return s.Connected == 4 && s.Height == 1
		})
		heads[s.Hash] = true
	}
	if len(heads) != 1 {
		t.Errorf("the nodes have %d blocks of height 1", len(heads))
	}
	for i, n := range nodes {
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := n.cmd.Wait(); err != nil {
			t.Errorf("node %d ends with %v", i, err)
		}
	}
}

func awaitStatus(ctx context.Context, t *testing.T, url string, network crypto.Hash, done func(*rpc.Status) bool) *rpc.Status {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := askStatus(ctx, url, network)
		if err == nil && done(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %+v, %v", url, s, err)
		}
	}
}

// A node whose home is in use by another says so, and so does one of another
// genesis over the same data.
func TestRunRefusals(t *testing.T) {
	t.Parallel()
	file, hash, homes := network(t, 1, "--heartbeat", "0s")
	home := homes[0]
	must(t, "init", "--home", home, "--genesis", file, "--expect-hash", hash)
	quiet := []string{"run", "--home", home, "--mdns=false", "--p2p-listen", "/ip4/127.0.0.1/tcp/0", "--rpc-listen", "off", "--metrics-listen", "127.0.0.1:0"}
	first := startCairnd(t, quiet...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(first.log.String(), "metrics listens") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the first node does not start")
		}
	}
	expectFailure(t, startCairnd(t, quiet...), "another cairnd is running")
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()

	other, otherHash, _ := network(t, 1)
	if err := os.Remove(filepath.Join(home, "genesis.json")); err != nil {
		t.Fatal(err)
	}
	must(t, "init", "--home", home, "--genesis", other, "--expect-hash", otherHash)
	expectFailure(t, startCairnd(t, quiet...), hash, otherHash)

	dev := t.TempDir()
	must(t, "init", "--dev", "--home", dev)
	expectFailure(t, startCairnd(t, "run", "--home", dev, "--p2p-listen", "/ip4/0.0.0.0/tcp/0", "--rpc-listen", "off"), "development key")
}

func expectFailure(t *testing.T, p *process, says ...string) {
	t.Helper()
	err := p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("it ends with %v, want exit code 1", err)
	}
	for _, text := range says {
		if !strings.Contains(p.log.String(), text) {
			t.Errorf("%q lacks %q", p.log.String(), text)
		}
	}
}
