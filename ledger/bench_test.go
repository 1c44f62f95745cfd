package ledger

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/internal/randtest"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// randomAddress is the i-th account that holds a balance without a key here.
func randomAddress(i int) crypto.Address {
	h := crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("account"), uint64(i)))
	return crypto.Address(h[12:])
}

// BenchmarkFinalize builds and finalizes blocks on the machine's disk: 10,000
// senders, recipients drawn from 100,000 accounts. Signing is not counted.
// B/transfer is what the compacted database grew by; all accounts exist before,
// so that the state does not grow.
func BenchmarkFinalize(b *testing.B) {
	for _, size := range []int{1, 100, 5_000} {
		b.Run(fmt.Sprintf("transfers=%d", size), func(b *testing.B) { benchmarkFinalize(b, size) })
	}
}

func benchmarkFinalize(b *testing.B, block int) {
	const senders, accounts = 10_000, 100_000
	spec := testSpec(senders)
	for i := range accounts {
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: randomAddress(i), Balance: coins(1)})
	}
	st, err := store.Open(b.TempDir(), store.Options{FS: vfs.Default})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	l, err := Open(st, spec)
	if err != nil {
		b.Fatal(err)
	}
	n := &node{t: b, st: st, l: l, spec: spec, millis: spec.Timestamp}
	r := randtest.New(b, "./ledger")
	keys := make([]*crypto.PrivateKey, senders)
	for i := range keys {
		keys[i] = key(i)
	}
	nonces := make([]uint64, senders)
	if err := st.Compact(); err != nil {
		b.Fatal(err)
	}
	before := st.Metrics().TableBytes
	var build, finalize int64
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		txs := make([]*types.Transaction, block)
		for j := range txs {
			s := (i*block + j) % senders
			txs[j] = transfer(keys[s], nonces[s], randomAddress(r.IntN(accounts)), 1+r.Uint64N(1e15), 1)
			nonces[s]++
		}
		b.StartTimer()
		start := b.Elapsed()
		blk := n.build(n.head(), txs...)
		mid := b.Elapsed()
		n.finalize(blk)
		build += int64(mid - start)
		finalize += int64(b.Elapsed() - mid)
	}
	b.StopTimer()
	live := st.Metrics()
	if err := st.Compact(); err != nil {
		b.Fatal(err)
	}
	transfers := float64(b.N * block)
	b.ReportMetric(float64(build)/float64(b.N)/1e6, "ms/build")
	b.ReportMetric(float64(finalize)/float64(b.N)/1e6, "ms/finalize")
	b.ReportMetric(transfers/b.Elapsed().Seconds(), "transfers/s")
	b.ReportMetric((float64(st.Metrics().TableBytes)-float64(before))/transfers, "B/transfer")
	b.ReportMetric(live.WriteFactor, "write-factor")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(n)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAccount reads balances at the head, as eth_getBalance does.
func BenchmarkAccount(b *testing.B) {
	spec := testSpec(0)
	for i := range 100_000 {
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: randomAddress(i), Balance: coins(1)})
	}
	n := newNode(b, spec, Options{})
	if err := n.st.Compact(); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		read func(crypto.Address) (*chain.Account, error)
	}{
		{"head", n.l.Account},
		{"history", func(a crypto.Address) (*chain.Account, error) { return n.st.AccountAt(a, 0) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for i := range b.N {
				acc, err := c.read(randomAddress(i % 100_000))
				if err != nil || acc == nil {
					b.Fatal(acc, err)
				}
			}
		})
	}
}
