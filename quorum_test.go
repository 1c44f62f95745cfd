package cairn

import (
	"testing"

	"cairn/consensus"
	"cairn/genesis"
)

// TestOneQuorum: the registry and consensus count the same quorum. They cannot
// share the code: neither may import the other, and consensus not genesis.
func TestOneQuorum(t *testing.T) {
	t.Parallel()
	for n := 1; n <= genesis.MaxValidators; n++ {
		if a, b := genesis.Quorum(n), consensus.Quorum(n); a != b {
			t.Errorf("%d members: the registry wants %d votes, consensus %d", n, a, b)
		}
	}
}
