//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/scripts/internal/testnet"
)

// Of the small disk: its size, and what the node keeps free on it, in MiB.
const (
	diskMiB    = 512
	reserveMiB = 160
)

// exitStorage is cairnd's exit code after a write failed.
const exitStorage = 74

// onSmallDisk is set in the process that has a small disk of its own, to where
// that is.
const onSmallDisk = "CAIRN_E2E_DISK"

// TestDiskFull: on a small disk of its own, a validator stops voting at the
// reserve, answers reads only below half of it, and goes on when there is room; a
// start below the reserve answers reads only; a disk that fills at once makes it do
// so too, or ends the process with a named reason and its exit code; and after each
// the database is sound.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(onSmallDisk); dir != "" {
		diskFull(t, dir)
		return
	}
	if out, err := exec.Command("unshare", "-Urm", "true").CombinedOutput(); err != nil {
		t.Skipf("a small disk needs a user and a mount namespace of its own, which this machine refuses: %v %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "unshare", "-Urm", "--kill-child", self, "-test.run", "^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), onSmallDisk+"="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// lone is a network of one development validator on the small disk.
type lone struct {
	t      *testing.T
	home   string
	url    string
	client *rpc.Client
	cmd    *exec.Cmd
	log    *os.File
	nonce  uint64
}

func cairnd() string { return filepath.Join(testnet.Root(), "bin", "cairnd") }

func diskFull(t *testing.T, dir string) {
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", diskMiB), "none", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	l := &lone{t: t, home: filepath.Join(dir, "home")}
	if out, err := exec.Command(cairnd(), "init", "--dev", "--home", l.home).CombinedOutput(); err != nil {
		t.Fatalf("init: %v %s", err, out)
	}
	l.start()
	defer func() { _ = l.cmd.Process.Kill() }()
	l.final(l.send())
	ballast := filepath.Join(dir, "ballast")

	l.fill(ballast, reserveMiB*3/4)
	l.awaitVoting(false)
	waiting := l.send()
	l.stays(waiting)
	l.fill(ballast+".more", reserveMiB/3)
	l.readsOnly()
	l.remove(ballast)
	l.remove(ballast + ".more")
	l.awaitVoting(true)
	l.final(waiting)
	t.Log("below the reserve it did not vote, and below half of it it answered reads only, and it went on when there was room")

	l.kill()
	l.fill(ballast, reserveMiB*3/4)
	l.start()
	l.readsOnly()
	t.Log("a start below the reserve answers reads only")
	l.remove(ballast)
	l.awaitVoting(true)
	l.final(l.send())

	if died, code := l.fillAtOnce(ballast); died {
		said, err := os.ReadFile(l.log.Name())
		if err != nil {
			t.Fatal(err)
		}
		last := said[max(0, len(said)-2000):]
		if code != exitStorage && code != 1 || !strings.Contains(string(said), "no space left on device") {
			t.Fatalf("exit code %d:\n%s", code, last)
		}
		t.Logf("a full disk: exit code %d\n%s", code, last)
		l.remove(ballast)
	} else {
		t.Logf("a full disk: the node saw it %d times before its log had to grow, and answered reads only", fillings)
	}
	if out, err := exec.Command(cairnd(), "db", "check", "--home", l.home).Output(); err != nil || !strings.HasPrefix(string(out), "sound") {
		t.Fatalf("db check: %v %s", err, out) // progress goes to stderr
	} else {
		t.Logf("%s", out)
	}
	l.start()
	l.awaitVoting(true)
	// What waited is final now or was never taken: the account says what comes next.
	l.await("nothing waits", func() bool {
		from := genesis.DevelopmentAccounts()[0].Address()
		latest, err := testnet.Nonce(t.Context(), l.client, from, "latest")
		if err != nil {
			return false
		}
		l.nonce, err = testnet.Nonce(t.Context(), l.client, from, "pending")
		return err == nil && latest == l.nonce
	})
	l.final(l.send())
}

func (l *lone) start() {
	l.t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	address := port.Addr().String()
	if err := port.Close(); err != nil {
		l.t.Fatal(err)
	}
	if l.log, err = os.CreateTemp(l.t.TempDir(), "log"); err != nil {
		l.t.Fatal(err)
	}
	l.cmd = exec.Command(cairnd(), "run", "--home", l.home, "--rpc-listen", address, "--p2p-listen", "/ip4/127.0.0.1/tcp/0",
		"--mdns=false", "--dht=false", "--reserve-mib", fmt.Sprint(reserveMiB))
	l.cmd.Stderr = l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.url = "http://" + address
	if l.client, err = rpc.DialContext(l.t.Context(), l.url); err != nil {
		l.t.Fatal(err)
	}
	l.await("the node answers", func() bool {
		_, err := testnet.Head(l.t.Context(), l.client)
		return err == nil
	})
}

func (l *lone) kill() {
	l.t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
	_ = l.cmd.Wait() // it was killed
}

func (l *lone) await(what string, check func() bool) {
	l.t.Helper()
	err := testnet.Await(l.t.Context(), goesOn, func() (bool, error) { return check(), nil })
	if err != nil {
		said, _ := os.ReadFile(l.log.Name())
		l.t.Fatalf("%s: %v\n%s", what, err, said[max(0, len(said)-3000):])
	}
}

func (l *lone) awaitVoting(want bool) {
	l.t.Helper()
	l.await(fmt.Sprintf("voting is %v", want), func() bool {
		s, err := testnet.NodeStatus(l.t.Context(), l.client)
		return err == nil && s.Voting == want
	})
}

func (l *lone) saysReadsOnly() bool {
	s, err := testnet.NodeStatus(l.t.Context(), l.client)
	return err == nil && !s.Healthy && !s.Voting && strings.Contains(strings.Join(s.Problems, ";"), "reads only")
}

// readsOnly waits until the node says that it answers reads only, and tries it.
func (l *lone) readsOnly() {
	l.t.Helper()
	l.await("reads only", l.saysReadsOnly)
	if h, err := testnet.Head(l.t.Context(), l.client); err != nil || h == 0 {
		l.t.Fatalf("a read: height %d, %v", h, err)
	}
	err := testnet.Send(l.t.Context(), l.client, l.transfer())
	if err == nil || !strings.Contains(err.Error(), "the disk of this node is nearly full") {
		l.t.Fatalf("a transfer: %v", err)
	}
	l.t.Logf("a transfer: %v", err)
	r, err := http.Get(l.url + "/healthz")
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // it was read
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusServiceUnavailable {
		l.t.Fatalf("/healthz: %s %s, %v", r.Status, body, err)
	}
	l.t.Logf("/healthz: %s", body)
}

// transfer is the next transfer.
func (l *lone) transfer() *types.Transaction {
	l.t.Helper()
	key := genesis.DevelopmentAccounts()[0]
	tx, err := testnet.Transfer(genesis.Development().ChainID, key, l.nonce, recipient(1), big.NewInt(1))
	if err != nil {
		l.t.Fatal(err)
	}
	return tx
}

// send sends a transfer.
func (l *lone) send() crypto.Hash {
	l.t.Helper()
	tx := l.transfer()
	if err := testnet.Send(l.t.Context(), l.client, tx); err != nil {
		l.t.Fatal(err)
	}
	l.nonce++
	return tx.Hash()
}

func (l *lone) isFinal(hash crypto.Hash) bool {
	var r map[string]any
	return l.client.CallContext(l.t.Context(), &r, "eth_getTransactionReceipt", hash) == nil && r != nil
}

func (l *lone) final(hash crypto.Hash) {
	l.t.Helper()
	l.await("the transfer is final", func() bool { return l.isFinal(hash) })
}

// stays looks for two seconds whether a transfer that cannot be final is.
func (l *lone) stays(hash crypto.Hash) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Second)
	defer cancel()
	if err := testnet.Await(ctx, 2*time.Second, func() (bool, error) { return l.isFinal(hash), nil }); err == nil {
		l.t.Fatal("a transfer became final below the reserve")
	}
}

// fill writes a file until only so many MiB are free.
func (l *lone) fill(path string, leaveMiB uint64) {
	l.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		l.t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
			l.t.Fatal(err)
		}
		if s.Bavail*uint64(s.Bsize) <= leaveMiB<<20 {
			break
		}
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			l.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lone) remove(path string) {
	l.t.Helper()
	if err := os.Remove(path); err != nil {
		l.t.Fatal(err)
	}
}

// fillings is how often the disk is filled at once until the node dies of it.
const fillings = 4

// fillAtOnce fills the disk while transfers come, faster than the node looks at it.
// Whether its log has to grow before its next look is chance. Either it dies, or it
// answers reads only; then it is given room, goes on, and the disk is filled again.
// It answers whether the node died, and with which exit code.
func (l *lone) fillAtOnce(ballast string) (died bool, code int) {
	l.t.Helper()
	ended := make(chan struct{})
	go func() { _ = l.cmd.Wait(); close(ended) }()
	gone := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	for n := range fillings {
		ctx, stop := context.WithCancel(l.t.Context())
		var taken atomic.Int64
		var senders sync.WaitGroup
		for _, key := range genesis.DevelopmentAccounts()[1:] {
			senders.Go(func() { l.sendLarge(ctx, key, &taken) })
		}
		l.await("large transfers are taken", func() bool { return taken.Load() > 20 })
		l.fill(ballast, 0)
		l.await("the node is gone or answers reads only", func() bool { return gone() || l.saysReadsOnly() })
		stop()
		senders.Wait()
		if gone() {
			l.t.Logf("the process ended after the disk was filled %d times", n+1)
			return true, l.cmd.ProcessState.ExitCode()
		}
		l.readsOnly()
		l.remove(ballast)
		l.awaitVoting(true)
	}
	if err := l.cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
	<-ended
	return false, 0
}

// sendLarge sends transfers of one account with much data, which the node keeps on
// disk while they wait, until ctx ends or the node is gone.
func (l *lone) sendLarge(ctx context.Context, key *crypto.PrivateKey, taken *atomic.Int64) {
	id := new(big.Int).SetUint64(genesis.Development().ChainID)
	signer, to := types.LatestSignerForChainID(id), recipient(2)
	data := make([]byte, 100_000)
	for ctx.Err() == nil {
		nonce, err := testnet.Nonce(ctx, l.client, key.Address(), "pending")
		if err != nil {
			return
		}
		tx := types.NewTx(&types.DynamicFeeTx{
			ChainID: id, Nonce: nonce, To: &to, Value: new(big.Int), Data: data, Gas: 1_100_000,
			GasFeeCap: big.NewInt(10_000_000_000), GasTipCap: big.NewInt(1),
		})
		sig := key.Sign(signer.Hash(tx))
		if tx, err = tx.WithSignature(signer, sig[:]); err != nil {
			l.t.Error(err)
			return
		}
		if testnet.Send(ctx, l.client, tx) == nil { // else the pool is full, or the disk
			taken.Add(1)
		}
	}
}
