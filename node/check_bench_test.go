package node

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/store"
)

// manyAccounts is how many BenchmarkCheckAccounts checks.
const manyAccounts = 200_000

// BenchmarkCheckAccounts measures a check of a state of many accounts: its time
// and the live memory that it needs at most.
func BenchmarkCheckAccounts(b *testing.B) {
	spec := &genesis.Spec{ChainID: 78, Name: "many", Timestamp: 1, Rules: genesis.DefaultRules()}
	for i := range uint64(manyAccounts) {
		var a crypto.Address
		binary.BigEndian.PutUint64(a[:], i+1)
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: a, Balance: uint256.NewInt(i + 1)})
	}
	k := testKey(1)
	spec.Validators = []genesis.Validator{{Address: k.Address(), PeerID: "12D3KooWGyj38e3mdEhoNefFmQWciQvMMgYoE42RxNa8gCyS9hMp", Name: "one"}}
	st, err := store.Open(b.TempDir()+"/data", store.Options{Lazy: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	if _, err := ledger.Open(st, spec); err != nil {
		b.Fatal(err)
	}
	if err := st.Compact(); err != nil {
		b.Fatal(err)
	}
	small := *spec // that the allocations are held is no fault of the check
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		start, most, calls := uint64(0), uint64(0), 0
		var result CheckResult
		result, err = Check(b.Context(), st, &small, CheckOptions{
			Finding: func(text string) { b.Error(text) },
			Note:    func(string) {},
			Progress: func(stage string, _, _ uint64) {
				if start == 0 {
					start = live() // with block 0, made again from the genesis file
				}
				if calls++; calls%16 == 0 {
					most = max(most, live())
				}
			},
		})
		if err != nil || result.Accounts < manyAccounts {
			b.Fatalf("%+v, %v", result, err)
		}
		b.ReportMetric(float64(most-min(most, start))/(1<<20), "MiB-live")
	}
}
