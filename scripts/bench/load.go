package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// load is what the network finalized while transfers came as fast as it took
// them.
type load struct {
	Final       int     `json:"final"`
	Seconds     float64 `json:"seconds"` // from the first batch sent to the last transfer final
	PerSecond   float64 `json:"transfersPerSecond"`
	Blocks      int     `json:"blocks"` // that hold them
	PerBlock    float64 `json:"transfersPerBlock"`
	Refused     int     `json:"refused"` // and sent again
	DiskPerTx   float64 `json:"diskBytesPerTransfer"`
	MemoryBytes []int64 `json:"memoryBytes"` // resident, of each node at the end
}

// sender is one account of the load and its signed transfers.
type sender struct {
	key *crypto.PrivateKey
	txs []*types.Transaction
}

func measureLoad(ctx context.Context, net *testnet.Network, s settings) (*load, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	senders, err := fund(ctx, net, chain, s.Senders)
	if err != nil {
		return nil, fmt.Errorf("fund the senders: %w", err)
	}
	if err := sign(senders, chain, s.Transfers); err != nil {
		return nil, err
	}
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	before, err := diskBytes(net.Nodes[0].Home)
	if err != nil {
		return nil, err
	}
	from, err := testnet.Head(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &load{}
	var final, refused atomic.Int64
	begun := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return out.watch(gctx, net, from, s.Transfers, &final, begun) })
	for i := range net.Nodes {
		g.Go(func() error { return send(gctx, net, i, senders, s, &final, &refused) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.PerSecond = float64(out.Final) / out.Seconds
	out.PerBlock = float64(out.Final) / float64(max(out.Blocks, 1))
	out.Refused = int(refused.Load())
	after, err := diskBytes(net.Nodes[0].Home)
	if err != nil {
		return nil, err
	}
	out.DiskPerTx = float64(after-before) / float64(out.Final)
	status, err := net.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range status.Nodes {
		rss, err := residentBytes(node.PID)
		if err != nil {
			return nil, err
		}
		out.MemoryBytes = append(out.MemoryBytes, rss)
	}
	return out, nil
}

// fund makes n accounts from fixed seeds and gives each of them a coin.
func fund(ctx context.Context, net *testnet.Network, chain uint64, n int) ([]*sender, error) {
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	key, err := net.Key(1)
	if err != nil {
		return nil, err
	}
	nonce, err := testnet.Nonce(ctx, c, key.Address(), "pending")
	if err != nil {
		return nil, err
	}
	senders := make([]*sender, n)
	var txs []*types.Transaction
	for i := range senders {
		raw := sha256.Sum256([]byte(fmt.Sprintf("bench sender %d", i)))
		k, err := crypto.PrivateKeyFromBytes(raw[:])
		if err != nil {
			return nil, err
		}
		senders[i] = &sender{key: k}
		tx, err := testnet.Transfer(chain, key, nonce+uint64(i), k.Address(), big.NewInt(1e18))
		if err != nil {
			return nil, err
		}
		txs = append(txs, tx)
	}
	for len(txs) > 0 {
		part := txs[:min(len(txs), 100)]
		if refused, first, err := testnet.SendBatch(ctx, c, part); err != nil || refused > 0 {
			return nil, fmt.Errorf("%d refused, first: %v: %w", refused, first, err)
		}
		txs = txs[len(part):]
	}
	last := senders[n-1].key.Address()
	return senders, testnet.Await(ctx, 30*time.Second, func() (bool, error) {
		b, err := testnet.Balance(ctx, c, last)
		return err == nil && b.Sign() > 0, err
	})
}

// sign prepares all transfers before the clock starts.
func sign(senders []*sender, chain uint64, transfers int) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(senders))
	each := (transfers + len(senders) - 1) / len(senders)
	limit := make(chan struct{}, 2)
	for i, s := range senders {
		wg.Add(1)
		limit <- struct{}{}
		go func() {
			defer func() { <-limit; wg.Done() }()
			for nonce := range min(each, max(transfers-i*each, 0)) {
				to := senders[(i+nonce+1)%len(senders)].key.Address()
				tx, err := testnet.Transfer(chain, s.key, uint64(nonce), to, big.NewInt(1))
				if err != nil {
					errs <- err
					return
				}
				s.txs = append(s.txs, tx)
			}
		}()
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// send hands the transfers of every len(nodes)-th sender to node i in batches,
// nonce by nonce, as long as fewer than the window are not final yet.
func send(ctx context.Context, net *testnet.Network, i int, senders []*sender, s settings, final, refused *atomic.Int64) error {
	c, err := net.Dial(ctx, i)
	if err != nil {
		return err
	}
	defer c.Close()
	var txs []*types.Transaction
	for nonce := 0; ; nonce++ {
		any := false
		for j := i; j < len(senders); j += len(net.Nodes) {
			if nonce < len(senders[j].txs) {
				txs, any = append(txs, senders[j].txs[nonce]), true
			}
		}
		if !any {
			break
		}
	}
	sent, share := 0, s.Window/len(net.Nodes)
	for sent < len(txs) {
		if open := sent - int(final.Load())/len(net.Nodes); open > share {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Millisecond):
			}
			continue
		}
		part := txs[sent:min(len(txs), sent+s.Batch)]
		n, first, err := testnet.SendBatch(ctx, c, part)
		if err != nil {
			return err
		}
		if n > 0 {
			refused.Add(int64(n))
			return fmt.Errorf("%s refused %d of %d transfers, first: %w", net.Nodes[i].Name, n, len(part), first)
		}
		sent += len(part)
	}
	return nil
}

// watch counts final transfers block by block.
func (l *load) watch(ctx context.Context, net *testnet.Network, from uint64, want int, final *atomic.Int64, begun time.Time) error {
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	for height := from + 1; l.Final < want; {
		b, err := testnet.BlockAt(ctx, c, height)
		if err != nil {
			return err
		}
		if b == nil {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%d of %d transfers became final: %w", l.Final, want, ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		height++
		if len(b.Transactions) > 0 {
			l.Blocks++
		}
		l.Final += len(b.Transactions)
		final.Store(int64(l.Final))
		l.Seconds = time.Since(begun).Seconds()
	}
	return nil
}
