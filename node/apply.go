package node

import (
	"errors"
	"fmt"
	"time"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/node/blocksync"
)

// Limits of what the owner goroutine does at once for a sync. One block takes as
// long as it takes.
const (
	sliceTime   = 50 * time.Millisecond
	maxUnproven = 32 // executed blocks that wait for a finalization before they are kept without
)

// syncedRange is a run of verified final blocks that follow the final head, or
// began to before others came.
type syncedRange struct {
	blocks []blocksync.Block
	done   chan<- appliedSlice
}

// appliedSlice is how many of a syncedRange are kept, or why none is.
type appliedSlice struct {
	count int
	err   error
}

// applyRange executes and commits verified final blocks until sliceTime is used
// up. It runs in the owner goroutine and answers how many of them are final here
// now. A rejection (errUnasked) is the fault of who verified them, any other
// error is a failure of this node.
func (d *driver) applyRange(blocks []blocksync.Block) (count int, err error) {
	begun := time.Now()
	open := 0 // executed, not kept
	for i := range blocks {
		b := &blocks[i]
		if b.NumberU64() <= d.ledger.HeadInfo().Height {
			count = i + 1
			continue
		}
		if b.Finalization != nil && b.Finalization.Epoch != d.era.Load().epoch {
			return count, fmt.Errorf("%w: block %d is of another epoch than this node is in", errUnasked, b.NumberU64())
		}
		if err := d.ledger.Execute(b.Block); err != nil {
			return count, d.contradiction(blocks[i:], err)
		}
		switch open++; {
		case b.Finalization != nil:
			err = d.keepSynced(b)
		case open >= maxUnproven:
			err = d.keepUnproven(b)
		default:
			if time.Since(begun) > sliceTime {
				return count, d.lookAtPool() // what is open is executed already when the rest comes again
			}
			continue
		}
		if err != nil {
			return count, err
		}
		open, count = 0, i+1
		if time.Since(begun) > sliceTime {
			break
		}
	}
	if open > 0 && count == 0 {
		// The range ends with blocks whose finalization comes with the next.
		if err := d.keepUnproven(&blocks[len(blocks)-1]); err != nil {
			return 0, err
		}
		count = len(blocks)
	}
	return count, d.lookAtPool()
}

// keepSynced commits an executed block with its finalization, and its ancestors.
func (d *driver) keepSynced(b *blocksync.Block) error {
	if err := d.finalize(b.Hash(), b.Finalization); err != nil {
		return err
	}
	if chain.IsClosing(b.Header()) {
		return d.enterEpoch()
	}
	return d.step(consensus.Synced{Block: blockFacts(b.Block), Finalization: *b.Finalization})
}

// keepUnproven commits an executed block that is final by a descendant which is
// not here yet: the headers up to it were verified. The vote log's floor stays.
func (d *driver) keepUnproven(b *blocksync.Block) error {
	head := d.ledger.HeadInfo()
	finals, err := d.ledger.Finalize(b.Hash(), nil, ledger.Floor{Epoch: head.Epoch, View: head.View}, nil)
	if err != nil {
		return fmt.Errorf("commit block %s: %w", b.Hash(), err)
	}
	for _, f := range finals {
		if err := d.finalized(f); err != nil {
			return err
		}
	}
	return nil
}

// contradiction shows the core a final block that does not execute here as it
// did for the quorum that finalized it. The core halts for good reasons only,
// and keeps the evidence; reads go on.
func (d *driver) contradiction(blocks []blocksync.Block, err error) error {
	b := blocks[0]
	var invalid *chain.InvalidError
	if !errors.As(err, &invalid) && !errors.Is(err, ledger.ErrMissingParent) {
		return fmt.Errorf("sync block %d: %w", b.NumberU64(), err)
	}
	for _, next := range blocks {
		d.bodies.put(next.Block)
		if next.Finalization == nil {
			continue
		}
		if err := d.step(consensus.CertificateReceived{From: -1, Certificate: *next.Finalization}); err != nil {
			return err
		}
		break
	}
	return fmt.Errorf("%w: block %d: %w", errUnasked, b.NumberU64(), err)
}

// failureOnly passes failures of this node and swallows rejections of what a
// peer sent, which the syncer has been told.
func failureOnly(err error) error {
	if errors.Is(err, errUnasked) {
		return nil
	}
	return err
}
