package p2p

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// childListen makes this test binary a validator in a process of its own, which
// listens on that address and sends a frame every millisecond until it is
// killed.
const (
	childListen = "CAIRN_P2P_TEST_LISTEN"
	childDials  = "CAIRN_P2P_TEST_BOOTNODE"
)

func TestChild(t *testing.T) {
	listen := os.Getenv(childListen)
	if listen == "" {
		t.Skip("run by TestKilledValidator only")
	}
	cfg := testConfig(t, 1)
	cfg.waits.ping = pingInterval
	cfg.Listen = []string{listen}
	if boot := os.Getenv(childDials); boot != "" {
		cfg.Bootnodes = []string{boot}
	}
	h, err := New(context.Background(), cfg, Handlers{})
	if err != nil {
		t.Fatal(err)
	}
	h.SetValidators([]peer.ID{testID(t, 0), h.ID()})
	addr, err := listenAddr(h)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening", addr)
	for tick := time.Tick(time.Millisecond); ; <-tick {
		h.SendConsensus(testID(t, 0), []byte(fmt.Sprint(os.Getpid())))
	}
}

// startChild answers the process and its listen address.
func startChild(t *testing.T, listen, boot string) (*exec.Cmd, string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestChild$")
		cmd.Env = append(os.Environ(), childListen+"="+listen, childDials+"="+boot)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if addr, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
				return cmd, addr
			}
			t.Log("child: " + lines.Text())
		}
		// Somebody's connection may have the port of the one before for a while.
	}
	t.Fatal("the child did not start")
	return nil, ""
}

// TestKilledValidator: after SIGKILL and a restart on the same port that knows
// nobody, the others bring it back by themselves.
func TestKilledValidator(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(strings.Split(transport, "/")[3], func(t *testing.T) {
			t.Parallel()
			box := &inbox{}
			cfg := testConfig(t, 0)
			cfg.waits.ping = pingInterval // over QUIC nothing else tells soon that a process is gone
			cfg.Listen = []string{transport}
			h := startHost(t, cfg, box.handlers())
			h.SetValidators([]peer.ID{h.ID(), testID(t, 1)})
			heard := func(cmd *exec.Cmd) func() bool {
				return func() bool {
					got := box.got(&box.consensus)
					return len(got) > 0 && got[len(got)-1] == fmt.Sprint(cmd.Process.Pid)
				}
			}
			first, addr := startChild(t, transport, h.ListenAddrs()[0])
			eventually(t, "frames of the first process", heard(first))
			if err := first.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			first.Wait()
			second, _ := startChild(t, addr, "")
			began := time.Now()
			eventually(t, "frames of the second process", heard(second))
			t.Logf("back after %s", time.Since(began))
		})
	}
}
