//go:build linux

package main

import (
	"context"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// The ten development accounts: the load's, then one for transfers that probe
// during a fault and one for those after it.
const (
	accounts    = 10
	loadSenders = 8
	probeDuring = 8
	probeAfter  = 9

	window    = 32 // transfers of one sender that are sent and not final
	sendLimit = time.Second
	stuckFor  = 2 * time.Second // then the next node gets all that is not final
	lookEvery = 25 * time.Millisecond
	blocksPer = 50 // blocks in one JSON-RPC batch
)

// load sends transfers all the time and watches what every node reports as final.
type load struct {
	c      *cluster
	rec    *record
	keys   []*crypto.PrivateKey
	pace   time.Duration // between two transfers of one sender
	failed chan error    // the first thing that must not be
	drain  atomic.Bool   // send nothing new

	mu   sync.Mutex
	sent [accounts]uint64 // next nonce
	seen []uint64         // by node: heights below this were looked at
}

func newLoad(c *cluster, rec *record, perSecond int) (*load, error) {
	l := &load{c: c, rec: rec, failed: make(chan error, 1), seen: make([]uint64, len(c.nodes))}
	l.pace = time.Second * loadSenders / time.Duration(perSecond)
	for i := range accounts {
		key, err := c.Key(i)
		if err != nil {
			return nil, err
		}
		l.keys = append(l.keys, key)
		// Of an earlier run, more may be on its way than the journal tells.
		from := rec.finals(i)
		l.sent[i] = from
		for nonce := from; nonce < from+2*window; nonce++ {
			if _, err := l.sign(transfer{i, nonce}); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// run works until ctx ends.
func (l *load) run(ctx context.Context) {
	var g errgroup.Group
	for _, v := range l.c.nodes {
		g.Go(func() error { l.watch(ctx, v); return nil })
	}
	for i := range loadSenders {
		g.Go(func() error { l.send(ctx, i); return nil })
	}
	_ = g.Wait()
}

// fail keeps the first thing that must not be.
func (l *load) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// sign makes the transaction of a transfer and tells the record of it.
func (l *load) sign(t transfer) (*types.Transaction, error) {
	tx, err := testnet.Transfer(l.c.ChainID, l.keys[t.Account], t.Nonce, recipientAddress(t.recipient()), big.NewInt(t.wei()))
	if err != nil {
		return nil, err
	}
	l.rec.expect(tx.Hash(), t)
	return tx, nil
}

// give hands one transfer to a node. That the node has it already, or has it
// final, is no error.
func (l *load) give(ctx context.Context, v *node, t transfer) error {
	tx, err := l.sign(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	err = testnet.Send(ctx, v.client, tx)
	if err != nil && (strings.Contains(err.Error(), "already known") || strings.Contains(err.Error(), "nonce too low")) {
		return nil
	}
	return err
}

// send is one account's stream, nonce by nonce, through one node until that one
// fails or finalizes nothing; then through the next.
func (l *load) send(ctx context.Context, account int) {
	at := account % len(l.c.nodes)
	tick := time.NewTicker(l.pace)
	defer tick.Stop()
	moved := time.Now()
	was := l.rec.finals(account)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		final := l.rec.finals(account)
		if final != was || final == l.next(account) {
			was, moved = final, time.Now()
		}
		if time.Since(moved) > stuckFor {
			at, moved = l.another(at), time.Now()
			l.again(ctx, account, final, at)
			continue
		}
		nonce := l.next(account)
		if l.drain.Load() || nonce >= final+window {
			continue
		}
		if err := l.give(ctx, l.c.nodes[at], transfer{account, nonce}); err != nil {
			at = l.another(at)
			l.again(ctx, account, final, at)
			continue
		}
		l.advance(account, nonce+1)
	}
}

// again hands all of an account that is sent and not final to a node.
func (l *load) again(ctx context.Context, account int, final uint64, at int) {
	for nonce := final; nonce < l.next(account) && ctx.Err() == nil; nonce++ {
		if l.give(ctx, l.c.nodes[at], transfer{account, nonce}) != nil {
			return
		}
	}
}

func (l *load) next(account int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent[account]
}

func (l *load) advance(account int, nonce uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[account] = max(l.sent[account], nonce)
}

// another is the next node that is up, as a client would find it.
func (l *load) another(at int) int {
	for range l.c.nodes {
		at = (at + 1) % len(l.c.nodes)
		if l.c.nodes[at].up() {
			return at
		}
	}
	return at
}

// watch reads every block that a node reports as final, in order.
func (l *load) watch(ctx context.Context, v *node) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !v.up() {
			continue
		}
		if err := l.look(ctx, v); err != nil {
			l.fail(err)
			return
		}
	}
}

// look reads what is new on a node. A node that does not answer is no error.
func (l *load) look(ctx context.Context, v *node) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	head, err := testnet.Head(ctx, v.client)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	from := l.seen[v.index]
	l.mu.Unlock()
	if head+1 < from {
		return fmt.Errorf("%w: %s had height %d final and is at %d now", errLost, v.name, from-1, head)
	}
	for from <= head {
		to := min(head, from+blocksPer-1)
		blocks, err := testnet.Blocks(ctx, v.client, from, to)
		if err != nil {
			return nil
		}
		now := time.Now()
		for i, b := range blocks {
			if b == nil {
				return fmt.Errorf("%w: %s is at height %d and has no block %d", errLost, v.name, head, from+uint64(i))
			}
			if err := l.rec.observe(v.index, b, now); err != nil {
				return err
			}
		}
		from = to + 1
		l.mu.Lock()
		l.seen[v.index] = from
		l.mu.Unlock()
	}
	return nil
}

// probe sends one fresh transfer to one of some nodes, the next one if that
// does not take it, and answers when it was seen final on any node.
func (l *load) probe(ctx context.Context, account int, among []int, pick uint64) (final time.Time, err error) {
	t := transfer{account, l.next(account)}
	for k := uint64(0); ; k++ {
		v := l.c.nodes[among[(pick+k)%uint64(len(among))]]
		if err = l.give(ctx, v, t); err == nil {
			break
		}
		if ctx.Err() != nil {
			return final, fmt.Errorf("send a transfer to %s: %w", v.name, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	l.advance(account, t.Nonce+1)
	for {
		next := l.rec.next()
		if at, ok := l.rec.finalAt(t); ok {
			return at, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return final, fmt.Errorf("transfer %d:%d is not final: %w", t.Account, t.Nonce, ctx.Err())
		}
	}
}
