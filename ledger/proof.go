package ledger

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// AccountProof proves an account, or its absence, against the state root of the
// final block at Height (EIP-1186).
type AccountProof struct {
	Height  uint64
	Root    crypto.Hash // state root of the block
	Address crypto.Address
	Account *chain.Account // nil = proven absent
	Proof   [][]byte       // RLP nodes from the root; key keccak256(Address)
	Storage []SlotProof    // one for each slot asked for, in order
}

// SlotProof proves a slot against Account.StorageRoot. Proof is empty for an
// account without storage.
type SlotProof struct {
	Slot  crypto.Hash
	Value crypto.Hash
	Proof [][]byte // key keccak256(Slot)
}

// Provable is the lowest height whose proofs are available.
func (l *Ledger) Provable() uint64 {
	// A commit adds to old before it moves the head: one too many is counted
	// meanwhile, which a proof finds out.
	h, n := l.head.Load().info.Height, l.old.count()
	return h - min(h, n)
}

// Proof proves an account and slots of it after the final block at height.
// Errors: ErrFuture, ErrProofPruned, or a failure.
func (l *Ledger) Proof(a crypto.Address, slots []crypto.Hash, height uint64) (*AccountProof, error) {
	h := l.head.Load()
	accounts := h.accounts
	if height != h.info.Height {
		if height < l.Provable() {
			return nil, l.pruned(height)
		}
		header, err := l.HeaderByHeight(height)
		if err != nil {
			return nil, err
		}
		accounts = trie.New(header.Root, l.proofSource(crypto.Hash{}))
	}
	p, err := l.prove(accounts, a, slots)
	var missing *trie.MissingNodeError
	switch {
	case err == nil:
		p.Height = height
		return p, nil
	case !errors.As(err, &missing):
		return nil, fmt.Errorf("prove account %s at height %d: %w", a, height, err)
	case l.overtaken(height):
		return nil, l.pruned(height)
	default:
		return nil, fmt.Errorf("prove account %s at height %d: %w: %w", a, height, store.ErrCorrupt, err)
	}
}

// overtaken says whether the proofs of a height ceased to be available. A commit
// drops the oldest nodes before it moves the head: its end is waited for.
func (l *Ledger) overtaken(height uint64) bool {
	l.commitMu.RLock()
	defer l.commitMu.RUnlock()
	return height < l.Provable()
}

func (l *Ledger) pruned(height uint64) error {
	return fmt.Errorf("%w: height %d, the lowest is %d", ErrProofPruned, height, l.Provable())
}

func (l *Ledger) prove(accounts *trie.Trie, a crypto.Address, slots []crypto.Hash) (*AccountProof, error) {
	key := crypto.Keccak256(a[:])
	p := &AccountProof{Root: accounts.Hash(), Address: a}
	var err error
	if p.Proof, err = accounts.Prove(key[:]); err != nil {
		return nil, err
	}
	leaf, err := accounts.Get(key[:])
	if err != nil {
		return nil, err
	}
	root := trie.EmptyRoot
	if leaf != nil {
		if p.Account, err = chain.DecodeAccount(leaf); err != nil {
			return nil, err
		}
		root = p.Account.StorageRoot
	}
	storage := trie.New(root, l.proofSource(key))
	for _, slot := range slots {
		s, err := proveSlot(storage, slot)
		if err != nil {
			return nil, err
		}
		p.Storage = append(p.Storage, s)
	}
	return p, nil
}

func proveSlot(storage *trie.Trie, slot crypto.Hash) (SlotProof, error) {
	key := crypto.Keccak256(slot[:])
	s := SlotProof{Slot: slot}
	var err error
	if s.Proof, err = storage.Prove(key[:]); err != nil {
		return s, err
	}
	leaf, err := storage.Get(key[:])
	if err != nil || leaf == nil {
		return s, err
	}
	_, value, _, err := rlp.Split(leaf)
	if err != nil || len(value) > crypto.HashLength {
		return s, fmt.Errorf("%w: leaf of slot %s", store.ErrCorrupt, slot)
	}
	copy(s.Value[crypto.HashLength-len(value):], value)
	return s, nil
}
