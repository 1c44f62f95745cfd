package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/p2p"
)

// Limits of the syncer.
const (
	pollGap   = 100 * time.Millisecond // least time between two rounds of asking
	slowRange = 5 * time.Second        // after which the next range comes from another peer
)

// syncer brings a node that missed final blocks back to the head. It asks peers
// where they stand, believes only verified finalizations, and hands verified
// ranges to the owner goroutine.
type syncer struct {
	d      *driver
	wake   chan struct{}
	target atomic.Uint64 // verified height above ours while ranges are applied, else 0

	warned *pace // of the log

	mu   sync.Mutex
	last peer.ID // from which the newest finalization came
}

func newSyncer(d *driver) *syncer {
	return &syncer{d: d, wake: make(chan struct{}, 1), warned: newPace(time.Minute)}
}

// poke asks for a look at the peers now instead of at the next poll.
func (s *syncer) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// heard remembers who told the newest finalization: it has the block.
func (s *syncer) heard(p peer.ID) {
	s.mu.Lock()
	s.last = p
	s.mu.Unlock()
}

// heardFirst moves the peer last heard from to the front and keeps as many as
// one fetch may ask.
func (s *syncer) heardFirst(ps []peer.ID) []peer.ID {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if i := slices.Index(ps, last); i > 0 {
		ps[0], ps[i] = ps[i], ps[0]
	}
	return ps[:min(len(ps), fetchTries)]
}

// run polls until ctx ends.
func (s *syncer) run(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
		next := time.NewTimer(pollGap)
		for _, p := range s.candidates() {
			if s.ask(ctx, p) {
				break
			}
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
}

// candidates are one random peer, and more of them while nobody has answered.
func (s *syncer) candidates() []peer.ID {
	ps := s.d.askable()
	return ps[:min(len(ps), fetchTries)]
}

// ask learns where a peer stands and follows it. It answers whether the peer
// did.
func (s *syncer) ask(ctx context.Context, p peer.ID) bool {
	status, err := s.status(ctx, p)
	if err != nil {
		s.d.log.Debug("no status", "peer", p, "err", err)
		return false
	}
	if status.Genesis != s.d.net.Genesis {
		s.d.refuse(p, "status", fmt.Errorf("%w: genesis %s, ours %s", errUnasked, status.Genesis, s.d.net.Genesis))
		return false
	}
	now := s.d.era.Load()
	if len(status.Finalization) > 0 && status.Epoch == now.epoch && status.View > 0 {
		c, err := now.verify.finalization(status.Finalization)
		if err != nil {
			s.d.refuse(p, "status", err)
			return false
		}
		if c.Block != status.Head {
			s.d.refuse(p, "status", errUnasked)
			return false
		}
		if state := s.d.state.Load(); state.Epoch == c.Epoch && c.View > state.LastFinalizedView {
			s.heard(p)
			s.d.deliver(ctx, consensus.CertificateReceived{From: -1, Certificate: *c})
		}
	}
	// Near the head the core fetches by itself what a finalization names; it
	// cannot when the finalization is of a later epoch.
	near := s.d.ledger.HeadInfo().Height
	if status.Epoch == now.epoch && status.View > 0 {
		near += 2
	}
	if status.Height <= near {
		return true
	}
	defer s.target.Store(0)
	for s.d.ledger.HeadInfo().Height < status.Height && ctx.Err() == nil {
		begun := time.Now()
		if err := s.fetchRange(ctx, p); err != nil {
			s.d.host.Penalize(p, p2p.FaultUseless)
			if s.warned.allow(p) {
				s.d.log.Warn("sync: a range failed; another peer is asked", "peer", p, "height", s.d.ledger.HeadInfo().Height, "err", err)
			}
			return false
		}
		if time.Since(begun) > slowRange {
			return true // somebody else may be faster; a peer does not keep us to itself
		}
	}
	return true
}

func (s *syncer) status(ctx context.Context, p peer.ID) (*statusAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	raw, err := s.d.host.Request(ctx, p, requestStatus, nil)
	if err != nil {
		return nil, err
	}
	var a statusAnswer
	if err := decode(raw, 2*maxCertificateBytes+maxSmallRequestBytes, &a); err != nil {
		s.d.refuse(p, "status", err)
		return nil, err
	}
	return &a, nil
}

// fetchRange asks p for the next blocks, verifies them and waits until they are
// applied.
func (s *syncer) fetchRange(ctx context.Context, p peer.ID) error {
	rctx, cancel := context.WithTimeout(ctx, 4*fetchWait)
	defer cancel()
	from := s.d.ledger.HeadInfo().Height + 1
	raw, err := s.d.host.Request(rctx, p, requestBlocks, encode(blocksRequest{From: from, Count: maxRangeBlocks}))
	if err != nil {
		return err
	}
	answer, err := decodeBlocksAnswer(raw)
	if err != nil {
		s.d.refuse(p, "blocks answer", err)
		return err
	}
	if len(answer.Blocks) == 0 {
		return fmt.Errorf("%w: no blocks from %d", errUnasked, from)
	}
	blocks, err := s.verifyRange(from, answer)
	if err != nil {
		s.d.refuse(p, "blocks answer", err)
		return err
	}
	top := blocks[len(blocks)-1].block
	if top.NumberU64() > s.d.ledger.HeadInfo().Height+behindLimit {
		s.target.Store(top.NumberU64())
	}
	for _, b := range blocks {
		recoverSenders(s.d.signer, b.block.Transactions())
	}
	done := make(chan error, 1)
	if !s.d.deliver(ctx, &syncedRange{blocks: blocks, done: done}) {
		return ctx.Err()
	}
	select {
	case err := <-done:
		if err == nil {
			s.d.log.Info("synced", "height", top.NumberU64(), "blocks", len(blocks))
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verifyRange checks that the blocks follow one another from a height, that
// every finalization in the answer is one of its block, and that the last block
// has one.
func (s *syncer) verifyRange(from uint64, a *blocksAnswer) ([]certifiedBlock, error) {
	now := s.d.era.Load()
	out := make([]certifiedBlock, 0, len(a.Blocks))
	for i, r := range a.Blocks {
		block, err := chain.DecodeBlock(r.Body, &s.d.ledger.Config().Rules)
		if err != nil {
			return nil, err
		}
		if block.NumberU64() != from+uint64(i) || i > 0 && block.ParentHash() != out[i-1].block.Hash() {
			return nil, fmt.Errorf("%w: block %d does not follow", errUnasked, block.NumberU64())
		}
		out = append(out, certifiedBlock{block: block})
		if len(r.Finalization) == 0 {
			continue
		}
		c, err := now.verify.finalization(r.Finalization)
		if err != nil {
			return nil, err
		}
		if c.Block != block.Hash() {
			return nil, fmt.Errorf("%w: the finalization of height %d names another block", errUnasked, block.NumberU64())
		}
		out[i].finalization = c
		if block.MixDigest() != (crypto.Hash{}) {
			break // the set that signed what follows is known when this block is executed
		}
	}
	if out[len(out)-1].finalization == nil {
		return nil, errUnproven
	}
	return out, nil
}

// applyRange executes and commits verified final blocks. It runs in the owner
// goroutine. A rejection (errUnasked) is the answering peer's fault, any other
// error is a failure of this node.
func (d *driver) applyRange(blocks []certifiedBlock) error {
	for i := range blocks {
		b := &blocks[i]
		if b.block.NumberU64() <= d.ledger.HeadInfo().Height {
			continue
		}
		if b.finalization != nil && b.finalization.Epoch != d.era.Load().epoch {
			return fmt.Errorf("%w: block %d is of an epoch that is over", errUnasked, b.block.NumberU64())
		}
		if err := d.ledger.Execute(b.block); err != nil {
			return d.contradiction(blocks[i:], err)
		}
		if b.finalization == nil {
			continue // committed with the next one that has a finalization
		}
		if err := d.finalize(b.block.Hash(), b.finalization); err != nil {
			return err
		}
		if d.ledger.HeadInfo().Epoch != b.finalization.Epoch {
			return d.enterEpoch()
		}
		if err := d.step(consensus.Synced{Block: blockFacts(b.block), Finalization: *b.finalization}); err != nil {
			return err
		}
	}
	return d.lookAtPool()
}

// contradiction shows the core a final block that does not execute here as it
// did for the quorum that finalized it. The core halts for good reasons only,
// and keeps the evidence; reads go on.
func (d *driver) contradiction(blocks []certifiedBlock, err error) error {
	b := blocks[0]
	var invalid *chain.InvalidError
	if !errors.As(err, &invalid) && !errors.Is(err, ledger.ErrMissingParent) {
		return fmt.Errorf("sync block %d: %w", b.block.NumberU64(), err)
	}
	for _, next := range blocks {
		d.bodies.put(next.block)
		if next.finalization == nil {
			continue
		}
		if err := d.step(consensus.CertificateReceived{From: -1, Certificate: *next.finalization}); err != nil {
			return err
		}
		break
	}
	return fmt.Errorf("%w: block %d: %w", errUnasked, b.block.NumberU64(), err)
}

// failureOnly passes failures of this node and swallows rejections of what a
// peer sent, which the syncer has been told.
func failureOnly(err error) error {
	if errors.Is(err, errUnasked) {
		return nil
	}
	return err
}
