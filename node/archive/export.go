package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"cairn/crypto"
	"cairn/ledger/store"
)

// Chain is the network that blocks are of.
type Chain struct {
	ChainID uint64
	Genesis crypto.Hash // of block 0
}

// Progress hears how far something is: blocks done of a total.
type Progress func(done, total uint64)

// Summary says what an export holds.
type Summary struct {
	First, Last uint64
	Hash        crypto.Hash // of the last block
}

// Export writes the final blocks from first to last as a stream. first 0 means
// the first block that is held above block 0, last 0 the newest that is proven;
// the last block moves up to the next one that has a certificate of its own, or
// down if there is none above.
// Errors: ErrRange, store.ErrPruned, or a failure.
func Export(ctx context.Context, w io.Writer, view store.View, c Chain, first, last uint64, tell Progress) (Summary, error) {
	first, last, err := bounds(view, first, last)
	if err != nil {
		return Summary{}, err
	}
	out, err := newWriter(w, Begin{ChainID: c.ChainID, Genesis: c.Genesis, First: first, Last: last})
	if err != nil {
		return Summary{}, err
	}
	height := first
	for e, err := range Stored(view, first, last) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Summary{}, err
		}
		hash, err := blockHash(e.Block)
		if err != nil {
			return Summary{}, fmt.Errorf("block %d in the database: %w", height, err)
		}
		if err := out.add(hash, *e); err != nil {
			return Summary{}, err
		}
		tell(height-first+1, last-first+1)
		height++
	}
	return Summary{First: first, Last: last, Hash: out.end.Hash}, out.close()
}

// bounds makes a range of blocks one that proves itself.
func bounds(view store.View, first, last uint64) (uint64, uint64, error) {
	head, err := view.Head()
	if err != nil {
		return 0, 0, err
	}
	if first == 0 {
		first = max(1, view.FirstBody()) // of a pruned database, or one that began with a snapshot, more than 1
	}
	if last == 0 {
		last = head.Height
	}
	if last > head.Height || first > last {
		return 0, 0, refuse(ErrRange, "from %d to %d; the head is %d", first, last, head.Height)
	}
	_, at, err := view.CertificateAtOrAbove(last)
	if err == nil && at <= head.Height {
		return first, at, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, 0, err
	}
	for ; last >= first; last-- { // a crash left the head without
		if _, err := view.Certificate(last); err == nil {
			return first, last, nil
		} else if !errors.Is(err, store.ErrNotFound) {
			return 0, 0, err
		}
	}
	return 0, 0, refuse(ErrRange, "no block from %d on is proven yet", first)
}

// Stored reads the final blocks from first to last of a database. The sequence
// ends after an error.
func Stored(view store.View, first, last uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for height := first; height <= last; height++ {
			e, err := stored(view, height)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func stored(view store.View, height uint64) (*Entry, error) {
	hash, err := view.HashByHeight(height)
	if err != nil {
		return nil, err
	}
	e := new(Entry)
	if e.Block, err = view.Body(hash); err != nil {
		return nil, err
	}
	if e.Certificate, err = view.Certificate(height); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return e, nil
}

// Entries reads a stream to its end. The sequence ends after an error.
func (r *Reader) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
