package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/node/archive"
)

// Export writes final blocks of a stopped node, or of a copy, as a stream; see
// archive.Export.
func (h *Home) Export(ctx context.Context, w io.Writer, first, last uint64, tell Progress) (archive.Summary, error) {
	block0, _, err := chain.Genesis(h.Spec)
	if err != nil {
		return archive.Summary{}, fmt.Errorf("make block 0: %w", err)
	}
	return archive.Export(ctx, w, h.Store.View, archive.Chain{ChainID: h.Spec.ChainID, Genesis: block0.Hash()}, first, last,
		func(done, total uint64) { tell("blocks exported", done, total) })
}

// Imported is what Import did.
type Imported struct {
	archive.Begin        // what the stream says of itself
	Before, After uint64 // the head
}

// Import verifies and executes the blocks of a stream on the database of a
// stopped node, which it makes if there is none. An error leaves what came before
// it, durably, and a second import of the same stream goes on there.
// Errors: those of archive and of OpenHome, archive.ErrNetwork, or a failure.
func Import(ctx context.Context, home string, r io.Reader, tell Progress) (in Imported, err error) {
	stream, err := archive.NewReader(r)
	if err != nil {
		return in, err
	}
	defer stream.Close()
	h, err := holdHome(home)
	if err != nil {
		return in, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	block0, _, err := chain.Genesis(h.Spec)
	if err != nil {
		return in, fmt.Errorf("make block 0: %w", err)
	}
	if in.Begin = stream.Begin; in.ChainID != h.Spec.ChainID || in.Genesis != block0.Hash() {
		return in, fmt.Errorf("%w: it is of chain %d with block 0 %s, this home is of chain %d with %s",
			archive.ErrNetwork, in.ChainID, in.Genesis, h.Spec.ChainID, block0.Hash())
	}
	if h.Store, err = store.Open(filepath.Join(home, DataDir), store.Options{Lazy: true}); err != nil {
		return in, fmt.Errorf("open the ledger: %w", err)
	}
	live, err := ledger.Open(h.Store, h.Spec)
	if err != nil {
		return in, fmt.Errorf("open the ledger: %w", err)
	}
	in.Before = live.HeadInfo().Height
	err = archive.Apply(ctx, live, stream.Entries(), archive.Options{
		Prune:    prunable,
		Progress: func(height uint64) { tell("blocks imported", height, in.Last) },
	})
	in.After = live.HeadInfo().Height
	return in, errors.Join(err, h.Store.Sync())
}
