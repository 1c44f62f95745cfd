package pool

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger/chain"
)

// signed keeps what filled has signed: that takes longer than anything measured.
var signed = make(map[[2]int][][]*types.Transaction)

// filled is a pool of senders·each executable transactions, whose senders are
// recovered already.
func filled(b *testing.B, senders, each int) (*ledger, *Pool, [][]*types.Transaction) {
	b.Helper()
	l := newLedger(b, true, senders)
	p := l.newPool(nil)
	txs := signed[[2]int{senders, each}]
	for i := len(txs); i < senders; i++ {
		txs = append(txs, nil)
		for n := range each {
			tx := l.tx(i, uint64(n), 1, 0, 0)
			if _, err := chain.Sender(p.signer, tx); err != nil {
				b.Fatal(err)
			}
			txs[i] = append(txs[i], tx)
		}
	}
	signed[[2]int{senders, each}] = txs
	for i := range txs {
		add(b, p, txs[i]...)
	}
	return l, p, txs
}

// BenchmarkAdd is without signature recovery.
func BenchmarkAdd(b *testing.B) {
	l := newLedger(b, true, 1000)
	p := l.newPool(nil)
	var txs []*types.Transaction
	for i := range 20_000 {
		tx := l.tx(i%1000, uint64(i/1000), 1, 0, 0)
		if _, err := chain.Sender(p.signer, tx); err != nil {
			b.Fatal(err)
		}
		txs = append(txs, tx)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(txs) == 0 {
			b.StopTimer()
			p = l.newPool(nil)
			b.StartTimer()
		}
		if err := p.Add(txs[i%len(txs)], false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReset1000 is one block of 1000 transactions, with 50,000 in the pool.
func BenchmarkReset1000(b *testing.B) {
	l, p, txs := filled(b, 5000, 10)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		var block []*types.Transaction
		for s := range 1000 {
			block = append(block, txs[(i*1000+s)%5000][(i/5)%10])
		}
		if i%50 == 0 && i > 0 {
			b.StopTimer()
			l, p, txs = filled(b, 5000, 10)
			b.StartTimer()
		}
		l.include(p, block...)
	}
}

// BenchmarkResetEmpty is a block that touches nobody, with 50,000 in the pool.
func BenchmarkResetEmpty(b *testing.B) {
	l, p, _ := filled(b, 5000, 10)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		l.include(p)
	}
}

// BenchmarkCandidates1000 takes the best 1000 of 50,000.
func BenchmarkCandidates1000(b *testing.B) {
	_, p, _ := filled(b, 50_000, 1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if len(p.Executable(1000)) != 1000 {
			b.Fatal("too few")
		}
	}
}

func BenchmarkHasWork(b *testing.B) {
	_, p, _ := filled(b, 100, 1)
	for range b.N {
		p.HasWork()
	}
}
