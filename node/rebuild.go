package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/node/archive"
)

// Progress hears how far a long command is; total 0 = not known.
type Progress func(stage string, done, total uint64)

// SnapshotDir holds the checkpoints that a node serves, one directory a height.
const SnapshotDir = "snapshots"

// ErrNoOrigin says that there is nothing from which blocks could be executed.
const ErrNoOrigin = ErrorKind("the blocks from block 0 on are not kept here, and there is no checkpoint to begin with")

// rebuild makes a database in dir from the blocks of an open one: each is
// verified and executed again, from block 0 or a checkpoint to a height. A near
// origin takes the newest checkpoint, to be fast; else one is taken only when the
// first blocks are not kept, for its tables are files that the damaged database
// shares. It answers how far it came and, if that is less, why: damage ends it,
// and is no failure. Vote records and waiting transactions are not taken over.
// Error: ErrNoOrigin, or a failure.
func (h *Home) rebuild(ctx context.Context, dir string, to uint64, near bool, tell Progress) (reached uint64, damage, err error) {
	if err := h.origin(dir, to, near); err != nil {
		return 0, nil, err
	}
	st, err := store.Open(dir, store.Options{Lazy: true, NoHistory: !h.Store.HasHistory()})
	if err != nil {
		return 0, nil, fmt.Errorf("make the new database: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	live, err := ledger.Open(st, h.Spec)
	if err != nil {
		return 0, nil, fmt.Errorf("make the new database: %w", err)
	}
	start := live.HeadInfo().Height
	err = archive.Apply(ctx, live, archive.Stored(h.Store.View, start+1, to), archive.Options{
		Prune:    prunable,
		Progress: func(height uint64) { tell("blocks executed", height, to) },
	})
	reached = live.HeadInfo().Height
	if isDamage(err) {
		damage, err = err, nil
	}
	if err != nil {
		return reached, nil, err
	}
	return reached, damage, errors.Join(carryEvidence(h.Store, st), st.Sync())
}

// isDamage tells what is wrong with stored blocks from what keeps a program from
// looking at them.
func isDamage(err error) bool {
	var invalid *chain.InvalidError
	if errors.As(err, &invalid) {
		return true
	}
	for _, kind := range []error{store.ErrCorrupt, store.ErrNotFound, store.ErrAwaited, archive.ErrAltered, archive.ErrConflict, archive.ErrUnproven, archive.ErrGap} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// origin puts into dir what blocks can be executed on: a checkpoint, or nothing
// for block 0.
func (h *Home) origin(dir string, to uint64, near bool) error {
	if err := remove(dir); err != nil {
		return err
	}
	whole := h.Store.FirstBody() <= 1
	if whole && !near {
		return nil
	}
	best, found := uint64(0), false
	entries, err := os.ReadDir(filepath.Join(h.Dir, SnapshotDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look for checkpoints: %w", err)
	}
	for _, e := range entries {
		height, err := strconv.ParseUint(e.Name(), 10, 64)
		if err == nil && e.Name() == strconv.FormatUint(height, 10) && height <= to && height+1 >= h.Store.FirstBody() && height >= best {
			best, found = height, true
		}
	}
	switch {
	case found:
		return store.Copy(filepath.Join(h.Dir, SnapshotDir, strconv.FormatUint(best, 10)), dir)
	case whole:
		return nil
	default:
		return fmt.Errorf("%w: the first is %d", ErrNoOrigin, h.Store.FirstBody())
	}
}

// carryEvidence takes the proven contradictions of validators along.
func carryEvidence(from, to *store.Store) error {
	raw, err := from.Meta(evidenceList)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	return to.PutMeta(evidenceList, raw)
}

// markData makes a validator that starts from a database observe first.
func markData(dir, why string) error {
	st, err := store.Open(dir, store.Options{CacheBytes: 8 << 20})
	if err != nil {
		return fmt.Errorf("open the copy: %w", err)
	}
	held, err := readInstance(st)
	if err == nil {
		if held == nil {
			held = new(storedInstance)
		}
		held.Doubt = why
		err = writeInstance(st, *held)
	}
	return errors.Join(err, st.Close())
}
