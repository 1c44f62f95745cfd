package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/ledger/trie"
)

// keeper is a node that keeps the state of every third height.
func keeper(t *testing.T) (*node, *snapshot.Dir, *[]error) {
	t.Helper()
	spec := testSpec(4)
	spec.Rules.CheckpointInterval = 3
	n := newNode(t, spec, Options{})
	dir, err := snapshot.OpenDir("/data/snapshots", store.Options{FS: n.fs}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	failures := new([]error)
	n.opts = Options{Snapshots: dir, OnSnapshot: func(height uint64, _ time.Duration, err error) {
		if err != nil {
			*failures = append(*failures, fmt.Errorf("height %d: %w", height, err))
		}
	}}
	n.reopen()
	return n, dir, failures
}

// run builds blocks on the head, none of them final.
func (n *node) run(count int) []*types.Block {
	n.t.Helper()
	var out []*types.Block
	parent := n.head()
	for i := range count {
		b := n.build(parent, transfer(key(0), uint64(i), key(1).Address(), 5, 0))
		out = append(out, b)
		parent = b.Hash()
	}
	return out
}

// TestSnapshotsOfARun: a long run of ancestors that one finalization makes final
// leaves the state of exactly the checkpoint heights in it.
func TestSnapshotsOfARun(t *testing.T) {
	t.Parallel()
	n, dir, failures := keeper(t)
	blocks := n.run(8)
	if finals := n.finalize(blocks[7]); len(finals) != 8 || finals[7].Certificate == nil || finals[2].Certificate != nil {
		t.Fatalf("%d final blocks", len(finals))
	}
	dir.Close() // waits until they are kept
	if got := dir.Heights(); !slices.Equal(got, []uint64{3, 6}) || len(*failures) > 0 {
		t.Fatalf("snapshots of %v, failures %v", got, *failures)
	}
	for _, height := range dir.Heights() {
		src, err := dir.Open(height)
		if err != nil {
			t.Fatal(err)
		}
		want := blocks[height-1].Header()
		if src.Header().Hash() != want.Hash() {
			t.Errorf("snapshot of height %d is of block %d", height, src.Header().Number)
		}
		r, err := src.Accounts(crypto.Hash{}, crypto.Hash{0xff}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var entries []trie.Entry
		for _, l := range r.Accounts {
			entries = append(entries, trie.Entry{Key: crypto.Keccak256(l.Address[:]), Value: l.Account})
		}
		if more, err := trie.VerifyRange(want.Root, crypto.Hash{}, entries, r.Proof); err != nil || more {
			t.Errorf("accounts of height %d: %v, more %v", height, err, more)
		}
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotFailure: a snapshot that cannot be made is told, and the block is
// final all the same.
func TestSnapshotFailure(t *testing.T) {
	t.Parallel()
	n, dir, failures := keeper(t)
	if err := n.fs.MkdirAll(dir.Path(3), 0o755); err != nil {
		t.Fatal(err)
	}
	n.finalize(n.run(4)[3])
	dir.Close()
	if n.l.HeadInfo().Height != 4 || len(*failures) != 1 || len(dir.Heights()) != 0 {
		t.Errorf("head %d, failures %v, snapshots %v", n.l.HeadInfo().Height, *failures, dir.Heights())
	}
}

// TestFinalizeRun: each block of a run keeps its own certificate; without one of
// the last block the floor stays where it is.
func TestFinalizeRun(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(2), Options{})
	blocks := n.run(7)
	certificates := map[crypto.Hash][]byte{blocks[1].Hash(): []byte("two"), blocks[4].Hash(): []byte("five")}
	finals, err := n.l.FinalizeRun(blocks[4].Hash(), certificates, Floor{View: 5}, nil)
	if err != nil || len(finals) != 5 || string(finals[1].Certificate) != "two" || finals[0].Certificate != nil {
		t.Fatalf("%d final blocks: %v", len(finals), err)
	}
	if _, err := n.l.FinalizeRun(blocks[6].Hash(), nil, Floor{View: 99}, nil); err != nil {
		t.Fatal(err)
	}
	n.reopen()
	if at := n.l.HeadInfo(); at.Height != 7 || at.View != 5 {
		t.Errorf("head %+v, want height 7 and view 5", at)
	}
	for h, want := range map[uint64]string{1: "", 2: "two", 4: "", 5: "five", 7: ""} {
		if got, err := n.l.Certificate(h); err != nil || string(got) != want {
			t.Errorf("certificate of block %d: %q %v, want %q", h, got, err, want)
		}
	}
	if err := n.st.Certify(n.head(), []byte("seven"), Floor{View: 7}, nil); err != nil {
		t.Errorf("the head's own certificate, later: %v", err)
	}
}

// TestRaiseBounds: what is given up is answered with ErrPruned from then on, also
// after a restart; the validators of every epoch stay known; bounds never fall.
func TestRaiseBounds(t *testing.T) {
	t.Parallel()
	n := newNode(t, memberSpec(1, 6), Options{})
	n.finalize(n.build(n.head(), n.register(1, 0)))
	n.finalize(n.build(n.head(), n.registryCall(0, 0, "vote", key(1).Address(), true)))
	n.finalize(n.build(n.head(), transfer(key(3), 0, key(4).Address(), 5, 0)))
	n.finalize(n.build(n.head(), transfer(key(3), 1, key(4).Address(), 5, 0)))
	var sets []crypto.Hash
	for epoch := range uint32(2) {
		height, err := n.l.ClosingHeight(epoch)
		if err != nil {
			t.Fatal(err)
		}
		set, at, err := n.l.ValidatorsAt(height)
		if err != nil || at != epoch {
			t.Fatalf("epoch %d: %v", at, err)
		}
		sets = append(sets, set.Hash())
	}
	want := store.Bounds{Base: 3, FirstBody: 4}
	if err := n.l.RaiseBounds(want); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := n.l.Bounds(); got != want {
			t.Fatalf("bounds %+v", got)
		}
		for height := range uint64(5) {
			_, err := n.l.AccountAt(key(3).Address(), height)
			if pruned := errors.Is(err, ErrPruned); pruned != (height < 3) || err != nil && !pruned {
				t.Errorf("account at height %d: %v", height, err)
			}
			_, err = n.l.SlotAt(chain.RegistryAddress, crypto.Hash{}, height)
			if pruned := errors.Is(err, ErrPruned); pruned != (height < 3) || err != nil && !pruned {
				t.Errorf("slot at height %d: %v", height, err)
			}
		}
		for epoch, hash := range sets {
			height, err := n.l.ClosingHeight(uint32(epoch))
			if err != nil {
				t.Fatal(err)
			}
			if set, at, err := n.l.ValidatorsAt(height); err != nil || at != uint32(epoch) || set.Hash() != hash {
				t.Errorf("validators of epoch %d: of epoch %d, %v", epoch, at, err)
			}
		}
		n.reopen()
	}
	for _, b := range []store.Bounds{{Base: 2, FirstBody: 4}, {Base: 3, FirstBody: 3}} {
		if err := n.l.RaiseBounds(b); !errors.Is(err, store.ErrOutOfOrder) {
			t.Errorf("%+v: %v, want ErrOutOfOrder", b, err)
		}
	}
	if err := n.l.RaiseBounds(store.Bounds{Base: 99, FirstBody: 99}); !errors.Is(err, ErrFuture) {
		t.Errorf("above the head: %v, want ErrFuture", err)
	}
}
