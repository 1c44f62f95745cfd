package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/light"
	"cairn/node/blocksync"
	"cairn/node/rpc"
	"cairn/node/statesync"
)

// This file is what a node does to catch up by a snapshot: it fetches a complete
// database beside its own (Home/joining) while everything else goes on, and then
// has itself opened again with it.

// JoiningDir is where the database of a join by snapshot is made.
const JoiningDir = "joining"

// What a snapshot must bring to be worth it, in blocks above the final head.
const (
	gainAuto   = 10_000 // with sync.mode = "auto"
	gainForced = 1_000  // with "snapshot", unless the ledger is empty; syncer.gain
)

// ErrRestart says that a node has fetched a snapshot: close it and open it again,
// and it goes on from there.
const ErrRestart = ErrorKind("a snapshot is complete: the node goes on with it when it is opened again")

// trySnapshot fetches a snapshot if the configuration wants one and it brings
// enough. Without one it answers nil, and the blocks are replayed.
// Errors: ErrRestart, failures, those of ctx.
func (s *syncer) trySnapshot(ctx context.Context, head, best uint64, claims map[peer.ID]*statusAnswer) error {
	gain := uint64(gainAuto)
	switch {
	case s.mode == SyncFull:
		return nil
	case s.mode == SyncSnapshot && head == 0:
		gain = 1
	case s.mode == SyncSnapshot:
		gain = s.gain
	}
	if best < head+gain {
		return nil
	}
	sets, err := s.setsFromGenesis(ctx)
	if err != nil {
		return err
	}
	if err := s.walk(ctx, sets, claims); err != nil {
		return err
	}
	s.progress.begin(rpc.SyncSnapshot, "bytes", head, best)
	defer s.progress.end()
	height, err := statesync.Join(ctx, &statesync.Config{
		Dir: filepath.Join(s.home, JoiningDir), Spec: s.spec, Options: s.options,
		Pool: s.pool, Sets: sets, Pin: s.pin, Above: head + gain - 1, Log: s.d.log,
		Told: func(target uint64, p snapshot.Progress) {
			s.progress.at(s.d.ledger.HeadInfo().Height, p.Done, float64(p.Bytes))
		},
	})
	switch {
	case errors.Is(err, statesync.ErrNoOffer):
		s.d.log.Info("no peer serves a snapshot that helps: the blocks are replayed", "from", head, "to", best, "mode", s.mode)
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: height %d", ErrRestart, height)
}

// setsFromGenesis are all validator sets that this node's own ledger knows,
// verified from genesis: a database made by a snapshot serves them to others.
func (s *syncer) setsFromGenesis(ctx context.Context) (*blocksync.Sets, error) {
	start, err := light.FromGenesis(s.spec)
	if err != nil {
		return nil, err
	}
	sets := blocksync.NewSets(start, s.pin)
	for {
		steps, err := s.d.serving.blocks.Ends(ctx, uint64(sets.Last().Epoch), blocksync.MaxSteps)
		if err != nil || len(steps) == 0 {
			return sets, err
		}
		if err := sets.Extend(steps); err != nil {
			return nil, fmt.Errorf("the ends of this node's own epochs: %w", err)
		}
	}
}

// adoptJoined puts a database that a join completed in the place of the home's,
// with what the old one has beyond the chain: vote records, own transactions, and
// what ties it to the home. Nobody's floor is lowered: of a join that brings less
// than there is, nothing is taken.
func (n *Node) adoptJoined() error {
	dir, data := filepath.Join(n.cfg.Home, JoiningDir), filepath.Join(n.cfg.Home, DataDir)
	if !exists(dir) {
		return nil
	}
	joined, err := store.Open(dir, storeOptions(n.cfg, n.log))
	if errors.Is(err, store.ErrUnfinished) {
		return nil // goes on when the node runs
	}
	if err != nil {
		n.log.Warn("a join by snapshot left a database that cannot be opened; it is removed", "err", err)
		return remove(dir)
	}
	head, err := joined.Head()
	if err != nil {
		return errors.Join(fmt.Errorf("the joined database: %w", err), joined.Close())
	}
	better, err := true, error(nil)
	if exists(data) {
		better, err = n.carryOver(joined, data, head)
	}
	if err := errors.Join(err, joined.Close()); err != nil {
		return fmt.Errorf("take over a joined database: %w", err)
	}
	if !better {
		return remove(dir)
	}
	n.log.Info("the snapshot takes the place of the old database", "height", head.Height, "hash", head.Hash)
	return switchData(n.cfg.Home, dir, "")
}

// carryOver copies into a joined database what only the old one has. It answers
// false if the old one is as far.
func (n *Node) carryOver(joined *store.Store, data string, to store.Head) (better bool, err error) {
	old, err := store.Open(data, storeOptions(n.cfg, n.log))
	if err != nil {
		return false, fmt.Errorf("open the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	head, err := old.Head()
	switch {
	case errors.Is(err, store.ErrNotFound): // not even block 0: there is nothing to remember
		return true, nil
	case err != nil:
		return false, err
	case head.Height >= to.Height || to.Floor.Epoch < head.Floor.Epoch:
		return false, nil
	}
	_, err = carryMemory(joined, old)
	return true, errors.Join(err, joined.Sync())
}
