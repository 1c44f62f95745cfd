package chain

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
)

// benchBlock is a block of n transfers between 1000 accounts.
func benchBlock(b *testing.B, n int) (*memory, *types.Block) {
	spec := testSpec(b, 1000)
	spec.Rules = testRules()
	spec.Rules.Fees = genesis.FeeRules{Free: true}
	spec.Rules.GasLimit, spec.Rules.BlockBytes, spec.Rules.BlockTransactions = 1<<40, 1<<30, 1<<20
	m := newMemory(b, spec)
	txs := make([]*types.Transaction, n)
	for i := range txs {
		to := key(b, (i*7+1)%1000).Address()
		if i%10 == 0 {
			to = crypto.Address(crypto.Keccak256([]byte{byte(i), byte(i >> 8)}).Bytes()[:20]) // a new account
		}
		txs[i] = sign(b, key(b, i%1000), dynamic(uint64(i/1000), to, coins(0).SetUint64(5), 0, 1))
	}
	block, _ := m.build(b, txs...)
	return m, block
}

// BenchmarkExecute5000 is without signature recovery: senders are cached, as
// they are for transactions that came through the pool.
func BenchmarkExecute5000(b *testing.B) {
	m, block := benchBlock(b, 5000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Execute(m.cfg, m.head, m.state(), block); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/tx")
}

func BenchmarkBuild5000(b *testing.B) {
	m, block := benchBlock(b, 5000)
	b.ReportAllocs()
	for b.Loop() {
		q := &queue{txs: block.Transactions()}
		if _, _, err := Build(m.cfg, m.head, m.state(), m.params(), q); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/tx")
}

func BenchmarkDecodeBlock5000(b *testing.B) {
	m, block := benchBlock(b, 5000)
	raw := EncodeBlock(block)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := DecodeBlock(raw, &m.cfg.Rules); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSender(b *testing.B) {
	_, block := benchBlock(b, 1)
	raw, s := EncodeTransaction(block.Transactions()[0]), NewSigner(testChainID)
	for b.Loop() {
		tx, err := DecodeTransaction(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Sender(s, tx); err != nil {
			b.Fatal(err)
		}
	}
}
