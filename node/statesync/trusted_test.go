package statesync_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"

	"cairn/crypto"
	"cairn/node/blocksync"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

// TestTrusted: the block that the operator trusts is looked at before anything is
// stored, also where it is below the snapshot or above it.
func TestTrusted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 100, "a", "b")
		at := n.chain.Ledger.HeadInfo().Height
		n.pay(1000, 20)
		end, err := n.chain.Ledger.EpochEnd(0)
		check(t, err)
		for what, height := range map[string]uint64{
			"block 0": 0, "a block of an old epoch": 1, "the end of an epoch": end, "a block below": at - 1, "its own": at, "a block above": at + 1,
		} {
			hash, err := n.chain.Ledger.HashByHeight(height)
			check(t, err)
			right := newPinned(t, n, &blocksync.Pin{Height: height, Hash: hash})
			if got, err := statesync.Join(t.Context(), right.cfg); err != nil || got != at {
				t.Errorf("%s, the right hash: joined at %d, %v", what, got, err)
			}
			if height == 0 || height == end { // known to be wrong by the walk already: see blocksync
				continue
			}
			hash[0] ^= 1
			wrong := newPinned(t, n, &blocksync.Pin{Height: height, Hash: hash})
			want := error(blocksync.ErrTrusted)
			if height == at { // then no offer is left
				want = statesync.ErrNoOffer
			}
			refusedTrusted(t, what, wrong, want)
			if err := n.Liars()["a"]; height == at && !errors.Is(err, blocksync.ErrTrusted) {
				t.Errorf("%s: lied: %v", what, err)
			}
		}
		missing := newPinned(t, n, &blocksync.Pin{Height: at + 2, Hash: crypto.Hash{1}})
		refusedTrusted(t, "a block that nobody has", missing, blocksync.ErrTrusted)
		for _, p := range n.Peers() { // as from nodes that joined by a snapshot themselves
			n.Answers(p, func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
				if name == blocksync.RequestBlocks {
					return fetch.Encode(&blocksync.BlocksAnswer{}), nil
				}
				return honest, nil
			})
		}
		hash, err := n.chain.Ledger.HashByHeight(at - 1)
		check(t, err)
		refusedTrusted(t, "a block that nobody shows", newPinned(t, n, &blocksync.Pin{Height: at - 1, Hash: hash}), blocksync.ErrTrusted)
	})
}

// refusedTrusted checks that a join ends for the block that is trusted, with
// nothing on disk.
func refusedTrusted(t *testing.T, what string, j *joiner, want error) {
	t.Helper()
	_, err := statesync.Join(t.Context(), j.cfg)
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	if _, err := os.Stat(j.cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: something was stored: %v", what, err)
	}
}
