package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger/chain"
)

// Filling is a final block that is put below those held.
type Filling struct {
	Block       *types.Block
	Receipts    types.Receipts
	Certificate []byte // empty: none of its own is known
}

// Fill puts final blocks below FirstBody, from the one right below it downwards,
// in one atomic batch, and lowers FirstBody. That they are the chain's is the
// caller's to check. It does not wait for the disk: a power loss takes the newest
// fills, but never one and not those after it.
// Error: ErrOutOfOrder, or a failure.
func (s *Store) Fill(blocks []Filling) error {
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	bounds := s.Bounds()
	b := s.db.NewBatch()
	for _, f := range blocks {
		height := f.Block.NumberU64()
		if height == 0 || height+1 != bounds.FirstBody {
			return fmt.Errorf("%w: block %d below the first, %d", ErrOutOfOrder, height, bounds.FirstBody)
		}
		if err := f.rows(b); err != nil {
			return err
		}
		if bounds.FirstBody = height; height == 1 {
			bounds.FirstBody = 0 // block 0 is always held
		}
	}
	_ = b.Set(boundsKey, bounds.encode(), nil)
	if err := s.apply("older blocks", b, false); err != nil {
		return err
	}
	s.bounds.Store(&bounds)
	return nil
}

// rows writes the rows of the block.
func (f *Filling) rows(b *pebble.Batch) error {
	header, transactions, err := splitBlock(chain.EncodeBlock(f.Block))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	height, hash := f.Block.NumberU64(), f.Block.Hash()
	setBlock(b, header, transactions, height, hash)
	c := Commit{Hash: hash, Receipts: f.Receipts}
	if len(f.Certificate) > 0 {
		c.Certificate = f.Certificate
	}
	for _, tx := range f.Block.Transactions() {
		c.Transactions = append(c.Transactions, tx.Hash())
	}
	return c.block(b, height)
}

// remains writes the rows that PruneBodies leaves of the block.
func (f *Filling) remains(b *pebble.Batch) error {
	header, _, err := splitBlock(chain.EncodeBlock(f.Block))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	height, hash := f.Block.NumberU64(), f.Block.Hash()
	_ = b.Set(blockKey(prefixHeader, height, hash), header, nil)
	_ = b.Set(key(prefixHeight, hash[:]), binary.BigEndian.AppendUint64(nil, height), nil)
	if len(f.Certificate) > 0 {
		_ = b.Set(heightKey(prefixCertificate, height), f.Certificate, nil)
	}
	return nil
}
