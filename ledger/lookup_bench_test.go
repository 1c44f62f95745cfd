package ledger

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// BenchmarkLookup finds one transaction, and its receipt, in a block of 3,000
// that is not in the cache.
func BenchmarkLookup(b *testing.B) {
	const size = 3_000
	n := newNode(b, testSpec(1), Options{})
	txs := make([]*types.Transaction, size)
	for i := range txs {
		txs[i] = transfer(key(0), uint64(i), randomAddress(i), 1, 1)
	}
	n.finalize(n.build(n.head(), txs...))
	n.finalize(n.build(n.head()))
	if err := n.st.Compact(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		n.l.blocks = newBlockCache(n.l.blocks.limit)
		tx, _, height, index, err := n.l.Transaction(txs[i*7%size].Hash())
		if err != nil {
			b.Fatal(err)
		}
		receipt, err := n.l.Receipt(tx, height, index)
		if err != nil || receipt.TxHash != tx.Hash() {
			b.Fatal(receipt, err)
		}
	}
}
