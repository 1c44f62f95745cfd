package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/ledger"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// refetch puts back the blocks that a repair found damaged, one by one, from the
// lowest up. Each is the one whose hash this node has kept.
func (n *Node) refetch(ctx context.Context) error {
	d := n.driver
	heights, err := n.store.Awaited()
	if err != nil || len(heights) == 0 {
		return err
	}
	d.awaited.Store(int64(len(heights)))
	n.log.Info("damaged blocks are fetched from others", "blocks", len(heights), "first", heights[0])
	sets, err := d.sync.setsFromGenesis(ctx)
	if err != nil {
		return err
	}
	wait := fillPause
	for len(heights) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = fillPause
		if d.sync.catching.Load() || d.room() != roomy {
			continue
		}
		switch err := n.refetchOne(ctx, sets, heights[0]); {
		case err == nil:
			heights = heights[1:]
			d.awaited.Add(-1)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, fetch.ErrNobody):
			n.log.Debug("no peer has a damaged block; the next one is tried first", "height", heights[0], "err", err)
			heights = append(heights[1:], heights[0])
			wait = min(fillAgain, time.Second)
		default:
			return fmt.Errorf("fetch the damaged block %d: %w", heights[0], err)
		}
	}
	n.log.Info("every damaged block is here again")
	return nil
}

func (n *Node) refetchOne(ctx context.Context, sets *blocksync.Sets, height uint64) error {
	d := n.driver
	if height < d.ledger.Bounds().FirstBody {
		if _, err := d.ledger.HeaderByHeight(height); err == nil {
			return n.store.Forgo(height) // pruned meanwhile, and its header is here
		}
	}
	want, err := d.ledger.HashByHeight(height)
	if err != nil {
		return err
	}
	blocks, _, err := fetch.Ask(ctx, d.sync.pool, fetch.Question[[]blocksync.Block]{
		Name:    blocksync.RequestBlocks,
		Request: fetch.Encode(&blocksync.BlocksRequest{From: height, Count: 1, Bytes: blocksync.MaxRangeBytes}),
		Check: func(_ peer.ID, raw []byte) ([]blocksync.Block, error) {
			a, err := blocksync.DecodeBlocksAnswer(raw, d.rules)
			if err != nil {
				return nil, err
			}
			if len(a.Blocks) == 0 {
				return nil, fetch.ErrAbsent
			}
			r, err := sets.Check(height, 1, a, d.rules)
			if err != nil {
				return nil, err
			}
			if got := r.Blocks[0].Hash(); got != want {
				return nil, fmt.Errorf("%w: block %d is %s, ours was %s", errUnasked, height, got, want)
			}
			return r.Blocks, nil
		},
	})
	if err != nil {
		return err
	}
	_, _, err = fetch.Ask(ctx, d.sync.pool, fetch.Question[struct{}]{
		Name:    blocksync.RequestReceipts,
		Request: fetch.Encode(&blocksync.BlocksRequest{From: height, Count: 1, Bytes: blocksync.MaxRangeBytes}),
		Check: func(_ peer.ID, raw []byte) (struct{}, error) {
			older, err := receiptsOf(blocks, raw, d)
			if err != nil {
				return struct{}{}, err
			}
			err = d.ledger.Refill(older[0])
			if err != nil && !errors.Is(err, ledger.ErrNotTheChain) {
				err = fmt.Errorf("%w: %w", fetch.ErrOwn, err)
			}
			return struct{}{}, err
		},
	})
	return err
}
