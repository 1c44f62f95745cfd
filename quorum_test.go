package cairn

import (
	"testing"

	"cairn/consensus"
	"cairn/genesis"
	"cairn/ledger/chain"
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

// TestOneLastTimestamp: a block that the ledger takes can be recorded in the vote
// log, and the record be read again. The two cannot share the constant.
func TestOneLastTimestamp(t *testing.T) {
	t.Parallel()
	if a, b := uint64(chain.MaxTimestampMillis), uint64(consensus.MaxTimestamp); a != b {
		t.Errorf("headers may say %d ms, vote records %d", a, b)
	}
}
