package snapshot

import (
	"context"
	"errors"
	"fmt"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// nodeBatchBytes is how many bytes of trie nodes are written at once.
const nodeBatchBytes = 4 << 20

// Finish makes the tries in one pass over the rows, compares every root with what
// the target's header commits to, and writes the head, durably and last. When it
// has returned nil the database is complete, and closed.
// Errors: ErrIncomplete, ErrRoot, ctx's, or a failure. After ErrRoot the
// directory is of no use; after any other the join can be resumed.
func (s *Staging) Finish(ctx context.Context) error {
	s.mu.Lock()
	ready := s.done()
	s.finished = s.finished || ready
	s.mu.Unlock()
	if !ready {
		return ErrIncomplete
	}
	if err := s.finish(ctx); err != nil {
		return fmt.Errorf("put together the state at height %d: %w", s.target.Header.Number, err)
	}
	return s.Close()
}

func (s *Staging) finish(ctx context.Context) error {
	w := &nodeWriter{j: s.j}
	accounts := w.builder(crypto.Hash{})
	err := s.j.AccountsFrom(crypto.Hash{}, func(key crypto.Hash, a crypto.Address, acc *chain.Account) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if acc.StorageRoot != trie.EmptyRoot {
			if err := s.storage(ctx, w, key, a, acc.StorageRoot); err != nil {
				return err
			}
		}
		if acc.CodeHash != chain.EmptyCodeHash {
			if _, err := s.j.Code(acc.CodeHash); err != nil {
				return fmt.Errorf("code of account %s: %w", a, err)
			}
		}
		return accounts.Add(key, acc.Encode())
	})
	if err != nil {
		return err
	}
	root, err := accounts.Root()
	if err := errors.Join(err, w.flush()); err != nil {
		return err
	}
	if root != s.target.Header.Root {
		return refuse(ErrRoot, "state root %s, want %s", root, s.target.Header.Root)
	}
	c, err := s.target.completion(s.spec, s.zero)
	if err != nil {
		return err
	}
	return s.j.Complete(c)
}

// storage makes the trie of one account's slots.
func (s *Staging) storage(ctx context.Context, w *nodeWriter, owner crypto.Hash, a crypto.Address, want crypto.Hash) error {
	slots := w.builder(owner)
	err := s.j.SlotsFrom(owner, crypto.Hash{}, func(key, _, value crypto.Hash) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return slots.Add(key, chain.EncodeSlot(value))
	})
	if err != nil {
		return err
	}
	root, err := slots.Root()
	if err != nil {
		return err
	}
	if root != want {
		return refuse(ErrRoot, "storage root %s of account %s, want %s", root, a, want)
	}
	return nil
}

// nodeWriter collects trie nodes and writes them in batches.
type nodeWriter struct {
	j     *store.Joining
	nodes []store.NodeRow
	bytes int
}

func (w *nodeWriter) builder(owner crypto.Hash) *trie.Builder {
	return &trie.Builder{Emit: func(path []byte, _ crypto.Hash, blob []byte) error {
		w.nodes = append(w.nodes, store.NodeRow{Owner: owner, Path: append([]byte(nil), path...), Blob: blob})
		if w.bytes += len(blob); w.bytes < nodeBatchBytes {
			return nil
		}
		return w.flush()
	}}
}

func (w *nodeWriter) flush() error {
	rows := store.StateRows{Nodes: w.nodes}
	w.nodes, w.bytes = w.nodes[:0], 0
	return w.j.Put(rows)
}
