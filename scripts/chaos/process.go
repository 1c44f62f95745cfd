//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"

	"cairn/scripts/internal/testnet"
)

const (
	pidFile   = "cairnd.pid" // the form is that of scripts/testnet.sh: pid, start time, boot id
	logFile   = "cairnd.log"
	stopLimit = 30 * time.Second // of a clean stop on a busy machine
)

// node is one validator and, while it runs, its process.
type node struct {
	index  int
	name   string
	home   string
	ns     string // "" on loopback
	client *rpc.Client

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil = does not run
	done   chan struct{} // closed when cmd has ended
	ending bool          // this program has asked it to end
	paused bool
}

// cluster is the network under test.
type cluster struct {
	*testnet.Setup
	cairnd string
	fabric *fabric // nil on loopback
	nodes  []*node
	died   chan error // a process that ended by itself
}

// openCluster makes the homes, or takes those that are there, and ends processes
// that an interrupted run has left. No node runs yet.
func openCluster(ctx context.Context, cairnd, dir string, n int, f *fabric) (*cluster, error) {
	if _, err := os.Stat(filepath.Join(dir, "testnet.json")); errors.Is(err, os.ErrNotExist) {
		if err := testnet.Init(ctx, cairnd, dir, n); err != nil {
			return nil, err
		}
	}
	setup, err := testnet.OpenSetup(dir)
	if err != nil {
		return nil, err
	}
	if setup.Validators != n {
		return nil, fmt.Errorf("%s holds %d validators, not %d", dir, setup.Validators, n)
	}
	c := &cluster{Setup: setup, cairnd: cairnd, fabric: f, died: make(chan error, n)}
	for i := range n {
		v := &node{index: i, name: fmt.Sprintf("node%d", i), home: filepath.Join(dir, fmt.Sprintf("node%d", i))}
		if f != nil {
			v.ns = f.namespace(i)
		}
		if err := endLeftover(filepath.Join(v.home, pidFile)); err != nil {
			return nil, err
		}
		if err := place(filepath.Join(v.home, "config.toml"), setup.P2PBase, f != nil); err != nil {
			return nil, err
		}
		if v.client, err = dialIn(ctx, v.ns, fmt.Sprintf("http://127.0.0.1:%d", setup.RPCBase+i)); err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, v)
	}
	return c, nil
}

var anyP2P = regexp.MustCompile(`/ip4/(127\.0\.0\.1|10\.77\.0\.\d+)/(tcp|udp)/(\d+)`)

// place writes the addresses of a node's configuration: on loopback, or each
// node at its own in the fabric. JSON-RPC is left alone.
func place(path string, p2pBase int, inFabric bool) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := anyP2P.ReplaceAllStringFunc(string(raw), func(s string) string {
		part := strings.Split(s, "/")
		port, _ := strconv.Atoi(part[4])
		part[2] = "127.0.0.1"
		if inFabric {
			part[2] = fabricAddress(port - p2pBase)
		}
		return strings.Join(part, "/")
	})
	text = strings.Replace(text, "allow_development_keys = false", "allow_development_keys = true", 1)
	return os.WriteFile(path, []byte(text), 0o644)
}

// dialIn is a JSON-RPC client whose sockets are made inside a namespace.
func dialIn(ctx context.Context, ns, url string) (*rpc.Client, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	transport := &http.Transport{
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = within(ns, func() error {
				conn, err = dialer.DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}
	return rpc.DialOptions(ctx, url, rpc.WithHTTPClient(&http.Client{Transport: transport, Timeout: time.Minute}))
}

// start starts a node; it does not wait for it.
func (c *cluster) start(v *node) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cmd != nil {
		return nil
	}
	out, err := os.OpenFile(filepath.Join(v.home, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(c.cairnd, "run", "--home", v.home)
	cmd.Env = cleanEnvironment()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of this program is not for it
	if err := within(v.ns, cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", v.name, err)
	}
	if id, err := identity(cmd.Process.Pid); err == nil {
		err = os.WriteFile(filepath.Join(v.home, pidFile), []byte(id+"\n"), 0o644)
		if err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
	done := make(chan struct{})
	v.cmd, v.done, v.ending, v.paused = cmd, done, false, false
	go func() {
		err := cmd.Wait()
		v.mu.Lock()
		asked := v.ending
		v.cmd, v.paused = nil, false
		os.Remove(filepath.Join(v.home, pidFile))
		v.mu.Unlock()
		close(done)
		if !asked {
			c.died <- fmt.Errorf("%s ended by itself: %v; the end of its log:\n%s", v.name, err, tail(filepath.Join(v.home, logFile), 4096))
		}
	}()
	return nil
}

// end signals a process to end and waits until it has. A clean stop that takes
// too long becomes a kill and an error.
func (v *node) end(sig syscall.Signal) error {
	v.mu.Lock()
	cmd, done := v.cmd, v.done
	if cmd == nil {
		v.mu.Unlock()
		return nil
	}
	v.ending = true
	err := cmd.Process.Signal(sig)
	v.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(stopLimit):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%s did not end within %s of %s", v.name, stopLimit, sig)
	}
}

// pause stops or continues a process.
func (v *node) pause(on bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cmd == nil {
		return nil
	}
	sig := syscall.SIGCONT
	if on {
		sig = syscall.SIGSTOP
	}
	v.paused = on
	return v.cmd.Process.Signal(sig)
}

// up is true for a process that runs and is not paused.
func (v *node) up() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cmd != nil && !v.paused
}

// each does the same to several nodes at once.
func (c *cluster) each(nodes []int, do func(v *node) error) error {
	var g errgroup.Group
	for _, i := range nodes {
		g.Go(func() error { return do(c.nodes[i]) })
	}
	return g.Wait()
}

func (c *cluster) all() []int {
	out := make([]int, len(c.nodes))
	for i := range out {
		out[i] = i
	}
	return out
}

// close ends every process, cleanly if clean, and deletes the namespaces.
func (c *cluster) close(clean bool) error {
	sig := syscall.SIGKILL
	if clean {
		sig = syscall.SIGTERM
	}
	err := c.each(c.all(), func(v *node) error {
		return errors.Join(v.pause(false), v.end(sig))
	})
	for _, v := range c.nodes {
		v.client.Close()
	}
	if c.fabric != nil {
		c.fabric.close()
	}
	return err
}

// cleanEnvironment is this program's without settings meant for one node.
func cleanEnvironment() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CAIRN") || strings.HasPrefix(e, "CAIRN_LOG_") {
			env = append(env, e)
		}
	}
	return env
}

// identity is pid, start time in clock ticks since boot, and boot id: a pid is
// somebody else's after a while, the three are not.
func identity(pid int) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	for ok && strings.Contains(rest, ") ") { // the program's name in () may hold anything
		_, rest, _ = strings.Cut(rest, ") ")
	}
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s %s", pid, fields[19], strings.TrimSpace(string(boot))), nil
}

// endLeftover kills the process that a pid file names, if it is still that one.
func endLeftover(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	line := strings.TrimSpace(string(raw))
	first, _, _ := strings.Cut(line, " ")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		return os.Remove(path)
	}
	for deadline := time.Now().Add(stopLimit); ; {
		if id, err := identity(pid); err != nil || id != line {
			return os.Remove(path)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d of an earlier run does not end", pid)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		time.Sleep(20 * time.Millisecond)
	}
}

// tail is the end of a file.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		_, _ = f.Seek(-n, 2)
	}
	buf := make([]byte, n)
	k, _ := f.Read(buf)
	return string(buf[:k])
}
