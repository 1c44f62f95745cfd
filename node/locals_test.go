package node

import (
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// TestOwnAfterGossip: a transaction that gossip brought first and a wallet then
// is kept as this node's own, and is forgotten when it leaves the pool.
func TestOwnAfterGossip(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 0, nil)
	c.start(0)
	d := c.nodes[0].driver // alone: nothing becomes final
	kept := func() int {
		txs, err := d.store.LocalTxs()
		if err != nil {
			t.Fatal(err)
		}
		d.locals.mu.Lock()
		defer d.locals.mu.Unlock()
		if len(txs) != len(d.locals.hashes) {
			t.Fatalf("%d on disk, %d in memory", len(txs), len(d.locals.hashes))
		}
		return len(txs)
	}
	tx := c.transfer(0, crypto.Address{19: 1})
	if err := d.pool.Add(tx, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.submit(t.Context(), tx); err == nil || err.Error() != "already known" {
			t.Fatalf("error %v, want already known", err)
		}
		if kept() != 1 {
			t.Fatalf("%d own transactions, want 1", kept())
		}
	}
	// Replaced by one that gossip brings.
	better := c.signAs(c.keys[0], &types.DynamicFeeTx{
		Nonce: tx.Nonce(), To: tx.To(), Value: tx.Value(), Gas: tx.Gas(),
		GasFeeCap: tx.GasPrice().Lsh(tx.GasPrice(), 1), GasTipCap: tx.GasTipCap().Lsh(tx.GasTipCap(), 1),
	})
	if err := d.pool.Add(better, false); err != nil {
		t.Fatal(err)
	}
	if kept() != 0 {
		t.Errorf("%d own transactions are kept of which none is in the pool", kept())
	}
	if reason, ok := d.pool.Dropped(tx.Hash()); !ok || !errors.Is(reason, chain.ErrReplaced) {
		t.Errorf("dropped because of %v", reason)
	}
	// One that is refused is not kept.
	if err := d.submit(t.Context(), tx); err == nil {
		t.Error("an underpriced replacement passes")
	}
	if kept() != 0 {
		t.Error("a refused transaction is kept")
	}
}

// TestManyOwnOverARestart: all transactions of one sender are back after a
// restart, however many; one that cannot be is dropped with its reason.
func TestManyOwnOverARestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 0, nil)
	c.start(0) // alone: nothing becomes final
	const many = 300
	var last *types.Transaction
	for range many {
		last = c.transfer(0, crypto.Address{19: 1})
		c.submit(0, last)
	}
	// As if it had been taken under other rules.
	far := crypto.Hash{9}
	c.nonce[c.keys[1].Address()] += 500
	if err := c.nodes[0].driver.store.PutLocalTx(far, []byte{0xc0}); err != nil {
		t.Fatal(err)
	}
	beyond := c.transfer(1, crypto.Address{19: 1})
	if err := c.nodes[0].driver.store.PutLocalTx(beyond.Hash(), chain.EncodeTransaction(beyond)); err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	c.start(0)
	d := c.nodes[0].driver
	if s := d.pool.Stats(); s.Executable != many || s.Gapped != 0 {
		t.Errorf("after the restart: %+v", s)
	}
	if s, ok := d.pool.Status(last.Hash()); !ok || s.Before != many-1 {
		t.Errorf("the last one: %+v", s)
	}
	for hash, want := range map[crypto.Hash]error{far: chain.ErrTransactionEncoding, beyond.Hash(): chain.ErrNonceTooHigh} {
		if reason, ok := d.pool.Dropped(hash); !ok || !errors.Is(reason, want) {
			t.Errorf("%s: reason %v, want %v", hash, reason, want)
		}
	}
	if txs, err := d.store.LocalTxs(); err != nil || len(txs) != many {
		t.Errorf("%d own transactions are kept, %v", len(txs), err)
	}
}

// TestSentBeforePeers: a full node takes a transaction while it knows nobody; it
// is final when the network is there.
func TestSentBeforePeers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 1, nil)
	c.start(4)
	tx := c.transfer(0, crypto.Address{19: 1})
	c.submit(4, tx)
	for i := range 4 {
		c.start(i)
	}
	for i := range 5 {
		c.await("the transaction is final", func() bool { return c.final(i, tx) })
	}
}
