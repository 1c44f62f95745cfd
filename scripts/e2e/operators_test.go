//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// operator is one of the organisations of TestOperators: a directory of its own
// and a loopback address of its own.
type operator struct {
	t    *testing.T
	ctx  context.Context
	home string
	host string
	cmd  *exec.Cmd
	log  *os.File
}

func (o *operator) cairnd(args ...string) []byte {
	o.t.Helper()
	cmd := exec.CommandContext(o.ctx, filepath.Join(testnet.Root(), "bin", "cairnd"), append(args, "--home", o.home)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		o.t.Fatalf("cairnd %v: %v\n%s", args, err, errs.String())
	}
	return out.Bytes()
}

// run starts the node; ports come from the kernel, so that its address is known
// from the log alone, as it is for an operator.
func (o *operator) run(bootnodes ...string) {
	o.t.Helper()
	args := []string{
		"run", "--home", o.home, "--mdns=false", "--log-format", "json", "--rpc-listen", o.host + ":0",
		"--p2p-listen", "/ip4/" + o.host + "/tcp/0", "--p2p-listen", "/ip4/" + o.host + "/udp/0/quic-v1",
	}
	for _, b := range bootnodes {
		args = append(args, "--bootnode", b)
	}
	var err error
	if o.log, err = os.Create(filepath.Join(o.home, "log")); err != nil {
		o.t.Fatal(err)
	}
	o.cmd = exec.CommandContext(o.ctx, filepath.Join(testnet.Root(), "bin", "cairnd"), args...)
	o.cmd.Stderr = o.log
	if err := o.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(o.stop)
}

func (o *operator) stop() {
	if o.cmd.ProcessState != nil {
		return
	}
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	if err := o.cmd.Wait(); err != nil {
		o.t.Errorf("%s: stop: %v", o.home, err)
	}
	o.log.Close()
}

// logged waits for a log line with a message and answers one of its fields.
func (o *operator) logged(msg, field string) string {
	o.t.Helper()
	var value string
	err := testnet.Await(o.ctx, 10*time.Second, func() (bool, error) {
		raw, err := os.ReadFile(filepath.Join(o.home, "log"))
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(raw)) {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == msg {
				value = fmt.Sprint(entry[field])
				return true, nil
			}
		}
		return false, fmt.Errorf("no %q in the log:\n%s", msg, raw)
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return value
}

func (o *operator) dial() *rpc.Client {
	o.t.Helper()
	c, err := rpc.DialContext(o.ctx, "http://"+o.logged("json-rpc listens", "address"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(c.Close)
	return c
}

// TestOperators: four organisations that share nothing but the genesis file, its
// hash and one bootnode address become a network. docs/operating.md walks the
// same commands.
func TestOperators(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	shared := t.TempDir()
	key, err := crypto.PrivateKeyFromBytes(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	alloc := filepath.Join(shared, "alloc.json")
	balances := fmt.Sprintf(`[{"address": %q, "balance": "1000000000000000000000000"}]`, key.Address())
	if err := os.WriteFile(alloc, []byte(balances), 0o600); err != nil {
		t.Fatal(err)
	}
	newGenesis := []string{"genesis", "new", "--alloc", alloc, "--chain-id", "4711", "--out", filepath.Join(shared, "genesis.json")}
	var ops []*operator
	for i := range 4 {
		o := &operator{t: t, ctx: ctx, home: t.TempDir(), host: fmt.Sprintf("127.0.0.%d", i+1)}
		file := filepath.Join(shared, fmt.Sprintf("validator%d.json", i))
		o.cairnd("key", "new", "--name", fmt.Sprintf("org-%d", i), "--out", file)
		newGenesis = append(newGenesis, "--validator", file)
		ops = append(ops, o)
	}
	ops[0].cairnd(newGenesis...)
	genesis := filepath.Join(shared, "genesis.json")
	hash := strings.TrimSpace(string(ops[1].cairnd("genesis", "hash", genesis)))
	for _, o := range ops {
		o.cairnd("init", "--genesis", genesis, "--expect-hash", hash)
	}
	ops[0].run()
	boot := ops[0].logged("network", "address")
	for _, o := range ops[1:] {
		o.run(boot)
	}
	clients := make([]*rpc.Client, len(ops))
	for i, o := range ops {
		clients[i] = o.dial()
	}
	w := &network{t: t, ctx: ctx, clients: clients, chain: 4711, Network: &testnet.Network{Nodes: make([]testnet.Node, 4)}}
	for i := range clients {
		w.Nodes[i].Name = fmt.Sprintf("org-%d", i)
		w.await(w.Nodes[i].Name+" knows the other three", 20*time.Second, func() (bool, error) {
			s, err := testnet.NodeStatus(ctx, clients[i])
			return err == nil && s.Peers == 3, err
		})
	}
	w.Accounts = []testnet.Account{{Address: key.Address(), PrivateKey: fmt.Sprintf("%x", key.Bytes())}}
	for i := range 8 {
		w.pay(i%4, 0, recipient(1), 1, 0, 1, 2, 3)
	}
	b, err := testnet.Balance(ctx, clients[3], recipient(1))
	if err != nil || b.Cmp(big.NewInt(8)) != 0 {
		t.Fatalf("balance %s, want 8 (%v)", b, err)
	}
	w.sameBlocks()
}
