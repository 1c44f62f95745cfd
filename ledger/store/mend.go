package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// A damaged block of a table file hides the rows in it. Where these can be had
// again, from other rows or from other nodes, the database is mended: the range of
// keys is cut out, which leaves the damaged bytes to no reader, and what other rows
// tell is put back. Blocks that are then not whole are listed (row 0x05), answered
// with ErrAwaited, and put back by Refill.

// Gap is a range of keys whose rows cannot all be read. From is the last row
// before it that can, To the first one after.
type Gap struct {
	From, To []byte // To nil: nothing after it can be read

	value []byte // of From
}

// mendable are the tables of which rows can be had again: those of blocks, with
// their indexes, and what a node may lose. State and history are not among them.
var mendable = []byte{
	prefixBody, prefixCanonical, prefixCertificate, prefixHeader, prefixHeight, prefixLocal, prefixReceipts, prefixRecord, prefixTransaction,
}

// gapStep is how much of a key counts when the end of a gap is looked for: the
// table, and a height or as much of a hash as makes a row nearly its own.
const gapStep = 9

// Gaps reads every row of the database and answers the ranges that cannot be read.
// Errors: ErrCorrupt where a gap may hold rows that cannot be had again, or a failure.
func (s *Store) Gaps(ctx context.Context) ([]Gap, error) {
	var gaps []Gap
	from := []byte{0}
	for from != nil {
		gap, err := s.nextGap(ctx, from)
		if err != nil || gap == nil {
			return gaps, err
		}
		if err := gap.mendable(s.Base() > 0); err != nil {
			return nil, err
		}
		gaps, from = append(gaps, *gap), gap.To
	}
	return gaps, nil
}

// nextGap is the first gap at or after a row that can be read; nil = there is none.
func (s *Store) nextGap(ctx context.Context, from []byte) (*Gap, error) {
	gap := new(Gap)
	rows := 0
	err := s.scan("a row", from, []byte{0xff}, func(k, v []byte) error {
		gap.From, gap.value = append(gap.From[:0], k...), append(gap.value[:0], v...)
		if rows++; rows%1024 == 0 {
			return ctx.Err()
		}
		return nil
	})
	if err == nil || !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	if len(gap.From) == 0 {
		return nil, err
	}
	gap.To = s.readableAfter(gap.From)
	return gap, nil
}

// readableAfter is the first row after a gap that begins behind a key. The places
// at which a read succeeds are found by steps that double, then by halving.
func (s *Store) readableAfter(k []byte) []byte {
	number := func(k []byte) *big.Int {
		wide := make([]byte, gapStep)
		copy(wide, k)
		return new(big.Int).SetBytes(wide)
	}
	begin := number(k)
	end := number([]byte{0xff})
	try := func(at *big.Int) (row []byte, ok bool) {
		err := s.scan("a row", at.FillBytes(make([]byte, gapStep)), []byte{0xff}, func(k, _ []byte) error {
			row = bytes.Clone(k)
			return ErrStop
		})
		return row, err == nil
	}
	bad, good := new(big.Int).Set(begin), new(big.Int).Set(end)
	for step := big.NewInt(1); ; step.Lsh(step, 1) {
		at := new(big.Int).Add(begin, step)
		if at.Cmp(end) >= 0 {
			break
		}
		if _, ok := try(at); ok {
			good.Set(at)
			break
		}
		bad.Set(at)
	}
	for {
		middle := new(big.Int).Add(bad, good)
		if middle.Rsh(middle, 1); middle.Cmp(bad) == 0 {
			break
		}
		if _, ok := try(middle); ok {
			good.Set(middle)
		} else {
			bad.Set(middle)
		}
	}
	row, _ := try(good)
	return row
}

// mendable says whether all rows that a gap may hide can be had again.
func (g *Gap) mendable(joined bool) error {
	for _, t := range tables {
		if t.prefix == prefixEpoch && !joined { // has no rows
			continue
		}
		if g.touches(t.prefix) && !bytes.Contains(mendable, []byte{t.prefix}) {
			return corrupt("rows of the "+t.name, fmt.Sprintf("unreadable between %x and %x", g.From, g.To))
		}
	}
	return nil
}

// holds says whether a key lies in a gap.
func (g *Gap) holds(k []byte) bool {
	return bytes.Compare(k, g.From) > 0 && (g.To == nil || bytes.Compare(k, g.To) < 0)
}

// touches says whether a gap may hide rows of a table.
func (g *Gap) touches(prefix byte) bool {
	return g.From[0] <= prefix && (g.To == nil || bytes.Compare(g.To, []byte{prefix}) > 0)
}

// heights is the part of a table that is keyed by height which a gap touches.
func (g *Gap) heights(prefix byte, head uint64) (first, last uint64) {
	if last = head; g.From[0] == prefix {
		first = binary.BigEndian.Uint64(g.From[1:9])
	}
	if g.To != nil && g.To[0] == prefix {
		last = min(head, binary.BigEndian.Uint64(g.To[1:9]))
	}
	return first, last
}

// Mend cuts gaps out of a database that nobody else uses, puts back what other rows
// tell, and lists the blocks of which something is still missing. It answers how
// many these are.
// Errors: ErrCorrupt where more is damaged than can be mended, or a failure.
func (s *Store) Mend(ctx context.Context, gaps []Gap) (awaited int, err error) {
	if !s.guard.enter() {
		return 0, ErrClosed
	}
	defer s.guard.leave()
	for _, g := range gaps {
		to := g.To
		if to == nil {
			to = []byte{0xff}
		}
		// The cut begins at the row before the gap: there the table file can be read.
		if err := s.db.Excise(ctx, pebble.KeyRange{Start: g.From, End: to}); err != nil {
			return 0, readError("the rows around a gap", err)
		}
		b := s.db.NewBatch()
		_ = b.Set(g.From, g.value, nil)
		if err := s.apply("the row before a gap", b, true); err != nil {
			return 0, err
		}
	}
	if err := s.mendIndexes(ctx, gaps); err != nil {
		return 0, err
	}
	awaited, err = s.listAwaited(gaps)
	return awaited, errors.Join(err, s.Sync())
}

// mender puts back rows that lay in gaps.
type mender struct {
	s    *Store
	gaps []Gap
}

func (m mender) lost(k []byte) bool {
	return slices.ContainsFunc(m.gaps, func(g Gap) bool { return g.holds(k) })
}

func (m mender) touched(prefixes ...byte) bool {
	return slices.ContainsFunc(m.gaps, func(g Gap) bool { return slices.ContainsFunc(prefixes, g.touches) })
}

// mendIndexes puts back the rows of final blocks, heights by hash and transactions
// that lay in gaps. The hash of a final block is in the header above it.
func (s *Store) mendIndexes(ctx context.Context, gaps []Gap) error {
	m := mender{s, gaps}
	if !m.touched(prefixCanonical, prefixHeight, prefixTransaction) {
		return nil
	}
	head, err := s.Head()
	if err != nil {
		return err
	}
	above := head.Hash // the hash that the header above, or the head, names; zero = none does
	for height := head.Height; ; height-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		hash, err := s.HashByHeight(height)
		switch {
		case err == nil:
		case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrPruned):
			return err
		case !m.lost(heightKey(prefixCanonical, height)):
			hash = crypto.Hash{} // below what is held
		case above == (crypto.Hash{}):
			return corrupt("final blocks", fmt.Sprintf("neither the hash of block %d nor the header above it can be read", height))
		default:
			hash = above
		}
		above = crypto.Hash{}
		if hash != above {
			if above, err = m.block(height, hash); err != nil {
				return err
			}
		}
		if height == 0 {
			return nil
		}
	}
}

// block puts back what the indexes had of a final block, and answers its parent, or
// zero if its header is not here.
func (m mender) block(height uint64, hash crypto.Hash) (parent crypto.Hash, err error) {
	b := m.s.db.NewBatch()
	if k := heightKey(prefixCanonical, height); m.lost(k) {
		_ = b.Set(k, hash[:], nil)
	}
	if k := key(prefixHeight, hash[:]); m.lost(k) {
		_ = b.Set(k, binary.BigEndian.AppendUint64(nil, height), nil)
	}
	header, err := m.s.header(height, hash)
	switch {
	case err == nil:
		parent = header.ParentHash
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrAwaited): // of an earlier repair
		return parent, err
	}
	if m.touched(prefixTransaction) {
		if err := m.places(b, height, hash); err != nil {
			return parent, err
		}
	}
	if b.Empty() {
		return parent, b.Close()
	}
	return parent, m.s.apply("the indexes of a block", b, false)
}

// places puts back the transaction index of a block whose transactions are here.
func (m mender) places(b *pebble.Batch, height uint64, hash crypto.Hash) error {
	raw, err := m.s.get(fmt.Sprintf("body %d", height), blockKey(prefixBody, height, hash))
	if errors.Is(err, ErrNotFound) {
		return nil // Refill brings both
	}
	if err != nil {
		return err
	}
	var txs types.Transactions
	if err := rlp.DecodeBytes(raw, &txs); err != nil {
		return corrupt(fmt.Sprintf("body %d", height), err)
	}
	for i, tx := range txs {
		if k := transactionKey(tx.Hash(), height, i); m.lost(k) {
			_ = b.Set(k, nil, nil)
		}
	}
	return nil
}

// listAwaited notes the final blocks of which a row lay in a gap. Whether one had a
// certificate of its own is not known: those that have none now are noted, too.
func (s *Store) listAwaited(gaps []Gap) (count int, err error) {
	head, err := s.Head()
	if err != nil {
		return 0, err
	}
	b := s.db.NewBatch()
	noted := make(map[uint64]bool)
	for _, g := range gaps {
		for _, prefix := range []byte{prefixBody, prefixHeader, prefixReceipts, prefixCertificate} {
			if !g.touches(prefix) {
				continue
			}
			for height, last := g.heights(prefix, head.Height); height <= last; height++ {
				whole, err := s.whole(height)
				if err != nil {
					return 0, err
				}
				if whole || noted[height] {
					continue
				}
				if height == 0 {
					return 0, corrupt("block 0", "it cannot be read")
				}
				noted[height] = true
				_ = b.Set(heightKey(prefixAwaited, height), nil, nil)
			}
		}
	}
	return len(noted), s.apply("the blocks to be fetched", b, true)
}

// whole says whether every row of the final block at a height is here, if any has
// to be.
func (s *Store) whole(height uint64) (bool, error) {
	hash, err := s.HashByHeight(height)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrPruned) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	keys := [][]byte{blockKey(prefixHeader, height, hash)}
	if height > 0 {
		keys = append(keys, heightKey(prefixCertificate, height))
	}
	if height == 0 || height >= s.FirstBody() {
		keys = append(keys, blockKey(prefixBody, height, hash), heightKey(prefixReceipts, height))
	}
	for _, k := range keys {
		if held, err := s.has("a row of a block", k); err != nil || !held {
			return false, err
		}
	}
	return true, nil
}

// Awaited are the heights of the final blocks that were damaged and have to be
// fetched, in rising order; their rows are answered with ErrAwaited.
func (v View) Awaited() ([]uint64, error) {
	var heights []uint64
	err := v.table("blocks to be fetched", prefixAwaited, 8, func(k, _ []byte) error {
		heights = append(heights, binary.BigEndian.Uint64(k))
		return nil
	})
	return heights, err
}

// awaited is ErrAwaited instead of an ErrNotFound of a block that has to be
// fetched.
func (v View) awaited(err error, height uint64) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	waits, failed := v.has("blocks to be fetched", heightKey(prefixAwaited, height))
	if failed != nil {
		return failed
	}
	if waits {
		return fmt.Errorf("block %d: %w", height, ErrAwaited)
	}
	return err
}

// Refill puts back a block that was awaited, without waiting for the disk; of one
// that was pruned meanwhile, what pruning leaves. That block and receipts are right
// by the hash of the final block is the caller's to check. Errors: ErrOutOfOrder for another block than the awaited one, or a failure.
func (s *Store) Refill(f Filling) error {
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	height, hash := f.Block.NumberU64(), f.Block.Hash()
	if want, err := s.HashByHeight(height); err != nil {
		return err
	} else if want != hash {
		return fmt.Errorf("%w: block %d is %s, not %s", ErrOutOfOrder, height, want, hash)
	}
	b := s.db.NewBatch()
	if height < s.FirstBody() {
		if err := f.remains(b); err != nil {
			return err
		}
	} else if err := f.rows(b); err != nil {
		return err
	}
	_ = b.Delete(heightKey(prefixAwaited, height), nil)
	return s.apply("a block that was damaged", b, false)
}

// Forgo takes a height from the list of awaited blocks.
func (s *Store) Forgo(height uint64) error {
	b := s.db.NewBatch()
	_ = b.Delete(heightKey(prefixAwaited, height), nil)
	return s.apply("the blocks to be fetched", b, false)
}
