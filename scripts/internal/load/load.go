// Package load sends transfers to a network of real nodes as fast as it takes
// them, for the benchmarks.
package load

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

// Settings say how the transfers come.
type Settings struct {
	Senders    int `json:"senders"`    // accounts that send
	Recipients int `json:"recipients"` // accounts that receive in turn; 0 = the senders themselves
	Batch      int `json:"batch"`      // transfers in one JSON-RPC batch
	Window     int `json:"window"`     // transfers sent but not final, at most
}

// Result is what the network finalized while transfers came as fast as it took
// them.
type Result struct {
	Final       int     `json:"final"`
	Seconds     float64 `json:"seconds"` // from the first batch sent to the last transfer final
	PerSecond   float64 `json:"transfersPerSecond"`
	Blocks      int     `json:"blocks"` // that hold them
	PerBlock    float64 `json:"transfersPerBlock"`
	Refused     int     `json:"refused"` // and sent again
	DiskPerTx   float64 `json:"diskBytesPerTransfer"`
	MemoryBytes []int64 `json:"memoryBytes"` // resident, of each node at the end
}

// Load is a set of funded senders on a network.
type Load struct {
	net      *testnet.Network
	settings Settings
	chain    uint64
	senders  []*sender
	sent     int // transfers of earlier rounds
}

// sender is one account of the load and its signed transfers of this round.
type sender struct {
	key   *crypto.PrivateKey
	nonce uint64 // of the first of them
	txs   []*types.Transaction
}

// New funds the senders, each from a fixed seed: a network takes one Load.
func New(ctx context.Context, net *testnet.Network, s Settings) (*Load, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	senders, err := fund(ctx, net, chain, s.Senders)
	if err != nil {
		return nil, fmt.Errorf("fund the senders: %w", err)
	}
	return &Load{net: net, settings: s, chain: chain, senders: senders}, nil
}

// Round signs transfers, then sends them and waits until all are final. Signing
// is not in the time of the result.
func (l *Load) Round(ctx context.Context, transfers int) (*Result, error) {
	if err := l.sign(transfers); err != nil {
		return nil, err
	}
	net := l.net
	c, err := net.Dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	before, err := DiskBytes(net.Nodes[0].Home)
	if err != nil {
		return nil, err
	}
	from, err := testnet.Head(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Result{}
	var final, refused atomic.Int64
	begun := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return out.watch(gctx, net, from, transfers, &final, begun) })
	for i := range net.Nodes {
		g.Go(func() error { return l.send(gctx, i, &final, &refused) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.PerSecond = float64(out.Final) / out.Seconds
	out.PerBlock = float64(out.Final) / float64(max(out.Blocks, 1))
	out.Refused = int(refused.Load())
	after, err := DiskBytes(net.Nodes[0].Home)
	if err != nil {
		return nil, err
	}
	out.DiskPerTx = float64(after-before) / float64(out.Final)
	status, err := net.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range status.Nodes {
		rss, err := Memory(node.PID, "VmRSS")
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
		raw := sha256.Sum256([]byte(fmt.Sprintf("load sender %d", i)))
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

// sign prepares the transfers of a round.
func (l *Load) sign(transfers int) error {
	var g errgroup.Group
	g.SetLimit(2)
	each := (transfers + len(l.senders) - 1) / len(l.senders)
	for i, s := range l.senders {
		s.nonce, s.txs = s.nonce+uint64(len(s.txs)), nil
		g.Go(func() error {
			for k := range min(each, max(transfers-i*each, 0)) {
				tx, err := testnet.Transfer(l.chain, s.key, s.nonce+uint64(k), l.recipient(i, k, each), big.NewInt(1))
				if err != nil {
					return err
				}
				s.txs = append(s.txs, tx)
			}
			return nil
		})
	}
	l.sent += transfers
	return g.Wait()
}

// recipient is whom the k-th transfer of sender i in this round goes to.
func (l *Load) recipient(i, k, each int) crypto.Address {
	if l.settings.Recipients == 0 {
		return l.senders[(i+k+1)%len(l.senders)].key.Address()
	}
	at := (l.sent + i*each + k) % l.settings.Recipients
	sum := sha256.Sum256(fmt.Appendf(nil, "load recipient %d", at))
	return crypto.Address(sum[:crypto.AddressLength])
}

// send hands the transfers of every len(nodes)-th sender to node i in batches,
// nonce by nonce, as long as fewer than the window are not final yet.
func (l *Load) send(ctx context.Context, i int, final, refused *atomic.Int64) error {
	net, senders, s := l.net, l.senders, l.settings
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
func (l *Result) watch(ctx context.Context, net *testnet.Network, from uint64, want int, final *atomic.Int64, begun time.Time) error {
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

// DiskBytes is the size of a node's database.
func DiskBytes(home string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(filepath.Join(home, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away between the listing and now
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// Memory is a figure of a process in bytes: VmRSS, what it holds now, or VmHWM,
// the most it ever held.
func Memory(pid int, name string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d tells no memory", pid)
}
