package snapshot

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// What an open checkpoint takes, if the caller does not say otherwise.
const (
	sourceCacheBytes = 8 << 20
	sourceOpenFiles  = 128
)

// Source reads one checkpoint. Every method may be called from any goroutine.
type Source struct {
	r      *store.Reader
	header *types.Header
	closed func() // of the Dir that it is from
}

// Open opens a checkpoint to read, with small caches unless o says otherwise.
// Errors: those of store.OpenReader.
func Open(dir string, o store.Options) (*Source, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = sourceCacheBytes
	}
	if o.MaxOpenFiles == 0 {
		o.MaxOpenFiles = sourceOpenFiles
	}
	r, err := store.OpenReader(dir, o)
	if err != nil {
		return nil, err
	}
	at, err := r.Head()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	header, hash, err := r.HeaderByHeight(at.Height)
	if err == nil && (hash != at.Hash || header.Hash() != hash) {
		err = fmt.Errorf("%w: the head of %s is not its header", store.ErrCorrupt, dir)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &Source{r: r, header: header}, nil
}

// Header is that of the block whose state this is. It must not be changed.
func (s *Source) Header() *types.Header { return s.header }

// Accounts answers the accounts from the first whose key is from or above to the
// first whose key is to or above, or fewer if they take more than maxBytes, of
// which one always fits and no more than MaxRangeBytes count. The last may be
// above to: it proves that there is none between. No account: none has the key
// from or above. Error: a failure to read, store.ErrClosed.
func (s *Source) Accounts(from, to crypto.Hash, maxBytes int) (*AccountRange, error) {
	r, room := &AccountRange{}, newRoom(maxBytes)
	last := from
	err := s.r.AccountsFrom(from, func(key crypto.Hash, a crypto.Address, acc *chain.Account) error {
		leaf := AccountLeaf{Address: a, Account: acc.Encode()}
		if !room.take(len(leaf.Account) + crypto.AddressLength) {
			return store.ErrStop
		}
		r.Accounts, last = append(r.Accounts, leaf), key
		if key.Cmp(to) >= 0 {
			return store.ErrStop
		}
		return nil
	})
	if err == nil {
		r.Proof, err = s.prove(crypto.Hash{}, s.header.Root, from, last)
	}
	if err != nil {
		return nil, fmt.Errorf("accounts from %s: %w", from, err)
	}
	return r, nil
}

// Slots is Accounts for the slots of an account. An account without storage has
// no slots and no proof.
func (s *Source) Slots(owner crypto.Address, from, to crypto.Hash, maxBytes int) (*SlotRange, error) {
	r, room := &SlotRange{}, newRoom(maxBytes)
	acc, err := s.r.Account(owner)
	if err != nil {
		return nil, fmt.Errorf("slots of %s: %w", owner, err)
	}
	if acc == nil || acc.StorageRoot == trie.EmptyRoot {
		return r, nil
	}
	last, of := from, crypto.Keccak256(owner[:])
	err = s.r.SlotsFrom(of, from, func(key, slot, value crypto.Hash) error {
		leaf := SlotLeaf{Slot: slot, Value: trim(value)}
		if !room.take(len(leaf.Value) + crypto.HashLength) {
			return store.ErrStop
		}
		r.Slots, last = append(r.Slots, leaf), key
		if key.Cmp(to) >= 0 {
			return store.ErrStop
		}
		return nil
	})
	if err == nil {
		r.Proof, err = s.prove(of, acc.StorageRoot, from, last)
	}
	if err != nil {
		return nil, fmt.Errorf("slots of %s from %s: %w", owner, from, err)
	}
	return r, nil
}

// Code is code by its hash. Error: store.ErrNotFound.
func (s *Source) Code(hash crypto.Hash) ([]byte, error) { return s.r.Code(hash) }

// Close waits for reads under way and closes the checkpoint. Call it once.
func (s *Source) Close() error {
	err := s.r.Close()
	if s.closed != nil {
		s.closed()
	}
	return err
}

func (s *Source) prove(owner, root, from, last crypto.Hash) ([][]byte, error) {
	t := trie.New(root, func(path []byte, _ crypto.Hash) ([]byte, error) { return s.r.Node(owner, path) })
	return t.ProveRange(from, last)
}

// trim cuts leading zeros.
func trim(value crypto.Hash) []byte {
	i := 0
	for i < len(value) && value[i] == 0 {
		i++
	}
	return append([]byte(nil), value[i:]...)
}

// room counts the leaves of an answer.
type room struct {
	left  int
	first bool
}

// leafOverhead is what RLP adds to a leaf, at most.
const leafOverhead = 8

func newRoom(maxBytes int) *room { return &room{left: min(maxBytes, MaxRangeBytes), first: true} }

// take says whether a leaf still fits; the first always does.
func (r *room) take(size int) bool {
	size += leafOverhead
	if size > r.left && !r.first {
		return false
	}
	r.left -= size
	r.first = false
	return true
}
