package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// measure makes the rounds of all figures in turns, so that what else the machine
// does falls on all alike.
func measure(ctx context.Context, net *testnet.Network, s settings) ([]*figure, error) {
	subjects, err := subjectsOf(ctx, net, s)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, n := range net.Nodes {
		pids = append(pids, n.PID)
	}
	for range s.Rounds {
		for _, sub := range subjects {
			connections := s.Connections
			if sub.limit > 0 { // writes: an account for each connection
				connections = min(connections, len(net.Accounts))
			}
			if err := sub.measure(ctx, connections, s.Round, pids); err != nil {
				return nil, err
			}
		}
	}
	var out []*figure
	for _, sub := range subjects {
		out = append(out, sub.figure())
	}
	return out, nil
}

func subjectsOf(ctx context.Context, net *testnet.Network, s settings) ([]*subject, error) {
	first, err := firstTransfer(ctx, net)
	if err != nil {
		return nil, err
	}
	reads := []struct {
		method string
		params []any
	}{
		{"eth_getBalance", []any{net.Accounts[0].Address, "latest"}},
		{"eth_getBlockByNumber", []any{hexutil.EncodeBig(first.BlockNumber), false}},
		{"eth_getTransactionReceipt", []any{first.TxHash}},
	}
	var out []*subject
	for _, transport := range []string{"http", "batch", "websocket"} {
		for _, r := range reads {
			sub := newSubject(net, transport, r.method, s.Batch)
			one := call(1, r.method, r.params...)
			request := sub.encode(net, bytes.Repeat(append(one, ','), sub.calls))
			sub.request = func(int, int) []byte { return request }
			if err := sub.verify(ctx); err != nil {
				return nil, err
			}
			out = append(out, sub)
		}
		w, err := newWrites(ctx, net, newSubject(net, transport, "eth_sendRawTransaction", s.Batch), s)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func newSubject(net *testnet.Network, transport, method string, batch int) *subject {
	node := net.Nodes[0]
	s := &subject{method: method, transport: transport, calls: 1}
	s.dial = func(ctx context.Context) (link, error) { return dialHTTP(ctx, node.RPC, nil) }
	switch transport {
	case "batch":
		s.calls = batch
	case "websocket":
		s.dial = func(ctx context.Context) (link, error) { return dialSocket(ctx, node.WS, nil) }
	}
	return s
}

// call encodes one call.
func call(id int, method string, params ...any) []byte {
	raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		panic(fmt.Sprintf("encode a call of %s: %v", method, err))
	}
	return raw
}

// encode makes a request of calls with a comma after each.
func (s *subject) encode(net *testnet.Network, calls []byte) []byte {
	body := calls[:len(calls)-1]
	if s.transport == "batch" {
		body = append(append([]byte{'['}, body...), ']')
	}
	if s.transport == "websocket" {
		return body
	}
	return post(net.Nodes[0].RPC, body)
}

// verify asks once and reads the answer: what is measured must be results.
func (s *subject) verify(ctx context.Context) error {
	l, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	raw, err := l.ask(s.request(0, 0))
	if err != nil {
		return err
	}
	type answer struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	answers := make([]answer, 1)
	if s.transport == "batch" {
		err = json.Unmarshal(raw, &answers)
	} else {
		err = json.Unmarshal(raw, &answers[0])
	}
	if err != nil || len(answers) != s.calls {
		return fmt.Errorf("%s over %s: %d answers to %d calls: %w", s.method, s.transport, len(answers), s.calls, err)
	}
	for _, a := range answers {
		if len(a.Result) < 3 || string(a.Result) == "null" || a.Error != nil {
			return fmt.Errorf("%s over %s: %.200s", s.method, s.transport, raw)
		}
	}
	return nil
}

// firstTransfer makes the transaction whose receipt and block are asked for, so
// that their size is the same in every run.
func firstTransfer(ctx context.Context, net *testnet.Network) (*types.Receipt, error) {
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	tx, err := transfers(ctx, net, c, 0, 1)
	if err != nil {
		return nil, err
	}
	if err := testnet.Send(ctx, c, tx[0]); err != nil {
		return nil, err
	}
	var receipt *types.Receipt
	err = testnet.Await(ctx, 30*time.Second, func() (bool, error) {
		r, err := ethclient.NewClient(c).TransactionReceipt(ctx, tx[0].Hash())
		receipt = r
		if errors.Is(err, ethereum.NotFound) {
			return false, nil
		}
		return r != nil, err
	})
	return receipt, err
}

// transfers signs the next n transfers of a development account.
func transfers(ctx context.Context, net *testnet.Network, c *rpc.Client, account, n int) ([]*types.Transaction, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	key, err := net.Key(account)
	if err != nil {
		return nil, err
	}
	nonce, err := testnet.Nonce(ctx, c, key.Address(), "pending")
	if err != nil {
		return nil, err
	}
	out := make([]*types.Transaction, n)
	for i := range out {
		if out[i], err = testnet.Transfer(chain, key, nonce+uint64(i), crypto.Address{1}, big.NewInt(1)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// newWrites signs the transfers of a round before its clock starts: one account
// for each connection, so that nonces come in order.
func newWrites(ctx context.Context, net *testnet.Network, s *subject, o settings) (*subject, error) {
	accounts := min(o.Connections, len(net.Accounts))
	s.limit = max(1, o.Writes/accounts/s.calls)
	requests := make([][][]byte, accounts)
	s.request = func(connection, i int) []byte { return requests[connection][i] }
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	s.prepare = func(ctx context.Context) error {
		for a := range requests {
			txs, err := transfers(ctx, net, c, a, s.limit*s.calls)
			if err != nil {
				return err
			}
			requests[a] = nil
			for len(txs) > 0 {
				var calls []byte
				for _, tx := range txs[:s.calls] {
					raw, err := tx.MarshalBinary()
					if err != nil {
						return err
					}
					calls = append(append(calls, call(1, s.method, hexutil.Encode(raw))...), ',')
				}
				txs, requests[a] = txs[s.calls:], append(requests[a], s.encode(net, calls))
			}
		}
		return nil
	}
	s.settle = func(ctx context.Context) error { return drained(ctx, c) }
	return s, nil
}

// drained waits until no transaction waits.
func drained(ctx context.Context, c *rpc.Client) error {
	return testnet.Await(ctx, time.Minute, func() (bool, error) {
		var status struct{ Pending, Queued hexutil.Uint64 }
		err := c.CallContext(ctx, &status, "txpool_status")
		return err == nil && status.Pending+status.Queued == 0, err
	})
}

// hostOf is the host and port of an http URL.
func hostOf(target string) string { return strings.TrimPrefix(target, "http://") }
