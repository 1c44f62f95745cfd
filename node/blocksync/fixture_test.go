package blocksync_test

import (
	"context"
	"errors"
	"slices"
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
	"cairn/node/fetch/fetchtest"
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

// newWorld is peers that answer from a ledger.
func newWorld(l *ledger.Ledger, peers ...peer.ID) *fetchtest.Network {
	server := blocksync.Server{Ledger: l}
	return fetchtest.New(server.Requests(), 5*time.Millisecond, peers...)
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

func newJoiner(t testing.TB, c *lighttest.Chain, w *fetchtest.Network, pin *blocksync.Pin) *joiner {
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
