// Package randtest draws the seeds of random tests. The flag -seed of a test that
// uses it takes one back.
package randtest

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")

// New answers a generator and prints, should the test fail, how to run it again.
// pkg is the package as go test takes it, with further flags of the test if it
// has any.
func New(t testing.TB, pkg string) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again: go test %s -run '^%s$' -seed %d", pkg, t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}
