package node

import (
	"errors"
	"fmt"
	"time"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/node/blocksync"
)

// Limits of what the owner goroutine does at once for a sync. One block takes as
// long as it takes.
const (
	sliceTime = 50 * time.Millisecond
	maxRun    = 32 // blocks in one commit, fewer than the layers that publish leaves
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
	for len(blocks) > count {
		run, err := d.executeRun(blocks[count:], begun)
		if err != nil {
			return count, err
		}
		kept, err := d.keepRun(run)
		if err != nil {
			return count, err
		}
		if count += kept; kept == 0 || time.Since(begun) > sliceTime {
			break
		}
	}
	return count, d.lookAtPool()
}

// executeRun executes blocks, up to a closing block, as many as go into one
// commit or the time that is left. Those that are here already count.
func (d *driver) executeRun(blocks []blocksync.Block, begun time.Time) ([]blocksync.Block, error) {
	for i := range blocks {
		b := &blocks[i]
		if b.Finalization != nil && b.NumberU64() > d.ledger.HeadInfo().Height && b.Finalization.Epoch != d.era.Load().epoch {
			return nil, fmt.Errorf("%w: block %d is of another epoch than this node is in", errUnasked, b.NumberU64())
		}
		if err := d.ledger.Execute(b.Block); err != nil {
			return nil, d.contradiction(blocks[i:], err)
		}
		if i+1 == maxRun || chain.IsClosing(b.Header()) || time.Since(begun) > sliceTime {
			return blocks[:i+1], nil
		}
	}
	return blocks, nil
}

// keepRun commits executed blocks up to the last that has a finalization, in one
// batch, and tells the core. If none has, all are committed: the headers up to the
// descendant that makes them final were verified, and the vote log's floor stays.
// It answers how many are final here now.
func (d *driver) keepRun(run []blocksync.Block) (int, error) {
	last := len(run) - 1
	for last > 0 && run[last].Finalization == nil {
		last--
	}
	if run[last].Finalization == nil {
		last = len(run) - 1
	}
	top := &run[last]
	if top.NumberU64() <= d.ledger.HeadInfo().Height {
		return last + 1, nil
	}
	certificates := make(map[crypto.Hash][]byte)
	for i := range run[:last+1] {
		if c := run[i].Finalization; c != nil {
			certificates[run[i].Hash()] = consensus.EncodeCertificate(c)
		}
	}
	if err := d.commitRun(top.Hash(), top.Finalization, certificates); err != nil {
		return 0, err
	}
	switch {
	case top.Finalization == nil:
		return last + 1, d.comeBack()
	case chain.IsClosing(top.Header()):
		return last + 1, d.enterEpoch()
	default:
		return last + 1, d.step(consensus.Synced{Block: blockFacts(top.Block), Finalization: *top.Finalization})
	}
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
