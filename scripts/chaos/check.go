//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

const (
	backLimit   = 3 * time.Minute // until every node is at the head and votes again
	checkLimit  = 5 * time.Minute
	sampleOld   = 50  // older heights and transfers that are looked at again after each fault
	sampleFinal = 200 // of the transfers that became final since the last check
)

// initialBalance is what cairnd testnet init gives each account: ten million
// coins.
var initialBalance, _ = new(big.Int).SetString("10000000000000000000000000", 10)

// checker holds all nodes against the record.
type checker struct {
	c      *cluster
	rec    *record
	blocks uint64  // heights below were compared on every node
	finals int     // transfers before were looked up
	logs   []int64 // bytes of each log that were read
}

// back waits until every node runs at the recorded head and votes.
func (k *checker) back(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, backLimit)
	defer cancel()
	tip := k.rec.snapshot().height
	for _, v := range k.c.nodes {
		var s *testnet.Status
		err := testnet.Await(ctx, backLimit, func() (ok bool, err error) {
			call, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			s, err = testnet.NodeStatus(call, v.client)
			return err == nil && uint64(s.Height) >= tip && s.Voting && !s.Syncing && s.Healthy, err
		})
		if err != nil {
			return fmt.Errorf("%s is not back at height %d, healthy and voting: %+v: %w", v.name, tip, s, err)
		}
	}
	return nil
}

// after is the check that follows each fault: every height since the last check
// on every node, a sample of older ones, receipts, balances, and the logs.
func (k *checker) after(ctx context.Context, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	books := k.rec.snapshot()
	err := k.c.each(k.c.all(), func(v *node) error {
		err := testnet.Await(ctx, backLimit, func() (bool, error) {
			head, err := testnet.Head(ctx, v.client)
			return head >= books.height, err
		})
		if err != nil {
			return fmt.Errorf("%s does not come to height %d: %w", v.name, books.height, err)
		}
		return k.compare(ctx, v, k.blocks, books.height)
	})
	if err != nil {
		return err
	}
	var old, transfers []int
	for range sampleOld {
		old = append(old, rng.IntN(int(books.height)+1))
		if books.finals > 0 {
			transfers = append(transfers, rng.IntN(books.finals))
		}
	}
	for range min(sampleFinal, books.finals-k.finals) {
		transfers = append(transfers, k.finals+rng.IntN(books.finals-k.finals))
	}
	err = k.c.each(k.c.all(), func(v *node) error {
		for _, h := range old {
			if err := k.compare(ctx, v, uint64(h), uint64(h)); err != nil {
				return err
			}
		}
		if err := k.receipts(ctx, v, transfers); err != nil {
			return err
		}
		if err := k.balances(ctx, v, books); err != nil {
			return err
		}
		return k.readLog(v)
	})
	if err != nil {
		return err
	}
	k.blocks, k.finals = books.height, books.finals
	return nil
}

// all is the check at the end: every height on every node, every final
// transfer's receipt on one node, and a sample of them on every node.
func (k *checker) all(ctx context.Context, rng *rand.Rand) error {
	k.blocks, k.finals = 0, 0
	if err := k.after(ctx, rng); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	finals := k.finals
	return k.c.each(k.c.all(), func(v *node) error {
		var mine []int
		for i := v.index; i < finals; i += len(k.c.nodes) {
			mine = append(mine, i)
		}
		return k.receipts(ctx, v, mine)
	})
}

// compare holds a node's blocks of a run of heights against the record.
func (k *checker) compare(ctx context.Context, v *node, from, to uint64) error {
	for ; from <= to; from += blocksPer {
		last := min(to, from+blocksPer-1)
		blocks, err := testnet.Blocks(ctx, v.client, from, last)
		if err != nil {
			return fmt.Errorf("blocks %d to %d of %s: %w", from, last, v.name, err)
		}
		for i, b := range blocks {
			want := k.rec.at(from + uint64(i))
			if b == nil {
				return fmt.Errorf("%w: %s has no block %d, which node %d reported final", errLost, v.name, want.Height, want.Node)
			}
			if err := want.same(v.index, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// receipts looks up final transfers by their number in the record.
func (k *checker) receipts(ctx context.Context, v *node, numbers []int) error {
	type receipt struct {
		Block  crypto.Hash    `json:"blockHash"`
		Height hexutil.Uint64 `json:"blockNumber"`
		Status hexutil.Uint64 `json:"status"`
	}
	for len(numbers) > 0 {
		part := numbers[:min(len(numbers), 200)]
		numbers = numbers[len(part):]
		got := make([]*receipt, len(part))
		batch := make([]rpc.BatchElem, len(part))
		for i, number := range part {
			t, _ := k.rec.placed(number)
			key, err := k.c.Key(t.Account)
			if err != nil {
				return err
			}
			tx, err := testnet.Transfer(k.c.ChainID, key, t.Nonce, recipientAddress(t.recipient()), big.NewInt(t.wei()))
			if err != nil {
				return err
			}
			batch[i] = rpc.BatchElem{Method: "eth_getTransactionReceipt", Args: []any{tx.Hash()}, Result: &got[i]}
		}
		if err := v.client.BatchCallContext(ctx, batch); err != nil {
			return fmt.Errorf("receipts of %s: %w", v.name, err)
		}
		for i, number := range part {
			t, b := k.rec.placed(number)
			r := got[i]
			if batch[i].Error != nil {
				return fmt.Errorf("receipt of %d:%d on %s: %w", t.Account, t.Nonce, v.name, batch[i].Error)
			}
			if r == nil || r.Block != b.Hash || uint64(r.Height) != b.Height || r.Status != 1 {
				return fmt.Errorf("%w: transfer %d:%d was final in block %d %s; its receipt on %s is %+v", errLost, t.Account, t.Nonce, b.Height, b.Hash, v.name, r)
			}
		}
	}
	return nil
}

// balances holds a node's state at a height against the books: what every
// recipient received, and what every sender spent, to the wei.
func (k *checker) balances(ctx context.Context, v *node, want books) error {
	height := hexutil.EncodeUint64(want.height)
	var batch []rpc.BatchElem
	ask := func(method string, a crypto.Address, result any) {
		batch = append(batch, rpc.BatchElem{Method: method, Args: []any{a, height}, Result: result})
	}
	var received [recipients]hexutil.Big
	for i := range received {
		ask("eth_getBalance", recipientAddress(i), &received[i])
	}
	nonces := make([]hexutil.Uint64, len(want.nonces))
	left := make([]hexutil.Big, len(want.nonces))
	for i := range nonces {
		a := k.c.Accounts[i].Address
		ask("eth_getTransactionCount", a, &nonces[i])
		ask("eth_getBalance", a, &left[i])
	}
	if err := v.client.BatchCallContext(ctx, batch); err != nil {
		return fmt.Errorf("balances of %s: %w", v.name, err)
	}
	for _, e := range batch {
		if e.Error != nil {
			return fmt.Errorf("%s %v of %s: %w", e.Method, e.Args, v.name, e.Error)
		}
	}
	for i := range received {
		if got := received[i].ToInt(); got.Cmp(big.NewInt(want.received[i])) != 0 {
			return fmt.Errorf("%w: recipient %d holds %s on %s at height %d, %d were sent to it", errWrong, i, got, v.name, want.height, want.received[i])
		}
	}
	for i := range nonces {
		if uint64(nonces[i]) != want.nonces[i] {
			return fmt.Errorf("%w: sender %d has nonce %d on %s at height %d, and %d final transfers", errWrong, i, nonces[i], v.name, want.height, want.nonces[i])
		}
		sum := new(big.Int).Add(left[i].ToInt(), want.spent[i])
		if sum.Cmp(initialBalance) != 0 {
			return fmt.Errorf("%w: sender %d holds %s on %s at height %d and spent %s, which is not %s", errWrong, i, left[i].ToInt(), v.name, want.height, want.spent[i], initialBalance)
		}
	}
	return nil
}

// alarms in a node's log are failures even if everything else is right. Nobody
// in this network lies, so nobody may be found to.
var alarms = []string{"panic:", "fatal error:", "level=ERROR", "contradicted itself"}

// readLog looks for alarms in what a node's log has more than last time.
func (k *checker) readLog(v *node) error {
	f, err := os.Open(filepath.Join(v.home, logFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(k.logs[v.index], io.SeekStart); err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	k.logs[v.index] += int64(len(raw))
	for line := range strings.Lines(string(raw)) {
		for _, a := range alarms {
			if strings.Contains(line, a) {
				return fmt.Errorf("log of %s: %s", v.name, strings.TrimSpace(line))
			}
		}
	}
	return nil
}
