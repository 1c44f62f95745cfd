package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/ledger"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
)

// openLedger opens the chain. Unless the operator switched it off, it keeps the
// state of every checkpoint height for nodes that join; that it cannot is no
// reason not to run.
func (n *Node) openLedger() (*ledger.Ledger, error) {
	dir := filepath.Join(n.cfg.Home, SnapshotDir)
	if !n.cfg.Store.Snapshots {
		if err := os.RemoveAll(dir); err != nil { // they would hold back the space of old tables
			return nil, fmt.Errorf("remove the snapshots: %w", err)
		}
		return ledger.Open(n.store, n.spec)
	}
	head, err := n.store.Head()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if n.snapshots, err = snapshot.OpenDir(dir, store.Options{}, head.Height); err != nil {
		n.log.Warn("this node keeps no snapshots for others: look at the directory, then start it again", "err", err)
	}
	return ledger.OpenWith(n.store, n.spec, ledger.Options{Snapshots: n.snapshots, OnSnapshot: n.snapshotKept})
}

func (n *Node) snapshotKept(height uint64, took time.Duration, err error) {
	switch {
	case errors.Is(err, store.ErrClosed):
		n.log.Info("the snapshot of this height was not finished before the stop", "height", height)
		return
	case errors.Is(err, store.ErrOutOfOrder):
		n.log.Info("no snapshot of this height is kept: blocks came faster than it was copied; one of the next heights is", "height", height)
		return
	case err != nil:
		n.log.Warn("the snapshot of this height was not kept: look at free space and the snapshots directory", "height", height, "err", err)
		return
	}
	n.log.Info("snapshot kept", "height", height, "ms", took.Milliseconds())
}
