package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// Limits of the fill.
const (
	fillCount = 128                    // blocks asked for at once
	fillBytes = 4 << 20                // of them, after which an answer takes no further one
	fillPause = 200 * time.Millisecond // between two ranges: nobody waits for them
	fillAgain = 10 * time.Second       // after no peer had the next range
	fillLog   = time.Minute            // between two lines of the log about it
)

// fillTo is the lowest block that is fetched below the ones that are here: all, or
// only the block of the snapshot that this node joined by. A network without
// transactions makes no next one, and "latest" has to have an answer.
func (n *Node) fillTo() uint64 {
	switch b := n.driver.ledger.Bounds(); {
	case n.cfg.Sync.HistoryFill:
		return 1
	case b.Base > 0 && b.FirstBody == b.Base+1:
		return b.Base
	default:
		return b.FirstBody
	}
}

// fill fetches the blocks below a snapshot that this node joined by, from the top
// down. It goes on where it was after a restart.
func (n *Node) fill(ctx context.Context) error {
	d, lowest := n.driver, n.fillTo()
	if d.ledger.Bounds().FirstBody <= lowest {
		return nil
	}
	n.log.Info("history: blocks are fetched in the background", "below", d.ledger.Bounds().FirstBody, "lowest", lowest)
	sets, err := d.sync.setsFromGenesis(ctx)
	if err != nil {
		return err
	}
	told := fillProgress{log: n.log, every: newPace(fillLog), progress: progress{log: slog.New(slog.DiscardHandler), notify: n.cfg.Progress}}
	told.begin(d.ledger.Bounds().FirstBody, lowest)
	defer told.progress.end()
	wait, count := time.Duration(0), uint64(fillCount)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		first := d.ledger.Bounds().FirstBody
		if first <= max(lowest, n.fillTo()) { // pruning may have gone past the snapshot meanwhile
			n.log.Info("history: the blocks are here", "lowest", max(first, 1))
			return nil
		}
		wait = fillPause
		if d.sync.catching.Load() || d.room() != roomy {
			continue
		}
		count, err = n.fillBelow(ctx, sets, first, min(count, first-lowest))
		switch {
		case err == nil || ctx.Err() != nil:
			told.at(d.ledger.Bounds().FirstBody)
		case errors.Is(err, fetch.ErrNobody):
			n.log.Debug("history: no peer has the next blocks", "below", first, "err", err)
			wait = fillAgain
		default:
			return fmt.Errorf("fill the history below block %d: %w", first, err)
		}
	}
}

// fillProgress says how far the fill is: a bar, or a line of the log now and then.
type fillProgress struct {
	log      *slog.Logger
	every    *pace
	progress progress
	lowest   uint64
	total    uint64 // blocks that were missing when it began
}

func (p *fillProgress) begin(first, lowest uint64) {
	p.lowest, p.total = lowest, first-lowest
	p.progress.begin("history", "blocks", 0, p.total)
	p.every.allow("") // what begins was logged
}

// at notes the lowest block that is here.
func (p *fillProgress) at(first uint64) {
	filled := p.total - min(p.total, max(first, p.lowest)-p.lowest) // pruning may have raised it
	p.progress.at(filled, float64(filled)/float64(p.total), float64(filled))
	if s := p.progress.get(); p.progress.notify == nil && p.every.allow("") {
		p.log.Info("history", "below", first, "done", percent(s.Done), "rate", int64(s.Rate), "unit", "blocks/s", "eta", eta(s.ETA))
	}
}

// fillBelow fetches and keeps the range of so many blocks below first. Fill goes down from the
// lowest block that is held, so an answer that ends below it is of no use: next is
// how many blocks surely fit into one. So no more than an answer is in memory.
func (n *Node) fillBelow(ctx context.Context, sets *blocksync.Sets, first, count uint64) (next uint64, err error) {
	d, from := n.driver, first-count
	q := fetch.Encode(&blocksync.BlocksRequest{From: from, Count: count, Bytes: fillBytes})
	blocks, _, err := fetch.Ask(ctx, d.sync.pool, fetch.Question[[]blocksync.Block]{
		Name: blocksync.RequestBlocks, Request: q,
		Check: func(_ peer.ID, raw []byte) ([]blocksync.Block, error) {
			a, err := blocksync.DecodeBlocksAnswer(raw, d.rules)
			if err != nil {
				return nil, err
			}
			if len(a.Blocks) == 0 {
				return nil, fetch.ErrAbsent
			}
			r, err := sets.Check(from, count, a, d.rules)
			if err != nil {
				return nil, err
			}
			return r.Blocks, nil
		},
		Short: func(blocks []blocksync.Block) bool { return uint64(len(blocks)) < count },
	})
	if err != nil {
		return count, err
	}
	if got := uint64(len(blocks)); got < count {
		return got, nil
	}
	return min(count+count/4+1, fillCount), n.fillWith(ctx, blocks)
}

// fillWith asks for the receipts of blocks and keeps both.
func (n *Node) fillWith(ctx context.Context, blocks []blocksync.Block) error {
	d := n.driver
	var filling sync.Mutex
	for len(blocks) > 0 {
		// The newest first: as many of their receipts as one answer holds.
		part := blocks[max(0, len(blocks)-fillReceipts(blocks)):]
		_, _, err := fetch.Ask(ctx, d.sync.pool, fetch.Question[struct{}]{
			Name: blocksync.RequestReceipts,
			Request: fetch.Encode(&blocksync.BlocksRequest{
				From: part[0].NumberU64(), Count: uint64(len(part)), Bytes: blocksync.MaxRangeBytes,
			}),
			Check: func(_ peer.ID, raw []byte) (struct{}, error) {
				older, err := receiptsOf(part, raw, d)
				if err != nil {
					return struct{}{}, err
				}
				filling.Lock() // two peers may have been asked the same
				defer filling.Unlock()
				next := func() bool { return d.ledger.Bounds().FirstBody == older[0].Block.NumberU64()+1 }
				if !next() {
					return struct{}{}, fetch.ErrAbsent
				}
				err = d.ledger.Fill(older)
				if err != nil && !next() { // pruned meanwhile: neither the peer's fault nor ours
					return struct{}{}, fetch.ErrAbsent
				}
				if err != nil && !errors.Is(err, ledger.ErrNotTheChain) {
					err = fmt.Errorf("%w: %w", fetch.ErrOwn, err)
				}
				return struct{}{}, err
			},
		})
		if err != nil {
			return err
		}
		blocks = blocks[:len(blocks)-len(part)]
	}
	return nil
}

// fillReceipts is how many of the last blocks have receipts that surely fit into
// one answer: a receipt without logs takes less than 300 bytes with its bloom,
// and one with the registry's less than 2,048.
func fillReceipts(blocks []blocksync.Block) int {
	count, size := 0, 0
	for _, b := range slices.Backward(blocks) {
		if size += 2048 * len(b.Transactions()); count > 0 && size > blocksync.MaxRangeBytes {
			break
		}
		count++
	}
	return count
}

// receiptsOf are blocks with their receipts from an answer, the highest first.
// Whether they are the right ones, Fill says by the roots.
func receiptsOf(blocks []blocksync.Block, raw []byte, d *driver) ([]ledger.Older, error) {
	a, err := blocksync.DecodeReceiptsAnswer(raw, d.rules)
	if err != nil {
		return nil, err
	}
	if len(a.Blocks) > len(blocks) {
		return nil, fmt.Errorf("%w: receipts of %d blocks, %d were asked for", errUnasked, len(a.Blocks), len(blocks))
	}
	if len(a.Blocks) < len(blocks) { // the last of them comes first
		return nil, fetch.ErrAbsent
	}
	older := make([]ledger.Older, 0, len(blocks))
	for i, b := range slices.Backward(blocks) {
		o := ledger.Older{Block: b.Block, Receipts: make(types.Receipts, len(a.Blocks[i]))}
		for j, raw := range a.Blocks[i] {
			o.Receipts[j] = new(types.Receipt)
			if err := o.Receipts[j].UnmarshalBinary(raw); err != nil {
				return nil, fmt.Errorf("%w: receipt %d of block %d: %w", errMalformed, j, b.NumberU64(), err)
			}
		}
		if b.Finalization != nil {
			o.Certificate = consensus.EncodeCertificate(b.Finalization)
		}
		older = append(older, o)
	}
	return older, nil
}
