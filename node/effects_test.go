package node

import (
	"errors"
	"math/big"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// TestMissingParts: execution says which part is not here, so that the core
// fetches a body that is gone and waits for a parent's state.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	c := one(t, 0, nil)
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
		c.own(0, func(d *driver) {
			if tc.put != nil {
				d.bodies.put(tc.put)
			}
			events, err := d.execute(tc.hash)
			if err != nil || len(events) != 1 || events[0].(consensus.Executed).Status != tc.want {
				t.Errorf("%s: %+v, %v, want status %d", name, events, err, tc.want)
			}
		})
	}
}

// TestCommitOfTrimmed: a block that the core holds as executed may have been
// trimmed from the ledger since, when many views failed. That it becomes final
// after all is no failure.
func TestCommitOfTrimmed(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 0, nil)
	c.start(0) // alone: nothing becomes final by itself
	c.own(0, func(d *driver) {
		parent := d.ledger.HeadInfo().Hash
		for view := uint64(1); view <= 2; view++ {
			ev, err := d.build(&consensus.BuildRequest{View: view, ParentView: view - 1, Parent: parent, MinTimestamp: d.wall() + 10_000*int64(view)})
			if built, ok := ev.(consensus.Built); err != nil || !ok || built.Failed {
				t.Errorf("build: %+v, %v", ev, err)
				return
			}
			parent = ev.(consensus.Built).Block.Hash
		}
		d.ledger.Trim()
		if err := d.commit(&consensus.Certificate{Subject: consensus.Subject{Kind: consensus.Finalize, View: 2, ParentView: 1, Block: parent}}); err != nil {
			t.Error(err)
		}
	})
	if h := c.height(0); h != 2 {
		t.Errorf("height %d, want 2", h)
	}
}

// TestNoVoteWithoutSync: when the sync of a vote record fails, nothing is sent, and
// a later one is not written as if it had been.
func TestNoVoteWithoutSync(t *testing.T) {
	t.Parallel()
	var on errorfs.Toggle
	on.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			return errorfs.ErrInjected
		}
		return nil
	})
	st, err := store.Open(lossDir, lossOptions(errorfs.Wrap(vfs.NewMem(), &on)))
	if err != nil {
		t.Fatal(err)
	}
	on.On()
	d := &driver{store: st} // without a host: sending would panic
	vote := &consensus.Vote{Subject: consensus.Subject{Kind: consensus.Nullify, View: 1}}
	effects := consensus.Effects{Persist: []consensus.Record{{Vote: vote}}, Broadcast: []consensus.Message{{Vote: vote}}}
	for i := range 2 {
		if i == 1 {
			on.Off() // the disk says that all is well again
		}
		if answers, err := d.apply(&effects); !errors.Is(err, store.ErrFailed) || len(answers) > 0 {
			t.Errorf("%d: %v, %v, want ErrFailed", i, answers, err)
		}
	}
	if err := st.Close(); err != nil && !errors.Is(err, store.ErrFailed) {
		t.Error(err)
	}
}
