package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// Record is one row of the vote log. The store does not decode it.
type Record struct{ Key, Value []byte }

// RecordRange is the records with From ≤ key < To.
type RecordRange struct{ From, To []byte }

// PutRecords writes records in one synced batch, and counts it in the same batch;
// see Written. When it returns, they and every body put before are durable. It is
// for one goroutine at a time.
func (s *Store) PutRecords(records []Record) error {
	if len(records) == 0 {
		return s.Sync() // an empty batch would not wait for the disk
	}
	b := s.db.NewBatch()
	for _, r := range records {
		_ = b.Set(key(prefixRecord, r.Key), r.Value, nil)
	}
	if err := s.countWritten(b, s.written.Load()+1); err != nil {
		return err
	}
	s.lookAgain(records)
	return nil
}

// lookAgain has forget look at records that lie where all were deleted. It comes
// after they can be read: a commit meanwhile may have looked before that.
func (s *Store) lookAgain(records []Record) {
	s.recordsMu.Lock()
	defer s.recordsMu.Unlock()
	for _, r := range records {
		k := key(prefixRecord, r.Key)
		if bytes.Compare(k, s.forgotten.From) >= 0 && bytes.Compare(k, s.forgotten.To) < 0 {
			s.forgotten.To = k
		}
	}
}

// Written is how many times PutRecords has written, in the whole life of the
// database. Each write of records moves it, so a number below one that was seen
// says that synced records are gone.
func (s *Store) Written() uint64 { return s.written.Load() }

// CarryWritten makes Written of a database that takes the place of another one go
// on from there. It never goes back.
func (s *Store) CarryWritten(from uint64) error {
	if from <= s.written.Load() {
		return nil
	}
	return s.countWritten(s.db.NewBatch(), from)
}

func (s *Store) countWritten(b *pebble.Batch, written uint64) error {
	_ = b.Set(writtenKey, binary.BigEndian.AppendUint64(nil, written), nil)
	if err := s.apply("vote records", b, true); err != nil {
		return err
	}
	s.written.Store(written)
	return nil
}

// PutBody keeps a block by its hash. It does not wait for the disk; the next
// PutRecords or Commit that returns has made it durable. A body that is here
// already is not written again, and one at or below the head that is not final
// is dead and not written at all.
// raw is the RLP of a block; errors: ErrBody, or a failure.
func (s *Store) PutBody(hash crypto.Hash, raw []byte) error {
	header, transactions, err := splitBlock(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if got := crypto.Keccak256(header); got != hash {
		return fmt.Errorf("%w: its header hashes to %s, not %s", ErrBody, got, hash)
	}
	height, err := headerNumber(header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if head := s.head.Load(); head != nil && height <= head.Height {
		return nil
	}
	if held, err := s.HasBody(hash); err != nil || held {
		return err
	}
	b := s.db.NewBatchWithSize(len(raw) + 256)
	setBlock(b, header, transactions, height, hash)
	return s.apply("a block body", b, false)
}

// setBlock writes a header, its transactions, and where they are.
func setBlock(b *pebble.Batch, header, transactions []byte, height uint64, hash crypto.Hash) {
	_ = b.Set(blockKey(prefixBody, height, hash), transactions, nil)
	_ = b.Set(blockKey(prefixHeader, height, hash), header, nil)
	_ = b.Set(key(prefixHeight, hash[:]), binary.BigEndian.AppendUint64(nil, height), nil)
}

// splitBlock takes [header, transactions, []] apart.
func splitBlock(raw []byte) (header, transactions []byte, err error) {
	content, rest, err := rlp.SplitList(raw)
	if err != nil || len(rest) != 0 {
		return nil, nil, fmt.Errorf("not one RLP list: %v", err)
	}
	_, tail, err := rlp.SplitList(content)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	header = content[:len(content)-len(tail)]
	_, uncles, err := rlp.SplitList(tail)
	if err != nil {
		return nil, nil, fmt.Errorf("transactions: %w", err)
	}
	if !bytes.Equal(uncles, rlp.EmptyList) {
		return nil, nil, errors.New("something other than an empty list of uncles follows the transactions")
	}
	return header, tail[:len(tail)-len(uncles)], nil
}

// joinBlock is the inverse of splitBlock.
func joinBlock(header, transactions []byte) []byte {
	size := len(header) + len(transactions) + 1
	out := make([]byte, 0, size+9)
	if size < 56 {
		out = append(out, 0xc0+byte(size))
	} else {
		n := binary.BigEndian.AppendUint64(nil, uint64(size))
		n = bytes.TrimLeft(n, "\x00")
		out = append(append(out, 0xf7+byte(len(n))), n...)
	}
	return append(append(append(out, header...), transactions...), rlp.EmptyList...)
}

// numberField is the place of the height in a header.
const numberField = 8

func headerNumber(header []byte) (uint64, error) {
	fields, _, err := rlp.SplitList(header)
	if err != nil {
		return 0, fmt.Errorf("header: %w", err)
	}
	for i := 0; ; i++ {
		if i == numberField {
			n, _, err := rlp.SplitUint64(fields)
			if err != nil {
				return 0, fmt.Errorf("header number: %w", err)
			}
			return n, nil
		}
		if _, _, fields, err = rlp.Split(fields); err != nil {
			return 0, fmt.Errorf("header field %d: %w", i, err)
		}
	}
}

// AccountRow is one account that a block changed or a transaction of it names.
type AccountRow struct {
	Address      crypto.Address
	Account      *chain.Account // after the block; nil = absent
	Changed      bool           // false: only named
	Transactions []uint32       // rising indexes of the block's transactions that name it
}

// SlotRow is one changed slot of one account; zero deletes it.
type SlotRow struct {
	Address crypto.Address
	Slot    crypto.Hash
	Value   crypto.Hash
}

// CodeRow is new code.
type CodeRow struct {
	Hash crypto.Hash
	Code []byte
}

// NodeRow is one changed trie node. Owner is zero for the account trie and
// keccak256(address) for the storage trie of an account; Path has one nibble a
// byte; a nil Blob deletes.
type NodeRow struct {
	Owner crypto.Hash
	Path  []byte
	Blob  []byte
}

// Commit is all that one final block changes. Sorted rows are written faster.
type Commit struct {
	Hash         crypto.Hash
	Header       *types.Header
	Receipts     types.Receipts
	Transactions []crypto.Hash // hashes, in block order
	Accounts     []AccountRow
	Slots        []SlotRow
	Codes        []CodeRow
	Nodes        []NodeRow

	Certificate []byte // of exactly this block; nil: final through a descendant

	// The rest is set only for the last block of a batch, and only if it has a
	// certificate.
	Floor *Floor        // what the vote log may forget
	Prune []RecordRange // records at or below Floor
}

// Commit writes final blocks, oldest first, in one atomic, synced batch and moves
// the head to the last. Their bodies must have been put. With a Floor, which only
// the last may have, the bodies that can never be final any more go too.
// With Options.Lazy it does not wait for the disk: a power loss takes the newest
// commits, but never one and not those after it, because the log is one sequence.
// Errors: ErrOutOfOrder, ErrNotFound (no body), or a failure.
func (s *Store) Commit(blocks ...*Commit) error {
	old := s.head.Load()
	var row headRow
	if old != nil {
		row = *old
	}
	size, following := 0, old != nil
	for _, c := range blocks {
		height := c.Header.Number.Uint64()
		if !following && height != 0 || following && (height != row.Height+1 || c.Header.ParentHash != row.Hash) {
			return fmt.Errorf("%w: block %d %s on head %d %s", ErrOutOfOrder, height, c.Hash, row.Height, row.Hash)
		}
		if held, err := s.has("header", blockKey(prefixHeader, height, c.Hash)); err != nil {
			return err
		} else if !held {
			return fmt.Errorf("body of block %d %s: %w", height, c.Hash, ErrNotFound)
		}
		row.Height, row.Hash, following = height, c.Hash, true
		size += c.Size()
	}
	b := s.db.NewBatchWithSize(size)
	for _, c := range blocks {
		if err := c.block(b, c.Header.Number.Uint64()); err != nil {
			return err
		}
		c.state(b, c.Header.Number.Uint64(), s.noHistory)
	}
	if last := blocks[len(blocks)-1]; last.Floor != nil {
		if err := s.release(b, *last.Floor, last.Prune); err != nil {
			return err
		}
		if err := s.sweep(b, blocks, old); err != nil {
			return err
		}
		row.Floor, row.swept = *last.Floor, row.Height
	}
	_ = b.Set(headKey, row.encode(), nil)
	if err := s.apply(fmt.Sprintf("block %d", row.Height), b, !s.lazy); err != nil {
		return err
	}
	s.head.Store(&row)
	return nil
}

// Certify gives the head its own certificate and floor, for a head that was
// committed without. Error: ErrOutOfOrder if hash is not the head.
func (s *Store) Certify(hash crypto.Hash, certificate []byte, floor Floor, prune []RecordRange) error {
	old := s.head.Load()
	if old == nil || old.Hash != hash {
		return fmt.Errorf("%w: certificate of %s, which is not the head", ErrOutOfOrder, hash)
	}
	row := *old
	row.Floor = floor
	b := s.db.NewBatch()
	_ = b.Set(heightKey(prefixCertificate, row.Height), certificate, nil)
	if err := s.release(b, floor, prune); err != nil {
		return err
	}
	_ = b.Set(headKey, row.encode(), nil)
	if err := s.apply(fmt.Sprintf("certificate of block %d", row.Height), b, true); err != nil {
		return err
	}
	s.head.Store(&row)
	return nil
}

// release deletes records of the vote log. The floor never moves back.
func (s *Store) release(b *pebble.Batch, floor Floor, prune []RecordRange) error {
	if old := s.head.Load(); old != nil && floor.less(old.Floor) {
		return fmt.Errorf("%w: floor epoch %d view %d is below epoch %d view %d",
			ErrOutOfOrder, floor.Epoch, floor.View, old.Floor.Epoch, old.Floor.View)
	}
	for _, r := range prune {
		if err := s.forget(b, key(prefixRecord, r.From), key(prefixRecord, r.To)); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the records of [from, to), one by one: a tombstone over all of
// them with every block would lie over those of the blocks before, and until the
// memtable is flushed each read would sort them all. What the last call deleted is
// not looked at again.
func (s *Store) forget(b *pebble.Batch, from, to []byte) error {
	s.recordsMu.Lock()
	defer s.recordsMu.Unlock()
	begin := from
	if bytes.Equal(from, s.forgotten.From) && bytes.Compare(s.forgotten.To, to) <= 0 {
		begin = s.forgotten.To
	}
	if err := s.scan("vote records", begin, to, func(k, _ []byte) error {
		return b.Delete(k, nil)
	}); err != nil {
		return err
	}
	s.forgotten = RecordRange{From: from, To: to} // if the batch is not written after all, the first one after the next start deletes these
	return nil
}

func (f Floor) less(g Floor) bool { return f.Epoch < g.Epoch || f.Epoch == g.Epoch && f.View < g.View }

// Size bounds, roughly, the bytes of the batch.
func (c *Commit) Size() int {
	n := 4096 + 24*len(c.Transactions) + 128*len(c.Accounts) + 160*len(c.Slots) + len(c.Certificate)
	for _, r := range c.Nodes {
		n += len(r.Blob) + 48
	}
	return n
}

// block writes what is found by the block's height and its transactions' hashes.
func (c *Commit) block(b *pebble.Batch, height uint64) error {
	_ = b.Set(heightKey(prefixCanonical, height), c.Hash[:], nil)
	if c.Certificate != nil {
		_ = b.Set(heightKey(prefixCertificate, height), c.Certificate, nil)
	}
	outcomes, err := encodeOutcomes(c.Receipts)
	if err != nil {
		return err
	}
	_ = b.Set(heightKey(prefixReceipts, height), outcomes, nil)
	for i, h := range c.Transactions {
		_ = b.Set(transactionKey(h, height, i), nil, nil)
	}
	return nil
}

// state writes the state of the head and its history.
func (c *Commit) state(b *pebble.Batch, height uint64, noHistory bool) {
	value := make([]byte, 0, 256)
	for _, r := range c.Accounts {
		value = appendAccount(append(value[:0], r.Address[:]...), r.Account)
		switch {
		case !r.Changed:
		case r.Account == nil:
			_ = b.Delete(accountKey(r.Address), nil)
		default:
			_ = b.Set(accountKey(r.Address), value, nil)
		}
		if !noHistory {
			_ = b.Set(historyKey(r.Address, height), appendIndexes(value, r.Transactions)[crypto.AddressLength:], nil)
		}
	}
	for _, r := range c.Slots {
		value = appendSlot(value[:0], r)
		v := value[slotRowHeader:]
		if len(v) == 0 {
			_ = b.Delete(slotKey(r.Address, r.Slot), nil)
		} else {
			_ = b.Set(slotKey(r.Address, r.Slot), value, nil)
		}
		if !noHistory {
			_ = b.Set(slotHistoryKey(r.Address, r.Slot, height), v, nil)
		}
	}
	for _, r := range c.Codes {
		_ = b.Set(key(prefixCode, r.Hash[:]), r.Code, nil)
	}
	for _, r := range c.Nodes {
		if r.Blob == nil {
			_ = b.Delete(nodeKey(r.Owner, r.Path), nil)
		} else {
			_ = b.Set(nodeKey(r.Owner, r.Path), r.Blob, nil)
		}
	}
}

// sweep deletes the bodies that can never be final any more: up to the new head
// every other one, and above it those of views up to the floor. At or below the
// height that was swept last they are gone already, and PutBody adds none.
func (s *Store) sweep(b *pebble.Batch, blocks []*Commit, old *headRow) error {
	from := uint64(0)
	if old != nil {
		from = old.swept + 1
	}
	final := make(map[crypto.Hash]bool, len(blocks))
	for _, c := range blocks {
		final[c.Hash] = true
	}
	last := blocks[len(blocks)-1]
	head := last.Header.Number.Uint64()
	return s.scan("headers", heightKey(prefixHeader, from), []byte{prefixHeader + 1}, func(k, v []byte) error {
		height, hash, err := parseBlockKey(k)
		if err != nil {
			return err
		}
		if final[hash] || height > head && aboveFloor(v, *last.Floor) {
			return nil
		}
		if height < blocks[0].Header.Number.Uint64() {
			// Committed before without a floor.
			if at, err := s.HashByHeight(height); err != nil || at == hash {
				return err
			}
		}
		_ = b.Delete(blockKey(prefixBody, height, hash), nil)
		_ = b.Delete(blockKey(prefixHeader, height, hash), nil)
		_ = b.Delete(key(prefixHeight, hash[:]), nil)
		return nil
	})
}

// aboveFloor says whether a block was first proposed in a view above the floor.
// One that does not say when can never be final.
func aboveFloor(header []byte, floor Floor) bool {
	var h types.Header
	if err := rlp.DecodeBytes(header, &h); err != nil {
		return false
	}
	e, err := chain.DecodeExtra(&h)
	if err != nil {
		return false
	}
	return floor.less(Floor{e.Epoch, e.View})
}

// PutMeta keeps a small local value under a name and syncs.
func (s *Store) PutMeta(name string, value []byte) error {
	b := s.db.NewBatch()
	_ = b.Set(key(prefixMeta, []byte(name)), value, nil)
	return s.apply("local value "+name, b, true)
}

// PutLocalTx keeps an own waiting transaction over a restart, without waiting
// for the disk.
func (s *Store) PutLocalTx(hash crypto.Hash, raw []byte) error {
	b := s.db.NewBatch()
	_ = b.Set(key(prefixLocal, hash[:]), raw, nil)
	return s.apply("an own transaction", b, false)
}

// DeleteLocalTx forgets own transactions, without waiting for the disk.
func (s *Store) DeleteLocalTx(hashes ...crypto.Hash) error {
	b := s.db.NewBatch()
	for _, h := range hashes {
		_ = b.Delete(key(prefixLocal, h[:]), nil)
	}
	return s.apply("own transactions", b, false)
}

// Sync makes everything written before it durable.
func (s *Store) Sync() error {
	b := s.db.NewBatch()
	_ = b.LogData(nil, nil)
	return s.apply("a sync", b, true)
}
