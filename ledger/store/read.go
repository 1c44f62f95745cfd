package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// View reads the database: the newest version through a Store, one fixed version
// through a Snapshot. Byte slices it answers are the caller's own.
type View struct {
	r         pebble.Reader
	guard     *guard
	noHistory bool
	bounds    *atomic.Pointer[Bounds]
}

// Snapshot is a View of one moment, for readers that need several keys to fit
// together. It must be closed, soon: it holds back compactions.
type Snapshot struct {
	View
	close func() error
}

// Snapshot opens a view of this moment.
func (s *Store) Snapshot() (*Snapshot, error) {
	if !s.guard.enter() {
		return nil, ErrClosed
	}
	snap := s.db.NewSnapshot()
	// The snapshot keeps the guard entered, so that Close waits for it; its own
	// reads have a guard that is never closed.
	out := &Snapshot{
		View:  View{r: snap, guard: &guard{}, noHistory: s.noHistory, bounds: new(atomic.Pointer[Bounds])},
		close: func() error { defer s.guard.leave(); return snap.Close() },
	}
	if err := out.readBounds(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// Close ends the snapshot. Call it once.
func (s *Snapshot) Close() error { return s.close() }

// get answers a copy of the value. Errors: ErrNotFound, ErrCorrupt, ErrClosed.
func (v View) get(what string, k []byte) ([]byte, error) {
	if !v.guard.enter() {
		return nil, ErrClosed
	}
	defer v.guard.leave()
	value, closer, err := v.r.Get(k)
	if err != nil {
		return nil, readError(what, err)
	}
	out := append(make([]byte, 0, len(value)), value...)
	return out, closer.Close()
}

func (v View) has(what string, k []byte) (bool, error) {
	if !v.guard.enter() {
		return false, ErrClosed
	}
	defer v.guard.leave()
	_, closer, err := v.r.Get(k)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return false, nil
	case err != nil:
		return false, readError(what, err)
	}
	return true, closer.Close()
}

// ErrStop ends a scan early and without an error when its function answers it.
var ErrStop = errors.New("stop")

// scan calls f with each row of from ≤ key < to in order. The slices are f's
// only until it returns.
func (v View) scan(what string, from, to []byte, f func(k, v []byte) error) error {
	return v.iterate(what, from, to, func(it *pebble.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			if err := f(it.Key(), it.Value()); err != nil {
				return err
			}
		}
		return nil
	})
}

// scanBack is scan from the last row to the first.
func (v View) scanBack(what string, from, to []byte, f func(k, v []byte) error) error {
	return v.iterate(what, from, to, func(it *pebble.Iterator) error {
		for ok := it.Last(); ok; ok = it.Prev() {
			if err := f(it.Key(), it.Value()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v View) iterate(what string, from, to []byte, f func(*pebble.Iterator) error) error {
	if !v.guard.enter() {
		return ErrClosed
	}
	defer v.guard.leave()
	it, err := v.r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return readError(what, err)
	}
	err = f(it)
	if cerr := it.Close(); cerr != nil {
		return readError(what, cerr)
	}
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// headRow is the head as it is on disk. swept is the height up to which dead
// bodies are gone.
type headRow struct {
	Head
	swept uint64
}

func (r *headRow) String() string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%d %s", r.Height, r.Hash)
}

func (r *headRow) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, r.Height)
	b = append(b, r.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Floor.Epoch)
	b = binary.BigEndian.AppendUint64(b, r.Floor.View)
	return binary.BigEndian.AppendUint64(b, r.swept)
}

func (v View) headRow() (headRow, error) {
	b, err := v.get("head", headKey)
	if err != nil {
		return headRow{}, err
	}
	if len(b) != 60 {
		return headRow{}, corrupt("head", fmt.Sprintf("%x", b))
	}
	return headRow{
		Head: Head{
			Height: binary.BigEndian.Uint64(b), Hash: crypto.Hash(b[8:40]),
			Floor: Floor{Epoch: binary.BigEndian.Uint32(b[40:]), View: binary.BigEndian.Uint64(b[44:])},
		},
		swept: binary.BigEndian.Uint64(b[52:]),
	}, nil
}

// Head is the last committed block and the floor. Error: ErrNotFound before
// block 0.
func (v View) Head() (Head, error) {
	r, err := v.headRow()
	return r.Head, err
}

// HashByHeight is the hash of the final block at height. Errors: ErrNotFound,
// ErrPruned.
func (v View) HashByHeight(height uint64) (crypto.Hash, error) {
	b, err := v.get(fmt.Sprintf("block %d", height), heightKey(prefixCanonical, height))
	if err != nil {
		return crypto.Hash{}, v.pruned(err, "the block", height)
	}
	if len(b) != 32 {
		return crypto.Hash{}, corrupt(fmt.Sprintf("hash of block %d", height), fmt.Sprintf("%x", b))
	}
	return crypto.Hash(b), nil
}

// heldHeight is the height of a block that is held, final or not.
func (v View) heldHeight(hash crypto.Hash) (uint64, error) {
	b, err := v.get(fmt.Sprintf("block %s", hash), key(prefixHeight, hash[:]))
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, corrupt(fmt.Sprintf("height of block %s", hash), fmt.Sprintf("%x", b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// HeightByHash is the height of a final block.
func (v View) HeightByHash(hash crypto.Hash) (uint64, error) {
	height, err := v.heldHeight(hash)
	if err != nil {
		return 0, err
	}
	final, err := v.HashByHeight(height)
	if err == nil && final != hash {
		err = fmt.Errorf("block %s is not final: %w", hash, ErrNotFound)
	}
	return height, err
}

// HeaderByHeight is the header of the final block at height, and its hash.
// Errors: ErrNotFound, ErrPruned.
func (v View) HeaderByHeight(height uint64) (*types.Header, crypto.Hash, error) {
	hash, err := v.HashByHeight(height)
	if err != nil {
		return nil, hash, err
	}
	h, err := v.header(height, hash)
	return h, hash, err
}

func (v View) header(height uint64, hash crypto.Hash) (*types.Header, error) {
	raw, err := v.get(fmt.Sprintf("header %d", height), blockKey(prefixHeader, height, hash))
	if err != nil {
		return nil, v.awaited(err, height)
	}
	h := new(types.Header)
	if err := rlp.DecodeBytes(raw, h); err != nil {
		return nil, corrupt(fmt.Sprintf("header %d", height), err)
	}
	return h, nil
}

// HasBody says whether a block is held with its transactions, proposed or final.
func (v View) HasBody(hash crypto.Hash) (bool, error) {
	height, err := v.heldHeight(hash)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case height >= v.FirstBody():
		return true, nil
	}
	return v.has("block "+hash.String(), blockKey(prefixBody, height, hash))
}

// Body is the RLP of a block, proposed or final. Errors: ErrNotFound, ErrPruned.
func (v View) Body(hash crypto.Hash) ([]byte, error) {
	height, err := v.heldHeight(hash)
	if err != nil {
		return nil, err
	}
	header, err := v.get(fmt.Sprintf("header %d", height), blockKey(prefixHeader, height, hash))
	if err != nil {
		return nil, v.awaited(err, height)
	}
	transactions, err := v.get(fmt.Sprintf("body %d", height), blockKey(prefixBody, height, hash))
	if err != nil {
		return nil, v.awaited(v.pruned(err, "the block", height), height)
	}
	return joinBlock(header, transactions), nil
}

// Receipts are the outcomes of the final block at height, one a transaction.
// Errors: ErrNotFound, ErrPruned.
func (v View) Receipts(height uint64) ([]Outcome, error) {
	b, err := v.get(fmt.Sprintf("receipts of block %d", height), heightKey(prefixReceipts, height))
	if err != nil {
		return nil, v.awaited(v.pruned(err, "the receipts", height), height)
	}
	return decodeOutcomes(b)
}

// Certificate is that of exactly the block at height.
// Errors: ErrNotFound when it is final only through a descendant, ErrAwaited.
func (v View) Certificate(height uint64) ([]byte, error) {
	c, err := v.get(fmt.Sprintf("certificate of block %d", height), heightKey(prefixCertificate, height))
	return c, v.awaited(err, height)
}

// CertificateAtOrAbove is the first certificate at or above height, and the
// height it is of.
func (v View) CertificateAtOrAbove(height uint64) (certificate []byte, at uint64, err error) {
	err = v.scan("certificates", heightKey(prefixCertificate, height), []byte{prefixCertificate + 1}, func(k, value []byte) error {
		if len(k) != 9 {
			return corrupt("certificate key", fmt.Sprintf("%x", k))
		}
		certificate, at = bytes.Clone(value), binary.BigEndian.Uint64(k[1:])
		return ErrStop
	})
	if err == nil && certificate == nil {
		err = fmt.Errorf("certificate at or above height %d: %w", height, ErrNotFound)
	}
	return certificate, at, err
}

// Place is where a transaction may be: equal hash prefixes make candidates.
type Place struct {
	Height uint64
	Index  uint32
}

// TxLookup answers the places of final transactions whose hash starts like
// this one, nearly always none or one. The caller compares with the body.
func (v View) TxLookup(hash crypto.Hash) ([]Place, error) {
	var places []Place
	from := key(prefixTransaction, hash[:transactionPrefixLength])
	err := v.scan("transaction index", from, after(from), func(k, _ []byte) error {
		p, err := parsePlace(k)
		places = append(places, p)
		return err
	})
	return places, err
}

// parsePlace reads the place in a key of the transaction index.
func parsePlace(k []byte) (Place, error) {
	bad := func() (Place, error) { return Place{}, corrupt("transaction index", fmt.Sprintf("%x", k)) }
	if len(k) < 1+transactionPrefixLength {
		return bad()
	}
	rest := k[1+transactionPrefixLength:]
	height, n := binary.Uvarint(rest)
	if n <= 0 {
		return bad()
	}
	index, m := binary.Uvarint(rest[n:])
	if m <= 0 || n+m != len(rest) || index > 1<<32-1 {
		return bad()
	}
	return Place{height, uint32(index)}, nil
}

// Account is an account at the head; nil = absent.
func (v View) Account(a crypto.Address) (*chain.Account, error) {
	k := accountKey(a)
	b, err := v.get("account", k)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, acc, err := parseAccountRow(k[1:], b)
	return acc, err
}

// AccountAt is an account after the final block at height; nil = absent. One
// seek, whatever the height. Errors: ErrNoHistory, ErrPruned.
func (v View) AccountAt(a crypto.Address, height uint64) (acc *chain.Account, err error) {
	if v.noHistory {
		return nil, ErrNoHistory
	}
	from, to := historyKey(a, 0), append(historyKey(a, height), 0)
	err = v.scanBack("account history", from, to, func(_, value []byte) error {
		if acc, _, err = parseAccount(value); err != nil {
			return err
		}
		return ErrStop
	})
	if err == nil {
		err = v.hasState(height)
	}
	if err != nil {
		return nil, err
	}
	return acc, nil
}

// Touch is one block that changed an account or whose transactions name it.
type Touch struct {
	Height       uint64
	Account      *chain.Account // after the block; nil = absent
	Transactions []uint32       // their indexes in the block
}

// AddressHistory answers up to limit touches of an account at or below height and
// above Base, newest first. Error: ErrNoHistory.
func (v View) AddressHistory(a crypto.Address, height uint64, limit int) ([]Touch, error) {
	if v.noHistory {
		return nil, ErrNoHistory
	}
	var out []Touch
	if limit <= 0 {
		return nil, nil
	}
	from := historyKey(a, 0)
	if base := v.Base(); base > 0 {
		if height <= base {
			return nil, nil
		}
		from = historyKey(a, base+1) // at base each account has a row, touched or not
	}
	err := v.scanBack("account history", from, append(historyKey(a, height), 0), func(k, value []byte) error {
		t := Touch{Height: binary.BigEndian.Uint64(k[len(k)-8:])}
		acc, rest, err := parseAccount(value)
		if err != nil {
			return err
		}
		t.Account = acc
		if t.Transactions, err = parseIndexes(rest); err != nil {
			return err
		}
		if out = append(out, t); len(out) == limit {
			return ErrStop
		}
		return nil
	})
	return out, err
}

// Slot is a slot's value at the head.
func (v View) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	k := slotKey(a, slot)
	b, err := v.get("slot", k)
	if errors.Is(err, ErrNotFound) {
		return crypto.Hash{}, nil
	}
	if err != nil {
		return crypto.Hash{}, err
	}
	r, err := parseSlotRow(k[1:], b)
	return r.Value, err
}

// SlotAt is a slot's value after the final block at height. Errors: ErrNoHistory,
// ErrPruned.
func (v View) SlotAt(a crypto.Address, slot crypto.Hash, height uint64) (value crypto.Hash, err error) {
	if v.noHistory {
		return value, ErrNoHistory
	}
	from, to := slotHistoryKey(a, slot, 0), append(slotHistoryKey(a, slot, height), 0)
	err = v.scanBack("slot history", from, to, func(_, b []byte) error {
		if value, err = bytesToHash(b, nil); err != nil {
			return err
		}
		return ErrStop
	})
	if err == nil {
		err = v.hasState(height)
	}
	if err != nil {
		return crypto.Hash{}, err
	}
	return value, nil
}

func bytesToHash(b []byte, err error) (crypto.Hash, error) {
	if err == nil && len(b) > 32 {
		err = corrupt("slot", fmt.Sprintf("%x", b))
	}
	if err != nil {
		return crypto.Hash{}, err
	}
	var h crypto.Hash
	copy(h[32-len(b):], b)
	return h, nil
}

// Code is code by its hash.
func (v View) Code(hash crypto.Hash) ([]byte, error) {
	return v.get("code "+hash.String(), key(prefixCode, hash[:]))
}

// EpochSet is the validator set of an epoch that began below Base, RLP of
// [[address, peerId, name], …]; later ones are in the history of the registry.
// Error: ErrNotFound.
func (v View) EpochSet(epoch uint32) ([]byte, error) {
	return v.get(fmt.Sprintf("validators of epoch %d", epoch), epochKey(epoch))
}

// Node is the trie node at a path in the head's version; see NodeRow.
func (v View) Node(owner crypto.Hash, path []byte) ([]byte, error) {
	return v.get("trie node", nodeKey(owner, path))
}

// Records calls f with every record of the vote log in key order. The slices
// are f's own.
func (v View) Records(f func(key, value []byte) error) error {
	return v.scan("vote records", []byte{prefixRecord}, []byte{prefixRecord + 1}, func(k, value []byte) error {
		return f(bytes.Clone(k[1:]), bytes.Clone(value))
	})
}

// Meta is a small local value by name.
func (v View) Meta(name string) ([]byte, error) {
	return v.get("local value "+name, key(prefixMeta, []byte(name)))
}

// LocalTx is an own waiting transaction.
type LocalTx struct {
	Hash crypto.Hash
	Raw  []byte
}

// LocalTxs are the own waiting transactions, by hash.
func (v View) LocalTxs() ([]LocalTx, error) {
	var out []LocalTx
	err := v.scan("own transactions", []byte{prefixLocal}, []byte{prefixLocal + 1}, func(k, value []byte) error {
		if len(k) != 33 {
			return corrupt("own transaction key", fmt.Sprintf("%x", k))
		}
		out = append(out, LocalTx{crypto.Hash(k[1:]), bytes.Clone(value)})
		return nil
	})
	return out, err
}
