package ledger

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Transaction finds a final transaction. Error: ErrNotFound.
func (l *Ledger) Transaction(hash crypto.Hash) (tx *types.Transaction, blockHash crypto.Hash, height, index uint64, err error) {
	places, err := l.st.TxLookup(hash)
	if err != nil {
		return nil, crypto.Hash{}, 0, 0, err
	}
	for _, p := range places {
		tx, blockHash, err := l.TransactionAt(p.Height, uint64(p.Index))
		if errors.Is(err, ErrFuture) || errors.Is(err, errNoIndex) {
			continue // committed, but not yet durable; or a place of another one
		}
		if err != nil {
			return nil, crypto.Hash{}, 0, 0, err
		}
		if tx.Hash() == hash {
			return tx, blockHash, p.Height, uint64(p.Index), nil
		}
	}
	return nil, crypto.Hash{}, 0, 0, fmt.Errorf("transaction %s: %w", hash, ErrNotFound)
}

// errNoIndex says that a block has fewer transactions.
var errNoIndex = fmt.Errorf("no transaction with this index: %w", ErrNotFound)

// TransactionAt is a transaction of a final block, and the block's hash. One of a
// block that is not in the cache is read alone. It is shared and must not be
// changed. Errors: ErrFuture, which is also ErrNotFound; ErrNotFound beyond the
// last transaction.
func (l *Ledger) TransactionAt(height, index uint64) (*types.Transaction, crypto.Hash, error) {
	if err := l.atMost(height); err != nil {
		return nil, crypto.Hash{}, err
	}
	block, _ := l.blocks.get(height)
	if block == nil && l.blocks.askedOften(height) {
		var err error
		if block, err = l.BlockByHeight(height); err != nil {
			return nil, crypto.Hash{}, err
		}
	}
	if block != nil {
		txs := block.Transactions()
		if index >= uint64(len(txs)) {
			return nil, crypto.Hash{}, fmt.Errorf("block %d: %w", height, errNoIndex)
		}
		return txs[index], block.Hash(), nil
	}
	hash, err := l.HashByHeight(height)
	if err != nil {
		return nil, crypto.Hash{}, err
	}
	raw, err := l.st.Body(hash)
	if err != nil {
		return nil, crypto.Hash{}, err
	}
	tx, err := chain.TransactionOf(raw, index)
	if err != nil {
		return nil, crypto.Hash{}, fmt.Errorf("%w: block %d: %w", store.ErrCorrupt, height, err)
	}
	if tx == nil {
		return nil, crypto.Hash{}, fmt.Errorf("block %d: %w", height, errNoIndex)
	}
	return tx, hash, nil
}

// Receipt is that of a transaction where Transaction found it, with every derived
// field filled in. It may be shared and must not be changed. Error: ErrFuture,
// which is also ErrNotFound.
func (l *Ledger) Receipt(tx *types.Transaction, height, index uint64) (*types.Receipt, error) {
	if err := l.atMost(height); err != nil {
		return nil, err
	}
	if block, _ := l.blocks.get(height); block != nil {
		receipts, err := l.Receipts(height)
		if err != nil {
			return nil, err
		}
		if index >= uint64(len(receipts)) {
			return nil, fmt.Errorf("block %d: %w", height, errNoIndex)
		}
		return receipts[index], nil
	}
	header, err := l.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	outcomes, err := l.st.Receipts(height)
	if err != nil {
		return nil, err
	}
	if index >= uint64(len(outcomes)) {
		return nil, fmt.Errorf("%w: block %d has %d receipts, and a transaction %d", store.ErrCorrupt, height, len(outcomes), index)
	}
	at := chain.ReceiptPlace{Index: uint(index)}
	for _, o := range outcomes[:index] {
		at.GasBefore += o.GasUsed
		at.LogsBefore += uint(len(o.Logs))
	}
	o := outcomes[index]
	r := &types.Receipt{Status: o.Status, CumulativeGasUsed: at.GasBefore + o.GasUsed, Logs: o.Logs}
	chain.DeriveReceipt(l.cfg, header, tx, r, at)
	return r, nil
}
