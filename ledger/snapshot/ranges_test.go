package snapshot_test

import (
	"bytes"
	"errors"
	"testing"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/snapshot"
)

// honest is a range of accounts and one of the registry's slots.
func honest(t testing.TB) (*snapshot.AccountRange, *snapshot.SlotRange) {
	t.Helper()
	n := newNetwork(t, 20)
	src, err := n.dir.Open(n.grow())
	check(t, err)
	defer func() { check(t, src.Close()) }()
	accounts, err := src.Accounts(crypto.Hash{}, crypto.Hash{0xff}, 600)
	check(t, err)
	slots, err := src.Slots(genesis.RegistryAddress, crypto.Hash{}, crypto.Hash{0xff}, 300)
	check(t, err)
	return accounts, slots
}

// FuzzAccountRange: what is decoded is within the limits, and its only encoding.
func FuzzAccountRange(f *testing.F) {
	accounts, slots := honest(f)
	f.Add(accounts.Encode())
	f.Add(slots.Encode())
	f.Add((&snapshot.AccountRange{}).Encode())
	f.Add([]byte{0xc1, 0xc0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := snapshot.DecodeAccountRange(raw)
		if err != nil {
			if !errors.Is(err, snapshot.ErrAnswer) {
				t.Fatalf("%v, want ErrAnswer", err)
			}
			return
		}
		if !bytes.Equal(r.Encode(), raw) {
			t.Fatalf("%x is encoded as %x", raw, r.Encode())
		}
		if len(r.Proof) > snapshot.MaxProofNodes {
			t.Fatalf("%d nodes", len(r.Proof))
		}
		for _, l := range r.Accounts {
			if len(l.Account) == 0 || len(l.Account) > snapshot.MaxLeafBytes {
				t.Fatalf("an account of %d bytes", len(l.Account))
			}
		}
	})
}

// FuzzSlotRange: as FuzzAccountRange.
func FuzzSlotRange(f *testing.F) {
	accounts, slots := honest(f)
	f.Add(slots.Encode())
	f.Add(accounts.Encode())
	f.Add((&snapshot.SlotRange{}).Encode())
	f.Add([]byte{0xc1, 0xc0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := snapshot.DecodeSlotRange(raw)
		if err != nil {
			if !errors.Is(err, snapshot.ErrAnswer) {
				t.Fatalf("%v, want ErrAnswer", err)
			}
			return
		}
		if !bytes.Equal(r.Encode(), raw) {
			t.Fatalf("%x is encoded as %x", raw, r.Encode())
		}
		for _, l := range r.Slots {
			if len(l.Value) == 0 || len(l.Value) > 32 || l.Value[0] == 0 {
				t.Fatalf("value %x", l.Value)
			}
		}
	})
}

// TestLimits: an answer is never larger than a decoder takes, however much is
// asked for, and never empty where there is something.
func TestLimits(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 8000)
	src, err := n.dir.Open(n.grow())
	check(t, err)
	defer func() { check(t, src.Close()) }()
	for _, maxBytes := range []int{-1, 0, 1, 1 << 10, 1 << 30} {
		r, err := src.Accounts(crypto.Hash{}, crypto.Hash{0xff}, maxBytes)
		check(t, err)
		raw := r.Encode()
		if len(r.Accounts) == 0 || len(raw) > snapshot.MaxAnswerBytes {
			t.Errorf("%d asked for: %d accounts, %d bytes", maxBytes, len(r.Accounts), len(raw))
		}
		if maxBytes > 1<<20 && len(raw) < snapshot.MaxRangeBytes/2 {
			t.Errorf("%d asked for: only %d bytes", maxBytes, len(raw))
		}
		if _, err := snapshot.DecodeAccountRange(raw); err != nil {
			t.Error(err)
		}
	}
	large := &snapshot.AccountRange{Accounts: []snapshot.AccountLeaf{{Account: make([]byte, snapshot.MaxAnswerBytes)}}}
	if _, err := snapshot.DecodeAccountRange(large.Encode()); !errors.Is(err, snapshot.ErrAnswer) {
		t.Errorf("an answer that is too large: %v", err)
	}
}
