// Package testnet drives scripts/testnet.sh: a network of real cairnd processes
// on this machine, for the benchmark and the end-to-end tests.
package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
)

// Node is one process of the network, as `testnet.sh up --json` prints it.
type Node struct {
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	RPC       string `json:"rpc"`
	WS        string `json:"ws"`
	Home      string `json:"home"`
	Validator bool   `json:"validator"`
}

// Account is a funded development account.
type Account struct {
	Address    crypto.Address `json:"address"`
	PrivateKey string         `json:"privateKey"`
}

// Network is what `testnet.sh up --json` prints.
type Network struct {
	ChainID     json.Number `json:"chainId"`
	GenesisHash crypto.Hash `json:"genesisHash"`
	Nodes       []Node      `json:"nodes"`
	Accounts    []Account   `json:"accounts"`

	dir string
}

// Root is the repository's root.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Script runs a verb of scripts/testnet.sh and answers its stdout.
func Script(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(Root(), "scripts", "testnet.sh"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("testnet.sh %v: %w\n%s", args, err, errs.String())
	}
	return out.Bytes(), nil
}

// Up starts n nodes in dir, or resumes those that are there.
func Up(ctx context.Context, dir string, n int) (*Network, error) { return UpWith(ctx, dir, n, n) }

// UpWith is Up with ports for more nodes that are added later, and flags for
// `cairnd testnet init`. A network that is there keeps its ports.
func UpWith(ctx context.Context, dir string, n, more int, init ...string) (*Network, error) {
	if setup, err := OpenSetup(dir); err == nil {
		return up(ctx, dir, append([]string{"-n", strconv.Itoa(n), "--rpc-base", strconv.Itoa(setup.RPCBase), "--p2p-base", strconv.Itoa(setup.P2PBase), "--"}, init...)...)
	}
	ports := n + more
	rpcBase, err := freePorts(ports)
	if err != nil {
		return nil, err
	}
	return up(ctx, dir, append([]string{"-n", strconv.Itoa(n), "--rpc-base", strconv.Itoa(rpcBase), "--p2p-base", strconv.Itoa(rpcBase + ports), "--"}, init...)...)
}

// Resume starts again what is in the network's directory.
func (n *Network) Resume(ctx context.Context) (*Network, error) { return up(ctx, n.dir) }

func up(ctx context.Context, dir string, args ...string) (*Network, error) {
	out, err := Script(ctx, append([]string{"up", "--json", "--dir", dir}, args...)...)
	if err != nil {
		return nil, err
	}
	return parse(out, dir)
}

func parse(out []byte, dir string) (*Network, error) {
	n := &Network{dir: dir}
	if err := json.Unmarshal(out, n); err != nil {
		return nil, fmt.Errorf("testnet.sh printed %q: %w", out, err)
	}
	return n, nil
}

// Status asks the script which processes run now.
func (n *Network) Status(ctx context.Context) (*Network, error) {
	out, err := Script(ctx, "status", "--json", "--dir", n.dir)
	if err != nil {
		return nil, err
	}
	return parse(out, n.dir)
}

// Do runs a verb (kill, stop, start, add, down, reset) on the network.
func (n *Network) Do(ctx context.Context, verb string, args ...string) error {
	_, err := Script(ctx, append(append([]string{verb}, args...), "--dir", n.dir)...)
	return err
}

// Key is the private key of development account i.
func (n *Network) Key(i int) (*crypto.PrivateKey, error) {
	return crypto.ParsePrivateKey(n.Accounts[i].PrivateKey)
}

// Chain is the chain id as a number.
func (n *Network) Chain() (uint64, error) { return strconv.ParseUint(n.ChainID.String(), 10, 64) }

// Dial connects to a node over HTTP.
func (n *Network) Dial(ctx context.Context, i int) (*rpc.Client, error) {
	return rpc.DialContext(ctx, n.Nodes[i].RPC)
}

// freePorts finds a run of ports that are free now, below those from which the
// kernel takes the ports of outgoing connections: a node that is down for a while
// must find its own free when it starts again. A run that is taken meanwhile makes
// `up` fail with a clear error.
func freePorts(n int) (int, error) {
	const lowest = 10_000
	highest := 32_768
	if raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(raw), &highest); err != nil {
			return 0, fmt.Errorf("ip_local_port_range: %w", err)
		}
	}
	if highest < lowest+100*n { // it takes them from everywhere: any will do
		highest = 32_768
	}
	room := highest - lowest - 2*n
	for range 50 {
		base := lowest + rand.IntN(room)
		if free(base, 2*n) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no run of %d free ports on loopback from %d to %d", 2*n, lowest, highest)
}

func free(base, n int) bool {
	for p := base; p < base+n; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return false
		}
		l.Close()
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return false
		}
		u.Close()
	}
	return true
}

// Await polls until check answers true or the time is over.
func Await(ctx context.Context, limit time.Duration, check func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		ok, err := check()
		if ok {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: last error: %w", limit, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
