package node

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// locals are the transactions that came through this node's own JSON-RPC and are
// not final yet. They are kept in the store, so that a restart forgets none that
// a wallet was told about.
type locals struct {
	mu     sync.Mutex
	hashes map[crypto.Hash]struct{}
}

// submit takes a transaction from a wallet: pool first, which says why if it
// refuses, then the disk, then the others.
func (d *driver) submit(_ context.Context, tx *types.Transaction) error {
	if err := d.checkTransaction(tx); err != nil {
		return err
	}
	if err := d.pool.Add(tx, true); err != nil {
		return err
	}
	d.events.Added(tx.Hash())
	raw := chain.EncodeTransaction(tx)
	d.host.PublishTransactions(raw)
	d.poolChanged()
	d.locals.mu.Lock()
	defer d.locals.mu.Unlock()
	d.locals.hashes[tx.Hash()] = struct{}{}
	return d.store.PutLocalTx(tx.Hash(), raw)
}

// forgetLocal drops the kept copy of an own transaction that is final.
func (d *driver) forgetLocal(hash crypto.Hash) error {
	d.locals.mu.Lock()
	defer d.locals.mu.Unlock()
	if _, ok := d.locals.hashes[hash]; !ok {
		return nil
	}
	delete(d.locals.hashes, hash)
	return d.store.DeleteLocalTx(hash)
}

// restoreLocals gives the pool the own transactions of the last run. Those that
// became final or impossible meanwhile are dropped.
func (d *driver) restoreLocals() error {
	txs, err := d.store.LocalTxs()
	if err != nil {
		return err
	}
	for _, kept := range txs {
		tx, err := chain.DecodeTransaction(kept.Raw)
		if err == nil {
			err = d.checkTransaction(tx)
		}
		if err == nil {
			err = d.pool.Add(tx, true)
		}
		if err != nil {
			d.log.Warn("a transaction of the last run is dropped", "hash", kept.Hash, "err", err)
			if err := d.store.DeleteLocalTx(kept.Hash); err != nil {
				return err
			}
			continue
		}
		d.locals.hashes[kept.Hash] = struct{}{}
	}
	return nil
}
