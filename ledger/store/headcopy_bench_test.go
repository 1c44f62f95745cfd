package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
)

// BenchmarkCopies is what the goroutine that commits waits at a height whose state
// is kept, on the machine's disk: for the copy itself, made at once or beside, and
// for the commit after it, compared with any other commit. 40 blocks of 1,000
// transactions lie between two copies.
func BenchmarkCopies(b *testing.B) {
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("beside=%t", beside), func(b *testing.B) {
			home := b.TempDir()
			st, err := Open(filepath.Join(home, "data"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			var parent *types.Header
			height, commits := 0, time.Duration(0)
			commit := func() time.Duration {
				block := testBlock(parent, uint64(height), height, 1000)
				began := time.Now()
				if err := errors.Join(st.PutBody(block.Hash(), raw(block)), st.Commit(commitOf(block, true))); err != nil {
					b.Fatal(err)
				}
				parent, height = block.Header(), height+1
				return time.Since(began)
			}
			var call, next, copying time.Duration
			for b.Loop() {
				for i := range 40 {
					if commits += commit(); i == 36 {
						st.FlushSoon()
					}
				}
				done := make(chan error, 1)
				began := time.Now()
				if dir := filepath.Join(home, fmt.Sprint(height)); beside {
					st.CheckpointHead(dir, func(err error) { done <- err })
				} else {
					done <- st.Checkpoint(dir)
				}
				call += time.Since(began)
				next += commit()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				copying += time.Since(began)
			}
			for name, d := range map[string]time.Duration{"call": call, "next-commit": next, "copy": copying, "commit": commits / 40} {
				b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), "ms-"+name)
			}
		})
	}
}
