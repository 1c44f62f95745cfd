package store

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// TestFill: a database that begins at a height takes older blocks from the top
// down, each once, and holds them as if it had had them from the start.
func TestFill(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := newScript(11)
	const base = 6
	j, err := BeginJoining("/home/node/ledger", small(fs), base, []byte("target"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Put(StateRows{
		Accounts: []AccountRow{{Address: address(0), Account: chain.NewAccount(balance(0, base))}},
		Slots:    []SlotRow{{address(0), crypto.Hash{1}, crypto.Hash{31: base}}},
		Progress: []Record{{Key: []byte("a"), Value: []byte("1")}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, target, err := ResumeJoining("/home/node/ledger", small(fs))
	if err != nil || string(target) != "target" {
		t.Fatalf("%q %v", target, err)
	}
	if v, err := j.ProgressOf([]byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("progress %q %v", v, err)
	}
	if err := j.Complete(Completion{Genesis: s.blocks[0]}); !errors.Is(err, ErrOutOfOrder) {
		t.Fatalf("no head: %v, want ErrOutOfOrder", err)
	}
	if err := j.Complete(Completion{Genesis: s.blocks[0], Landmarks: []Landmark{{Header: s.blocks[base].Header()}}, Floor: Floor{View: 13}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	st := open(t, small(fs))
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	if b := st.Bounds(); b != (Bounds{Base: base, FirstBody: base + 1}) {
		t.Fatalf("bounds %+v", b)
	}
	for h := base; h >= 1; h-- {
		b := s.blocks[h]
		if held, err := st.HasBody(b.Hash()); err != nil || held {
			t.Fatalf("body %d before it was filled in: %v %v", h, held, err)
		}
		if _, err := st.Receipts(uint64(h)); !errors.Is(err, ErrPruned) {
			t.Fatalf("receipts %d: %v, want ErrPruned", h, err)
		}
		c := commitOf(b, s.certified[uint64(h)])
		f := Filling{Block: b, Receipts: c.Receipts, Certificate: c.Certificate}
		if err := st.Fill([]Filling{f, f}); !errors.Is(err, ErrOutOfOrder) {
			t.Fatalf("a block twice: %v, want ErrOutOfOrder", err)
		}
		if err := st.Fill([]Filling{f}); err != nil {
			t.Fatal(err)
		}
		outcomes, err := st.Receipts(uint64(h))
		if err != nil || len(outcomes) != len(b.Transactions()) {
			t.Fatalf("%d receipts of block %d: %v", len(outcomes), h, err)
		}
		if got, err := st.Body(b.Hash()); err != nil || string(got) != string(raw(b)) {
			t.Fatalf("body %d: %v", h, err)
		}
	}
	if b := st.Bounds(); b != (Bounds{Base: base}) {
		t.Fatalf("bounds %+v", b)
	}
	if err := st.Fill([]Filling{{Block: s.blocks[0]}}); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("block 0: %v, want ErrOutOfOrder", err)
	}
}
