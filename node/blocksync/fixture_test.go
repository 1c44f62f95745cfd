package blocksync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grown is a chain of three epochs in which some blocks are final through
// descendants only.
func grown(t testing.TB, blocks int) *lighttest.Chain {
	c := lighttest.New(t, 4)
	for i := range blocks {
		switch {
		case i == blocks/3:
			c.Change(4, true)
		case i == 2*blocks/3:
			c.Change(5, true)
		case i%5 == 4:
			b := c.Build(nil, c.Transfer(0))
			b = c.Build(b, c.Transfer(1))
			c.Finalize(c.Build(b, c.Transfer(0)))
		default:
			c.Seal(c.Transfer(i%3), c.Transfer(3))
		}
	}
	return c
}

// world is peers in memory that answer from one chain, each as its answer
// function says; nil = honestly.
type world struct {
	server  blocksync.Server
	order   []peer.ID
	answers map[peer.ID]func(ctx context.Context, name string, request, honest []byte) ([]byte, error)

	mu     sync.Mutex
	asked  map[peer.ID]int
	lied   map[peer.ID]error
	failed map[peer.ID]error
}

func newWorld(c *lighttest.Chain, peers ...peer.ID) *world {
	return &world{
		server: blocksync.Server{Ledger: c.Ledger}, order: peers,
		answers: map[peer.ID]func(context.Context, string, []byte, []byte) ([]byte, error){},
		asked:   map[peer.ID]int{}, lied: map[peer.ID]error{}, failed: map[peer.ID]error{},
	}
}

func (w *world) Peers() []peer.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}

func (w *world) Request(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error) {
	w.mu.Lock()
	w.asked[p]++
	answer := w.answers[p]
	w.mu.Unlock()
	time.Sleep(5 * time.Millisecond) // of the bubble: the way there and back
	var honest []byte
	var err error
	switch name {
	case blocksync.RequestBlocks:
		honest, err = w.server.Blocks(ctx, request)
	case blocksync.RequestEpochs:
		honest, err = w.server.Epochs(ctx, request)
	case blocksync.RequestReceipts:
		honest, err = w.server.Receipts(ctx, request)
	default:
		err = fmt.Errorf("request %q", name)
	}
	if err != nil || answer == nil {
		return honest, err
	}
	return answer(ctx, name, request, honest)
}

func (w *world) Lied(p peer.ID, _ string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lied[p] = err
}

func (w *world) Failed(p peer.ID, _ string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[p] = err
}

// joiner is an empty ledger of the same network.
type joiner struct {
	t      testing.TB
	ledger *ledger.Ledger
	sets   *blocksync.Sets
	pool   *fetch.Pool
	slow   time.Duration // of applying a block
	most   int           // blocks handed on at once
}

func newJoiner(t testing.TB, c *lighttest.Chain, w *world, pin *blocksync.Pin) *joiner {
	st, err := store.Open("/data/ledger", store.Options{FS: vfs.NewMem()})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	l, err := ledger.Open(st, c.Spec)
	check(t, err)
	start, err := light.FromGenesis(c.Spec)
	check(t, err)
	return &joiner{t: t, ledger: l, sets: blocksync.NewSets(start, pin), pool: fetch.New(w)}
}

func (j *joiner) config() *blocksync.Config {
	return &blocksync.Config{
		Pool: j.pool, Sets: j.sets, Rules: &j.ledger.Config().Rules,
		Prepare: func(blocks []blocksync.Block) {
			for _, b := range blocks {
				for _, tx := range b.Transactions() {
					_, _ = chain.Sender(j.ledger.Config().Signer(), tx)
				}
			}
		},
		Apply: j.apply,
	}
}

func (j *joiner) apply(ctx context.Context, blocks []blocksync.Block) error {
	j.most = max(j.most, len(blocks))
	for _, b := range blocks {
		time.Sleep(j.slow)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := j.ledger.Execute(b.Block); err != nil {
			return err
		}
		head := j.ledger.HeadInfo()
		floor, raw := ledger.Floor{Epoch: head.Epoch, View: head.View}, []byte(nil)
		if c := b.Finalization; c != nil {
			floor, raw = ledger.Floor{Epoch: c.Epoch, View: c.View}, consensus.EncodeCertificate(c)
			if chain.IsClosing(b.Header()) {
				floor = ledger.Floor{Epoch: c.Epoch + 1}
			}
		}
		if _, err := j.ledger.Finalize(b.Hash(), raw, floor, nil); err != nil {
			return err
		}
	}
	return nil
}

// join walks and replays to the head of the chain.
func (j *joiner) join(ctx context.Context, c *lighttest.Chain) error {
	_, epoch := c.Ledger.Validators()
	err := j.sets.Walk(ctx, j.pool, epoch, nil)
	if err == nil {
		cfg, head := j.config(), c.Ledger.HeadInfo().Height
		raw, failed := c.Ledger.Certificate(head)
		check(j.t, failed)
		if cfg.Final, failed = consensus.DecodeCertificate(raw); failed != nil {
			return failed
		}
		err = blocksync.Run(ctx, cfg, j.ledger.HeadInfo().Height+1, head)
	}
	return err
}

// same checks that the joiner has the chain's head, state and certificates.
func (j *joiner) same(c *lighttest.Chain) {
	j.t.Helper()
	if a, b := j.ledger.HeadInfo(), c.Ledger.HeadInfo(); a != b {
		j.t.Fatalf("joined at %+v, want %+v", a, b)
	}
	for h := range c.Ledger.HeadInfo().Height + 1 {
		a, err := j.ledger.Certificate(h)
		check(j.t, err)
		b, err := c.Ledger.Certificate(h)
		check(j.t, err)
		if !slices.Equal(a, b) {
			j.t.Fatalf("height %d: another certificate", h)
		}
	}
}

// transfers are the transactions of a block, for tests that make other bodies.
func transfers(b *types.Block) types.Transactions { return b.Transactions() }

var errGone = errors.New("connection reset")
