package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
)

// locals are the transactions that came through this node's own JSON-RPC and are
// not final yet. They are kept in the store, so that a restart forgets none that
// a wallet was told about.
type locals struct {
	mu     sync.Mutex
	hashes map[crypto.Hash]struct{}
}

// maxLocals bounds the own transactions that are not final.
const maxLocals = 100_000

// submit takes a transaction from a wallet: disk first, so that what is promised
// is kept, then the pool, which says why if it refuses, then the others.
// Errors: ErrNoRoom, those of the pool, or a failure of the disk.
func (d *driver) submit(_ context.Context, tx *types.Transaction) error {
	if d.room() == readsOnly {
		return ErrNoRoom
	}
	if err := d.checkTransaction(tx); err != nil {
		return err
	}
	raw := chain.EncodeTransaction(tx)
	if err := d.keepLocal(tx.Hash(), raw); err != nil {
		return err
	}
	if err := d.pool.Add(tx, true); err != nil {
		if d.pool.Has(tx.Hash()) {
			return err // already known: it waits, and is this node's own from now on
		}
		if failure := d.forgetLocal(tx.Hash()); failure != nil {
			return errors.Join(err, failure)
		}
		return err
	}
	d.events.Added(tx.Hash())
	d.host.PublishTransactions(raw)
	d.poolChanged()
	return nil
}

// keepLocal writes a transaction before the wallet is told that it was taken.
func (d *driver) keepLocal(hash crypto.Hash, raw []byte) error {
	d.locals.mu.Lock()
	defer d.locals.mu.Unlock()
	if _, ok := d.locals.hashes[hash]; ok {
		return nil
	}
	if len(d.locals.hashes) >= maxLocals {
		return fmt.Errorf("%w: %d transactions of this node's own wallets wait already", chain.ErrPoolFull, maxLocals)
	}
	if err := d.store.PutLocalTx(hash, raw); err != nil {
		return err
	}
	d.locals.hashes[hash] = struct{}{}
	return nil
}

// dropped hears of every transaction that leaves the pool without a block. One
// that gossip brought before a wallet did is this node's own all the same.
func (d *driver) dropped(drop pool.Drop) {
	drop.Local = drop.Local || d.isLocal(drop.Transaction.Hash())
	if err := d.forgetLocal(drop.Transaction.Hash()); err != nil {
		d.log.Warn("cannot forget a dropped transaction; the disk may be failing", "hash", drop.Transaction.Hash(), "err", err)
	}
	d.events.Dropped(drop)
}

func (d *driver) isLocal(hash crypto.Hash) bool {
	d.locals.mu.Lock()
	defer d.locals.mu.Unlock()
	_, ok := d.locals.hashes[hash]
	return ok
}

// forgetLocal drops the kept copy of an own transaction that is final or
// dropped.
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
// became final or impossible meanwhile are dropped, with the reason.
func (d *driver) restoreLocals() error {
	kept, err := d.store.LocalTxs()
	if err != nil {
		return err
	}
	var txs []*types.Transaction
	for _, k := range kept {
		tx, err := chain.DecodeTransaction(k.Raw)
		if err != nil {
			if err := d.dropKept(k.Hash, err); err != nil {
				return err
			}
			continue
		}
		txs = append(txs, tx)
	}
	// They are kept by hash. A sender's go back in the order of their nonces, or
	// most would be too far beyond the next one.
	slices.SortFunc(txs, func(a, b *types.Transaction) int { return cmp.Compare(a.Nonce(), b.Nonce()) })
	for _, tx := range txs {
		err := d.checkTransaction(tx)
		if err == nil {
			err = d.pool.Add(tx, true)
		}
		if err != nil {
			if err := d.dropKept(tx.Hash(), err); err != nil {
				return err
			}
			continue
		}
		d.locals.hashes[tx.Hash()] = struct{}{}
	}
	return nil
}

// dropKept forgets a transaction of the last run that the pool does not take.
func (d *driver) dropKept(hash crypto.Hash, why error) error {
	d.log.Warn("a transaction of the last run is dropped", "hash", hash, "err", why)
	d.pool.Refused(hash, why)
	return d.store.DeleteLocalTx(hash)
}
