//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// told is what a node says over JSON-RPC, for a test of who looks at it.
type told struct {
	head     uint64
	blocks   []*testnet.Block
	receipts map[crypto.Hash]*toldReceipt
	balances map[crypto.Address]*big.Int
	nonces   map[crypto.Address]uint64
}

type toldReceipt struct {
	Block  crypto.Hash    `json:"blockHash"`
	Height hexutil.Uint64 `json:"blockNumber"`
	Status hexutil.Uint64 `json:"status"`
}

func (n *told) BlockNumber() hexutil.Uint64 { return hexutil.Uint64(n.head) }

func (n *told) GetBlockByNumber(height hexutil.Uint64, _ bool) *testnet.Block {
	if uint64(height) >= uint64(len(n.blocks)) {
		return nil
	}
	return n.blocks[height]
}

func (n *told) GetTransactionReceipt(hash crypto.Hash) *toldReceipt { return n.receipts[hash] }

func (n *told) GetBalance(a crypto.Address, _ hexutil.Uint64) *hexutil.Big {
	if b := n.balances[a]; b != nil {
		return (*hexutil.Big)(b)
	}
	return (*hexutil.Big)(new(big.Int))
}

func (n *told) GetTransactionCount(a crypto.Address, _ hexutil.Uint64) hexutil.Uint64 {
	return hexutil.Uint64(n.nonces[a])
}

// toldNetwork is two nodes that say the same of a chain of five blocks with eight
// transfers, their load and their checker.
type toldNetwork struct {
	nodes [2]*told
	load  *load
	check *checker
	first crypto.Hash // of the first transfer
}

func newToldNetwork(t *testing.T) *toldNetwork {
	t.Helper()
	c := &cluster{Setup: &testnet.Setup{ChainID: 5}}
	honest := &told{head: 4, receipts: map[crypto.Hash]*toldReceipt{}, balances: map[crypto.Address]*big.Int{}, nonces: map[crypto.Address]uint64{}}
	for i := range accounts {
		key, err := crypto.PrivateKeyFromBytes(append(make([]byte, 31), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		c.Accounts = append(c.Accounts, testnet.Account{Address: key.Address(), PrivateKey: fmt.Sprintf("0x%x", key.Bytes())})
		honest.balances[key.Address()] = new(big.Int).Set(initialBalance)
	}
	rec, err := openRecord(filepath.Join(t.TempDir(), "finals.jsonl"), accounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.journal.Close() })
	n := &toldNetwork{}
	for i := range n.nodes {
		v := &node{index: i, name: fmt.Sprintf("node%d", i), home: t.TempDir()}
		c.nodes = append(c.nodes, v)
		if err := os.WriteFile(filepath.Join(v.home, logFile), []byte("level=INFO msg=started\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n.load, err = newLoad(c, rec, 100); err != nil {
		t.Fatal(err)
	}
	n.check = &checker{c: c, rec: rec, logs: make([]int64, len(n.nodes))}
	parent := ""
	for h := range uint64(5) {
		name := fmt.Sprint("block ", h)
		b := testBlock(h, name, parent)
		for k := range uint64(2) {
			if h == 0 {
				break
			}
			tr := transfer{int(k), h - 1}
			tx, err := n.load.sign(tr)
			if err != nil {
				t.Fatal(err)
			}
			if n.first == (crypto.Hash{}) {
				n.first = tx.Hash()
			}
			b.Transactions = append(b.Transactions, tx.Hash())
			honest.receipts[tx.Hash()] = &toldReceipt{Block: b.Hash, Height: b.Number, Status: 1}
			from, to := c.Accounts[k].Address, recipientAddress(tr.recipient())
			honest.nonces[from]++
			honest.balances[from].Sub(honest.balances[from], big.NewInt(tr.wei()+8*testnet.TransferGas))
			if honest.balances[to] == nil {
				honest.balances[to] = new(big.Int)
			}
			honest.balances[to].Add(honest.balances[to], big.NewInt(tr.wei()))
		}
		honest.blocks, parent = append(honest.blocks, b), name
		mustObserve(t, rec, 0, b)
	}
	for i := range n.nodes {
		mine := *honest
		mine.blocks = slices.Clone(honest.blocks)
		mine.receipts, mine.balances, mine.nonces = maps.Clone(honest.receipts), maps.Clone(honest.balances), maps.Clone(honest.nonces)
		n.nodes[i] = &mine
		server := rpc.NewServer()
		if err := server.RegisterName("eth", &mine); err != nil {
			t.Fatal(err)
		}
		c.nodes[i].client = rpc.DialInProc(server)
		t.Cleanup(server.Stop)
		t.Cleanup(c.nodes[i].client.Close)
	}
	return n
}

// TestCheckerSees: two honest nodes pass; whatever one of them says wrong is
// found, after a fault as well as at the end.
func TestCheckerSees(t *testing.T) {
	t.Parallel()
	other := func(b *testnet.Block, change func(*testnet.Block)) *testnet.Block {
		c := *b
		change(&c)
		return &c
	}
	for name, c := range map[string]struct {
		lie  func(n *toldNetwork, bad *told)
		want error
	}{
		"nothing": {func(*toldNetwork, *told) {}, nil},
		"another block": {func(_ *toldNetwork, bad *told) {
			bad.blocks[2] = other(bad.blocks[2], func(b *testnet.Block) { b.Hash = crypto.Hash{1} })
		}, errDiverged},
		"another state": {func(_ *toldNetwork, bad *told) {
			bad.blocks[4] = other(bad.blocks[4], func(b *testnet.Block) { b.StateRoot = crypto.Hash{1} })
		}, errDiverged},
		"a transfer less": {func(_ *toldNetwork, bad *told) {
			bad.blocks[3] = other(bad.blocks[3], func(b *testnet.Block) { b.Transactions = b.Transactions[:1] })
		}, errDiverged},
		"no block":            {func(_ *toldNetwork, bad *told) { bad.blocks[1] = nil }, errLost},
		"no receipt":          {func(n *toldNetwork, bad *told) { delete(bad.receipts, n.first) }, errLost},
		"receipt of failure":  {func(n *toldNetwork, bad *told) { bad.receipts[n.first] = &toldReceipt{bad.blocks[1].Hash, 1, 0} }, errLost},
		"receipt of elsewhen": {func(n *toldNetwork, bad *told) { bad.receipts[n.first] = &toldReceipt{bad.blocks[2].Hash, 2, 1} }, errLost},
		"a wei too much": {func(_ *toldNetwork, bad *told) {
			to := recipientAddress(transfer{0, 0}.recipient())
			bad.balances[to] = new(big.Int).Add(bad.balances[to], big.NewInt(1))
		}, errWrong},
		"a wei at nobody": {func(_ *toldNetwork, bad *told) { bad.balances[recipientAddress(recipients-1)] = big.NewInt(1) }, errWrong},
		"a nonce":         {func(n *toldNetwork, bad *told) { bad.nonces[n.check.c.Accounts[1].Address]++ }, errWrong},
		"a fee": {func(n *toldNetwork, bad *told) {
			from := n.check.c.Accounts[0].Address
			bad.balances[from] = new(big.Int).Sub(bad.balances[from], big.NewInt(1))
		}, errWrong},
	} {
		for _, end := range []bool{false, true} {
			n := newToldNetwork(t)
			c.lie(n, n.nodes[1])
			rng, run := rand.New(rand.NewPCG(1, 2)), n.check.after
			if end {
				run = n.check.all
			}
			if err := run(t.Context(), rng); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s (at the end %v): %v, want %v", name, end, err, c.want)
			}
		}
	}
}

// TestCheckerReadsLogs: an alarm in a log is found once it is a whole line, and
// not twice.
func TestCheckerReadsLogs(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"panic: runtime error", "fatal error: all goroutines are asleep", `time=x level=ERROR msg="consensus halted"`, `level=WARN msg="a validator contradicted itself"`,
	} {
		n := newToldNetwork(t)
		v := n.check.c.nodes[1]
		f, err := os.OpenFile(filepath.Join(v.home, logFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, part := range []struct {
			text  string
			alarm bool
		}{{line, false}, {" and more\n", true}, {"level=INFO msg=fine\n", false}} {
			if _, err := f.WriteString(part.text); err != nil {
				t.Fatal(err)
			}
			if err := n.check.readLog(v); (err != nil) != part.alarm {
				t.Errorf("after %q: %v", part.text, err)
			}
		}
	}
}

// TestWatcherSees: what nodes report as final is held against the record as it
// appears, and a head never goes back.
func TestWatcherSees(t *testing.T) {
	t.Parallel()
	n := newToldNetwork(t)
	v, says := n.check.c.nodes[1], n.nodes[1]
	look := func() error { return n.load.look(t.Context(), v) }
	says.head = 2
	if err := look(); err != nil {
		t.Fatal(err)
	}
	says.head = 1
	if err := look(); !errors.Is(err, errLost) {
		t.Errorf("a head that went back: %v", err)
	}
	says.head = 4
	says.blocks[3] = nil
	if err := look(); !errors.Is(err, errLost) {
		t.Errorf("a head without its block: %v", err)
	}
	says.blocks[3] = testBlock(3, "fork", "block 2")
	if err := look(); !errors.Is(err, errDiverged) {
		t.Errorf("a fork: %v", err)
	}
	v.client.Close()
	if err := look(); err != nil {
		t.Errorf("a node that does not answer: %v", err)
	}
	if _, ok := n.check.rec.firstAfter(time.Now()); ok {
		t.Error("a block of the future")
	}
}
