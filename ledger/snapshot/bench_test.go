package snapshot_test

import (
	"context"
	"flag"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/light/lighttest"
)

var accountsFlag = flag.Int("accounts", 100_000, "accounts that BenchmarkJoin moves")

// BenchmarkJoin moves the state of many accounts from one database on the
// machine's disk to another: what it takes to keep the state, to fetch it with
// four workers in answers of 256 KiB, and to finish. live-MB is the most memory
// that was in use meanwhile above what was there before, without garbage: it is
// collected every 100 ms, which is a part of the times.
func BenchmarkJoin(b *testing.B) {
	accounts := *accountsFlag
	home := b.TempDir()
	spec := lighttest.Spec(4)
	spec.Rules.CheckpointInterval = 1
	for i := range accounts {
		h := crypto.Keccak256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: crypto.Address(h[:20]), Balance: uint256.NewInt(uint64(i) + 1e18)})
	}
	dir, err := snapshot.OpenDir(filepath.Join(home, "snapshots"), store.Options{}, 0)
	check(b, err)
	var kept time.Duration
	n := &network{dir: dir, Chain: lighttest.NewOf(b, spec, filepath.Join(home, "ledger"), store.Options{}, ledger.Options{
		Snapshots: dir, OnSnapshot: func(_ uint64, took time.Duration, failed error) { kept, err = took, failed },
	})}
	n.Seal(n.Transfer(0))
	dir.Close() // waits until it is kept
	check(b, err)
	src, err := dir.Open(1)
	check(b, err)
	defer func() { check(b, src.Close()) }()
	target := n.target(b, 1)
	var fetching, finishing time.Duration
	var measured atomic.Bool
	var peak atomic.Uint64
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if measured.Load() {
				peak.Store(max(peak.Load(), live()))
			}
		}
	}()
	base := uint64(0)
	for b.Loop() {
		s, err := snapshot.Create(b.TempDir(), n.Spec, target, store.Options{})
		check(b, err)
		base = live()
		measured.Store(true)
		at := time.Now()
		check(b, fetch(src, s, 4, 256<<10))
		fetching += time.Since(at)
		if p := s.Progress(); p.Accounts < uint64(accounts) {
			b.Fatalf("%+v", p)
		}
		at = time.Now()
		check(b, s.Finish(context.Background()))
		finishing += time.Since(at)
		measured.Store(false)
	}
	close(done)
	b.ReportMetric(float64(kept.Milliseconds()), "keep-ms")
	b.ReportMetric(float64(fetching.Milliseconds())/float64(b.N), "fetch-ms")
	b.ReportMetric(float64(finishing.Milliseconds())/float64(b.N), "finish-ms")
	b.ReportMetric((float64(peak.Load())-float64(base))/(1<<20), "live-MB")
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
