package ledger

import (
	"time"

	"cairn/ledger/snapshot"
)

// snapshotAt says whether the state after the block at height is kept for others.
func (l *Ledger) snapshotAt(height uint64) bool {
	interval := l.cfg.Rules.CheckpointInterval
	return l.options.Snapshots != nil && interval > 0 && height > 0 && height%interval == 0
}

// keepSnapshot begins to keep the state of the head, which is at height, if it is
// to be kept; nothing waits until it is. A failure is told and no more: the block is final all the same, and if
// the disk failed the next commit says so.
func (l *Ledger) keepSnapshot(height uint64) {
	if l.options.Snapshots == nil {
		return
	}
	if snapshot.Ahead(height, l.cfg.Rules.CheckpointInterval) {
		l.st.FlushSoon()
	}
	if l.snapshotAt(height) {
		l.options.Snapshots.Take(l.st, height, func(took time.Duration, err error) {
			if l.options.OnSnapshot != nil {
				l.options.OnSnapshot(height, took, err)
			}
		})
	}
}
