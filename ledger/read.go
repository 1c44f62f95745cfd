package ledger

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// atMost says that a height is above the final head.
func (l *Ledger) atMost(height uint64) error {
	if head := l.head.Load().info.Height; height > head {
		return fmt.Errorf("%w: %d, head is %d: %w", ErrFuture, height, head, ErrNotFound)
	}
	return nil
}

// HashByHeight is the hash of a final block.
// Errors: ErrFuture, which is also ErrNotFound.
func (l *Ledger) HashByHeight(height uint64) (crypto.Hash, error) {
	h := l.head.Load()
	if height == h.info.Height {
		return h.info.Hash, nil
	}
	if err := l.atMost(height); err != nil {
		return crypto.Hash{}, err
	}
	return l.st.HashByHeight(height)
}

// HeightByHash is the height of a final block. Error: ErrNotFound.
func (l *Ledger) HeightByHash(hash crypto.Hash) (uint64, error) {
	if h := l.head.Load(); h.info.Hash == hash {
		return h.info.Height, nil
	}
	height, err := l.st.HeightByHash(hash)
	if err == nil {
		err = l.atMost(height) // committed, but not yet durable
	}
	return height, err
}

// HeaderByHeight is the header of a final block. It must not be changed.
// Errors: ErrFuture, which is also ErrNotFound.
func (l *Ledger) HeaderByHeight(height uint64) (*types.Header, error) {
	if h := l.head.Load(); height == h.info.Height {
		return h.header, nil
	}
	if err := l.atMost(height); err != nil {
		return nil, err
	}
	if b, _ := l.blocks.get(height); b != nil {
		return b.Header(), nil
	}
	h, _, err := l.st.HeaderByHeight(height)
	return h, err
}

// HeaderByHash is the header of a final block. Error: ErrNotFound.
func (l *Ledger) HeaderByHash(hash crypto.Hash) (*types.Header, error) {
	height, err := l.HeightByHash(hash)
	if err != nil {
		return nil, err
	}
	return l.HeaderByHeight(height)
}

// BlockByHeight is a final block. It is shared and must not be changed.
// Errors: ErrFuture, which is also ErrNotFound.
func (l *Ledger) BlockByHeight(height uint64) (*types.Block, error) {
	if err := l.atMost(height); err != nil {
		return nil, err
	}
	if b, _ := l.blocks.get(height); b != nil {
		return b, nil
	}
	hash, err := l.HashByHeight(height)
	if err != nil {
		return nil, err
	}
	raw, err := l.st.Body(hash)
	if err != nil {
		return nil, err
	}
	b, err := chain.DecodeBlock(raw, &l.cfg.Rules)
	if err != nil {
		return nil, fmt.Errorf("%w: block %d: %w", store.ErrCorrupt, height, err)
	}
	l.blocks.put(b, nil)
	return b, nil
}

// BlockByHash is a final block. Error: ErrNotFound.
func (l *Ledger) BlockByHash(hash crypto.Hash) (*types.Block, error) {
	height, err := l.HeightByHash(hash)
	if err != nil {
		return nil, err
	}
	return l.BlockByHeight(height)
}

// BodyBytes is the RLP of a block, proposed or final. Error: ErrNotFound.
func (l *Ledger) BodyBytes(hash crypto.Hash) ([]byte, error) { return l.st.Body(hash) }

// Receipts are those of a final block with every derived field filled in. They
// are shared and must not be changed.
// Errors: ErrFuture, which is also ErrNotFound.
func (l *Ledger) Receipts(height uint64) (types.Receipts, error) {
	block, err := l.BlockByHeight(height)
	if err != nil {
		return nil, err
	}
	if _, receipts := l.blocks.get(height); receipts != nil {
		return receipts, nil
	}
	outcomes, err := l.st.Receipts(height)
	if err != nil {
		return nil, err
	}
	txs := block.Transactions()
	if len(outcomes) != len(txs) {
		return nil, fmt.Errorf("%w: block %d has %d transactions and %d receipts", store.ErrCorrupt, height, len(txs), len(outcomes))
	}
	receipts, used := make(types.Receipts, len(txs)), uint64(0)
	for i, o := range outcomes {
		used += o.GasUsed
		// The outcome of a run is one; its logs are never shared.
		receipts[i] = &types.Receipt{Status: o.Status, CumulativeGasUsed: used, Logs: o.Logs}
	}
	chain.DeriveReceipts(l.cfg, block.Header(), txs, receipts)
	l.blocks.put(block, receipts)
	return receipts, nil
}

// Certificate is the finalization of exactly the block at height, as it was
// given to Finalize; nil if the block is final only through a descendant.
func (l *Ledger) Certificate(height uint64) ([]byte, error) {
	if err := l.atMost(height); err != nil {
		return nil, err
	}
	c, err := l.st.Certificate(height)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return c, err
}

// CertificateAtOrAbove is the finalization that makes the block at height final:
// its own or that of its nearest descendant with one, which is at height at.
// Error: ErrNotFound, as for block 0 of a chain without other blocks.
func (l *Ledger) CertificateAtOrAbove(height uint64) (certificate []byte, at uint64, err error) {
	if err := l.atMost(height); err != nil {
		return nil, 0, err
	}
	certificate, at, err = l.st.CertificateAtOrAbove(height)
	if err == nil {
		err = l.atMost(at)
	}
	return certificate, at, err
}

// Account is an account at the final head; nil = absent. With Slot it makes the
// ledger a chain.Reader of the newest final state.
func (l *Ledger) Account(a crypto.Address) (*chain.Account, error) {
	acc, _, err := l.accountAtHead(a)
	return acc, err
}

// accountAtHead is an account at the head, and that head.
func (l *Ledger) accountAtHead(a crypto.Address) (*chain.Account, *head, error) {
	before := l.commits.Load()
	h := l.head.Load()
	if before%2 == 0 {
		acc, err := l.st.Account(a)
		if l.commits.Load() == before {
			return acc, h, err
		}
	}
	// A commit is under way: the newest state may be ahead of the head.
	acc, err := l.st.AccountAt(a, h.info.Height)
	if !errors.Is(err, ErrNoHistory) {
		return acc, h, err
	}
	l.commitMu.RLock()
	defer l.commitMu.RUnlock()
	acc, err = l.st.Account(a)
	return acc, l.head.Load(), err
}

// AccountAt is an account after the final block at height; nil = absent.
// Errors: ErrFuture; ErrNoHistory below the head on a node without history.
func (l *Ledger) AccountAt(a crypto.Address, height uint64) (*chain.Account, error) {
	if err := l.atMost(height); err != nil {
		return nil, err
	}
	if acc, h, err := l.accountAtHead(a); err != nil || h.info.Height == height {
		return acc, err
	}
	return l.st.AccountAt(a, height)
}

// Slot is the value of a storage slot at the final head.
func (l *Ledger) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	v, _, err := l.slotAtHead(a, slot)
	return v, err
}

func (l *Ledger) slotAtHead(a crypto.Address, slot crypto.Hash) (crypto.Hash, *head, error) {
	l.commitMu.RLock()
	defer l.commitMu.RUnlock()
	v, err := l.st.Slot(a, slot)
	return v, l.head.Load(), err
}

// SlotAt is the value of a storage slot after the final block at height.
// Errors: as AccountAt.
func (l *Ledger) SlotAt(a crypto.Address, slot crypto.Hash, height uint64) (crypto.Hash, error) {
	if err := l.atMost(height); err != nil {
		return crypto.Hash{}, err
	}
	if v, h, err := l.slotAtHead(a, slot); err != nil || h.info.Height == height {
		return v, err
	}
	return l.st.SlotAt(a, slot, height)
}

// Code is the code with a hash; empty for chain.EmptyCodeHash.
// Error: ErrNotFound.
func (l *Ledger) Code(hash crypto.Hash) ([]byte, error) {
	if hash == chain.EmptyCodeHash {
		return nil, nil
	}
	return l.st.Code(hash)
}

// History answers up to limit final blocks at or below height that changed an
// account or whose transactions name it, newest first. The next page starts
// below the last one's height. Error: ErrNoHistory.
func (l *Ledger) History(a crypto.Address, height uint64, limit int) ([]store.Touch, error) {
	return l.st.AddressHistory(a, min(height, l.head.Load().info.Height), limit)
}
