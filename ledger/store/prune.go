package store

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// What is below the bounds answers ErrPruned; the methods of this file delete it,
// in small batches that do not wait for the disk: a crash leaves rows that nobody
// reads, and the next run deletes them. They may be called while others read and
// commit, but by one goroutine at a time.

// PruneBodies deletes transactions, receipts and index of up to so many blocks
// below FirstBody from a height on, lowest first, and all of the last height.
// Headers, certificates and places by hash stay. It answers the height to go on
// at, and how many it deleted; 0 = there are none left.
func (s *Store) PruneBodies(from uint64, limit int) (next uint64, pruned int, err error) {
	s.boundsMu.Lock() // or Fill could put back what this scan saw below the bound
	defer s.boundsMu.Unlock()
	from = max(from, 1) // block 0 is always held
	first := s.FirstBody()
	if first <= from {
		return from, 0, nil
	}
	b := s.db.NewBatch()
	var begin, last uint64
	err = s.scan("bodies", heightKey(prefixBody, from), heightKey(prefixBody, first), func(k, v []byte) error {
		height, _, err := parseBlockKey(k)
		if err != nil {
			return err
		}
		if pruned >= limit && height != last {
			return ErrStop
		}
		if err := pruneIndex(b, height, v); err != nil {
			return err
		}
		_ = b.Delete(heightKey(prefixReceipts, height), nil)
		if pruned == 0 {
			begin = height
		}
		last = height
		pruned++
		return nil
	})
	if err != nil || pruned == 0 {
		return from, 0, err
	}
	// One tombstone a batch, beside those of other batches: where many lie over one
	// another, each read after the next batch sorts them all.
	_ = b.DeleteRange(heightKey(prefixBody, begin), heightKey(prefixBody, last+1), nil)
	return last + 1, pruned, s.apply("pruned blocks", b, false)
}

// pruneIndex deletes the index rows of a block's transactions.
func pruneIndex(b *pebble.Batch, height uint64, body []byte) error {
	content, _, err := rlp.SplitList(body)
	if err != nil {
		return corrupt("body", err)
	}
	for i := 0; len(content) > 0; i++ {
		kind, item, rest, err := rlp.Split(content)
		if err != nil {
			return corrupt("body", err)
		}
		if kind == rlp.List { // a legacy transaction is the list itself, a typed one a string
			item = content[:len(content)-len(rest)]
		}
		hash := crypto.Keccak256(item)
		_ = b.Delete(transactionKey(hash, height, i), nil)
		content = rest
	}
	return nil
}

// historySuffix is the height at the end of a key of the history.
const historySuffix = 8

// PruneHistory looks at up to so many rows of the history of accounts and slots
// from a place on, nil being the first, and deletes those that a newer row at or
// below Base replaces: of each account and slot the newest one stays. It answers
// the place to go on; nil = that was the end.
func (s *Store) PruneHistory(at []byte, rows int) (next []byte, pruned int, err error) {
	base := s.Base()
	if base == 0 {
		return nil, 0, nil
	}
	if at == nil {
		at = []byte{prefixHistory}
	}
	b := s.db.NewBatch()
	var last []byte
	seen := 0
	err = s.scan("history", at, []byte{prefixSlotHistory + 1}, func(k, _ []byte) error {
		if len(k) <= 1+historySuffix {
			return corrupt("history", k)
		}
		subject := len(k) - historySuffix
		if len(last) == len(k) && bytes.Equal(last[:subject], k[:subject]) && binary.BigEndian.Uint64(k[subject:]) <= base {
			_ = b.Delete(last, nil)
			pruned++
		}
		last = append(last[:0], k...)
		if seen++; seen > rows {
			next = bytes.Clone(k) // it may be the one that the next row replaces
			return ErrStop
		}
		return nil
	})
	if err != nil || pruned == 0 {
		return next, 0, err
	}
	return next, pruned, s.apply("pruned history", b, false)
}
