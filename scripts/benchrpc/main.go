// Command benchrpc measures how a node of a real network answers JSON-RPC and
// prints the figures as JSON: reads and transfers over HTTP with connections kept
// alive, in batches and over WebSocket.
//
//	go run ./scripts/benchrpc -calls 20000 -writes 2000 -workers 8 -batch 100
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

type settings struct {
	Nodes   int `json:"nodes"`
	Calls   int `json:"calls"`
	Writes  int `json:"writes"`
	Workers int `json:"workers"`
	Batch   int `json:"batch"`
}

type report struct {
	CPUs     int       `json:"cpus"`
	Go       string    `json:"go"`
	Settings settings  `json:"settings"`
	Figures  []*figure `json:"figures"`
}

func main() {
	var s settings
	flag.IntVar(&s.Nodes, "nodes", 4, "validators")
	flag.IntVar(&s.Calls, "calls", 20_000, "calls of each read")
	flag.IntVar(&s.Writes, "writes", 2000, "transfers over each transport")
	flag.IntVar(&s.Workers, "workers", 8, "connections, each with one request at a time; at most the funded accounts")
	flag.IntVar(&s.Batch, "batch", 100, "calls of one batch")
	flag.Parse()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "benchrpc:", err)
		os.Exit(1)
	}
}

func run(s settings) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "cairn-benchrpc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	net, err := testnet.Up(ctx, dir, s.Nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Do(context.Background(), "down")) }()
	if s.Workers < 1 || s.Workers > len(net.Accounts) || s.Batch < 1 {
		return fmt.Errorf("%d workers, batches of %d: want 1 to %d workers and at least 1 call", s.Workers, s.Batch, len(net.Accounts))
	}
	figures, err := measure(ctx, net, s)
	if err != nil {
		return err
	}
	out, err := json.MarshalIndent(report{CPUs: runtime.NumCPU(), Go: runtime.Version(), Settings: s, Figures: figures}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(out))
	return nil
}

func measure(ctx context.Context, net *testnet.Network, s settings) ([]*figure, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	first, err := firstTransfer(ctx, net, chain)
	if err != nil {
		return nil, err
	}
	reads := []struct {
		method string
		args   []any
	}{
		{"eth_getBalance", []any{net.Accounts[0].Address, "latest"}},
		{"eth_getBlockByNumber", []any{(*hexutil.Big)(first.BlockNumber), false}},
		{"eth_getTransactionReceipt", []any{first.TxHash}},
	}
	var out []*figure
	for _, t := range []transport{{"http", net.Nodes[0].RPC, 1}, {"batch", net.Nodes[0].RPC, s.Batch}, {"websocket", net.Nodes[0].WS, 1}} {
		for _, r := range reads {
			call := func(int, int) rpc.BatchElem { return rpc.BatchElem{Method: r.method, Args: r.args} }
			f, err := t.measure(ctx, r.method, s.Workers, s.Calls, call)
			if err != nil {
				return nil, fmt.Errorf("%s over %s: %w", r.method, t.name, err)
			}
			out = append(out, f)
		}
		f, err := writes(ctx, net, chain, t, s)
		if err != nil {
			return nil, fmt.Errorf("transfers over %s: %w", t.name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// firstTransfer makes the transaction whose receipt and block are asked for, so
// that their size is the same in every run.
func firstTransfer(ctx context.Context, net *testnet.Network, chain uint64) (*types.Receipt, error) {
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	key, err := net.Key(0)
	if err != nil {
		return nil, err
	}
	nonce, err := testnet.Nonce(ctx, c, key.Address(), "pending")
	if err != nil {
		return nil, err
	}
	tx, err := testnet.Transfer(chain, key, nonce, crypto.Address{1}, big.NewInt(1))
	if err != nil {
		return nil, err
	}
	if err := testnet.Send(ctx, c, tx); err != nil {
		return nil, err
	}
	var receipt *types.Receipt
	err = testnet.Await(ctx, 30*time.Second, func() (bool, error) {
		r, err := ethclient.NewClient(c).TransactionReceipt(ctx, tx.Hash())
		receipt = r
		if errors.Is(err, ethereum.NotFound) {
			return false, nil
		}
		return r != nil, err
	})
	return receipt, err
}

// writes signs before the clock starts: one account for each worker, so that
// nonces come in order.
func writes(ctx context.Context, net *testnet.Network, chain uint64, t transport, s settings) (*figure, error) {
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	signed := make([][]string, s.Workers)
	for w := range signed {
		key, err := net.Key(w)
		if err != nil {
			return nil, err
		}
		nonce, err := testnet.Nonce(ctx, c, key.Address(), "pending")
		if err != nil {
			return nil, err
		}
		for i := range s.Writes / s.Workers {
			tx, err := testnet.Transfer(chain, key, nonce+uint64(i), crypto.Address{1}, big.NewInt(1))
			if err != nil {
				return nil, err
			}
			raw, err := tx.MarshalBinary()
			if err != nil {
				return nil, err
			}
			signed[w] = append(signed[w], hexutil.Encode(raw))
		}
	}
	const method = "eth_sendRawTransaction"
	return t.measure(ctx, method, s.Workers, s.Writes, func(w, i int) rpc.BatchElem {
		return rpc.BatchElem{Method: method, Args: []any{signed[w][i]}}
	})
}
