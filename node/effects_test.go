package node

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
)

// TestMissingParts: execution says which part is not here, so that the core
// fetches a body that is gone and waits for a parent's state.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 0, nil)
	c.start(0)
	d := c.nodes[0].driver
	extra := chain.Extra{Version: chain.ExtraVersion, View: 3, TimestampMillis: 1}
	orphan := types.NewBlockWithHeader(&types.Header{ParentHash: crypto.Hash{8}, Number: big.NewInt(9), Extra: extra.Encode(), Difficulty: new(big.Int), BaseFee: new(big.Int)})
	for name, tc := range map[string]struct {
		hash crypto.Hash
		put  *types.Block
		want consensus.ExecutionStatus
	}{
		"no body":   {crypto.Hash{7}, nil, consensus.ExecutionNoBody},
		"no parent": {orphan.Hash(), orphan, consensus.ExecutionMissing},
	} {
		done := make(chan []consensus.Event, 1)
		d.deliver(t.Context(), func() {
			if tc.put != nil {
				d.bodies.put(tc.put)
			}
			events, err := d.execute(tc.hash)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			done <- events
		})
		events := <-done
		if len(events) != 1 || events[0].(consensus.Executed).Status != tc.want {
			t.Errorf("%s: %+v, want status %d", name, events, tc.want)
		}
	}
}
