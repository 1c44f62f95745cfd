package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"

	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Limits of Apply.
const (
	aheadBytes       = 32 << 20                // RLP of blocks that are decoded and wait
	maxUnproven      = consensus.MaxHeldBlocks // blocks in a row without a certificate of their own
	maxUnprovenBytes = 256 << 20               // of their RLP
)

// Options say how Apply writes.
type Options struct {
	// Prune answers the vote records at or below a floor.
	Prune func(ledger.Floor) store.RecordRange
	// Progress hears the height after each block that is final here.
	Progress func(height uint64)
}

// Apply verifies, executes and makes final the blocks of a sequence that begins
// at or below the block after the ledger's head. Blocks that are final here
// already are compared and passed over, so that what was interrupted goes on.
// The caller owns the ledger.
//
// Errors: ErrGap, ErrConflict, ErrUnproven, ErrAltered, those of the sequence,
// *chain.InvalidError of a block that does not execute here as it did for those
// who finalized it, or a failure. All blocks before the error stay.
func Apply(ctx context.Context, live *ledger.Ledger, entries iter.Seq2[*Entry, error], o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &applier{
		live: live, o: o,
		net: consensus.Network{ChainID: live.Config().ChainID, Genesis: live.Genesis().Hash()},
	}
	start := live.HeadInfo().Height
	ready := make(chan *decoded, 1<<10)
	room := newRoom(aheadBytes)
	var g errgroup.Group
	g.Go(func() error {
		defer close(ready)
		return a.decodeAll(ctx, entries, start, ready, room)
	})
	err := a.consume(ready, room)
	cancel()
	for range ready { // decodeAll may wait to send
	}
	if derr := g.Wait(); err == nil {
		err = derr
	}
	if n := len(a.pending); err == nil && n > 0 {
		err = refuse(ErrUnproven, "block %d and what follows it: no certificate comes after it", a.pending[0].height)
	}
	return err
}

// decoded is a block on its way to execution.
type decoded struct {
	block       *types.Block // nil: known is final here
	known       crypto.Hash
	height      uint64
	certificate []byte
	size        int
}

type applier struct {
	live    *ledger.Ledger
	net     consensus.Network
	o       Options
	pending []*decoded // that wait for a certificate
	bytes   int        // RLP of them
}

// decodeAll reads the sequence, decodes what is new and recovers its senders,
// while consume executes what came before. start is the head at the beginning:
// it alone is read here, for the ledger changes.
func (a *applier) decodeAll(ctx context.Context, entries iter.Seq2[*Entry, error], start uint64, out chan<- *decoded, room *room) error {
	var last *decoded
	for e, err := range entries {
		if err != nil {
			return err
		}
		d, err := a.decode(e, start)
		if err != nil {
			return err
		}
		if last != nil && d.height != last.height+1 {
			return refuse(ErrAltered, "block %d follows block %d", d.height, last.height)
		}
		if last == nil && d.height > start+1 {
			return refuse(ErrGap, "it begins with block %d, the head here is %d", d.height, start)
		}
		last = d
		if !room.take(ctx, d.size) {
			return ctx.Err()
		}
		select {
		case out <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *applier) decode(e *Entry, start uint64) (*decoded, error) {
	hash, err := blockHash(e.Block)
	if err != nil {
		return nil, err
	}
	if height, err := a.live.HeightByHash(hash); err == nil && height <= start {
		return &decoded{known: hash, height: height}, nil
	} else if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return nil, err
	}
	cfg := a.live.Config()
	block, err := chain.DecodeBlock(e.Block, &cfg.Rules)
	if err != nil {
		return nil, fmt.Errorf("%w: block %s: %w", ErrAltered, hash, err)
	}
	height := block.NumberU64()
	if height <= start {
		final, err := a.live.HashByHeight(height)
		if err != nil {
			return nil, err
		}
		return nil, refuse(ErrConflict, "height %d has %s there, %s here", height, hash, final)
	}
	recoverSenders(cfg.Signer(), block.Transactions())
	return &decoded{block: block, height: height, certificate: e.Certificate, size: len(e.Block)}, nil
}

// recoverSenders fills the sender cache of every transaction on all cores. One
// that does not recover is found by execution.
func recoverSenders(signer types.Signer, txs types.Transactions) {
	workers := min(runtime.GOMAXPROCS(0), (len(txs)+63)/64)
	var g errgroup.Group
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(txs); i += workers {
				_, _ = chain.Sender(signer, txs[i])
			}
			return nil
		})
	}
	_ = g.Wait()
}

// consume makes blocks final as their certificates come.
func (a *applier) consume(in <-chan *decoded, room *room) error {
	for d := range in {
		if d.block != nil {
			if err := a.add(d); err != nil {
				return err
			}
		}
		room.give(d.size)
	}
	return nil
}

func (a *applier) add(d *decoded) error {
	parent := a.live.HeadInfo().Hash
	if n := len(a.pending); n > 0 {
		parent = a.pending[n-1].block.Hash()
	}
	if d.block.ParentHash() != parent {
		return refuse(ErrConflict, "block %d has the parent %s, the block before it is %s", d.height, d.block.ParentHash(), parent)
	}
	a.pending = append(a.pending, d)
	a.bytes += d.size
	if len(d.certificate) == 0 {
		if len(a.pending) > maxUnproven || a.bytes > maxUnprovenBytes {
			return refuse(ErrUnproven, "%d blocks from %d on have no certificate", len(a.pending), a.pending[0].height)
		}
		return nil
	}
	c, err := a.verify(d)
	if err != nil {
		return err
	}
	return a.finalize(c)
}

// verify checks the certificate of the last pending block with the validators
// that the ledger has at its head.
func (a *applier) verify(d *decoded) (*consensus.Certificate, error) {
	bad := func(err error) error {
		return fmt.Errorf("%w: block %d %s: %w", ErrUnproven, d.height, d.block.Hash(), err)
	}
	c, err := consensus.DecodeCertificate(d.certificate)
	if err != nil {
		return nil, bad(err)
	}
	if c.Kind != consensus.Finalize || c.Block != d.block.Hash() {
		return nil, bad(fmt.Errorf("the certificate is a %s of %s", c.Kind.Noun(), c.Block))
	}
	set, epoch := a.live.Validators()
	if err := consensus.VerifyCertificate(a.net, epoch, set.Addresses(), c); err != nil {
		return nil, bad(err)
	}
	// A closing block ends the epoch whose members signed: it has a certificate of
	// its own, or what follows it was signed by others.
	for _, p := range a.pending[:len(a.pending)-1] {
		if chain.IsClosing(p.block.Header()) {
			return nil, bad(fmt.Errorf("closing block %d below it has no certificate of its own", p.height))
		}
	}
	return c, nil
}

func (a *applier) finalize(c *consensus.Certificate) error {
	for _, p := range a.pending {
		if err := a.live.Execute(p.block); err != nil {
			return fmt.Errorf("block %d %s: %w", p.height, p.block.Hash(), err)
		}
	}
	last := a.pending[len(a.pending)-1]
	hash := last.block.Hash()
	floor := ledger.Floor{Epoch: c.Epoch, View: c.View}
	if a.live.Closing(hash) {
		floor = ledger.Floor{Epoch: c.Epoch + 1}
	}
	if _, err := a.live.Finalize(hash, last.certificate, floor, []store.RecordRange{a.o.Prune(floor)}); err != nil {
		return fmt.Errorf("make block %d final: %w", last.height, err)
	}
	clear(a.pending)
	a.pending, a.bytes = a.pending[:0], 0
	a.o.Progress(last.height)
	return nil
}
