package consensus

import (
	"fmt"
	"testing"
)

// BenchmarkBlock is the work of all n cores for one final block, signatures left
// out: n² votes and certificates.
func BenchmarkBlock(b *testing.B) {
	for _, n := range []int{1, 4, 20} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			k := newCluster(b, n)
			k.work(true)
			b.ReportAllocs()
			for b.Loop() {
				for had := len(k.commits[0]); len(k.commits[0]) == had; {
					k.now++
					k.drain(1)
				}
				for i := range k.records {
					k.records[i] = k.records[i][:0]
				}
			}
			b.ReportMetric(float64(k.steps)/float64(b.N), "steps/op")
		})
	}
}
