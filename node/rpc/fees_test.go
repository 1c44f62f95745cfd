package rpc

import (
	"context"
	"math/big"
	"testing"

	"cairn/ledger/pool"
)

// TestTipOfAFullPool: what a wallet is told to offer is admitted, also when the
// pool is full.
func TestTipOfAFullPool(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{pool: func(c *pool.Config) { c.Total = 2 }})
	ctx, c := context.Background(), f.eth()
	tip, err := c.SuggestGasTipCap(ctx)
	check(t, err)
	equal(t, "tip with room", tip, big.NewInt(suggestedTip))
	price, err := c.SuggestGasPrice(ctx)
	check(t, err)
	first := transfer(key(0), 0) // offers 1 gwei
	f.add(first, transfer(key(1), 0))
	more, err := c.SuggestGasTipCap(ctx)
	check(t, err)
	if more.Cmp(gwei(1)) <= 0 {
		t.Fatalf("a tip of %d wei is suggested", more)
	}
	higher, err := c.SuggestGasPrice(ctx)
	check(t, err)
	equal(t, "gas price", new(big.Int).Sub(higher, price), new(big.Int).Sub(more, tip))
	cheap := dynamic(0)
	cheap.GasTipCap, cheap.GasFeeCap = tip, gwei(100)
	_, text := f.callError("eth_sendRawTransaction", rawHex(sign(key(2), cheap)))
	contains(t, text, "transaction underpriced: the pool is full: a tip of at least 1000000001 wei for gas is needed")
	good := dynamic(0)
	good.GasTipCap, good.GasFeeCap = more, gwei(100)
	f.add(sign(key(2), good))
}
