package snapshot_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// TestJoin: a database made from a snapshot holds the same state as the one it
// was taken from, row for row; goes on with the same blocks to the same roots;
// answers history from its height on and says of what is older that it is not
// kept; and is as whole as the other once the older blocks are filled in.
func TestJoin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ workers, maxBytes int }{
		"one leaf at a time": {1, 1}, "small answers": {5, 700}, "large answers": {32, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, 300)
			height := n.grow()
			fs := vfs.NewMem()
			n.join(t, height, fs, c.workers, c.maxBytes)
			st, l := n.joined(t, fs)
			head := n.Ledger.Head()
			if l.HeadInfo() != n.Ledger.HeadInfo() || l.Head().Hash() != head.Hash() {
				t.Fatalf("head %+v, want %+v", l.HeadInfo(), n.Ledger.HeadInfo())
			}
			check(t, sameState(n.Store.View, st.View, head.Root))
			n.checkBounds(t, l, height)
			n.grow()
			n.follow(t, l)
			if l.HeadInfo() != n.Ledger.HeadInfo() {
				t.Fatalf("head %+v, want %+v", l.HeadInfo(), n.Ledger.HeadInfo())
			}
			check(t, sameState(n.Store.View, st.View, n.Ledger.Head().Root))
			n.checkHistory(t, l, height)
			n.checkFill(t, l, height)
		})
	}
}

// checkBounds: what is held of the time before the snapshot.
func (n *network) checkBounds(t *testing.T, l *ledger.Ledger, base uint64) {
	t.Helper()
	if b := l.Bounds(); b != (store.Bounds{Base: base, FirstBody: base + 1}) {
		t.Errorf("bounds %+v", b)
	}
	alice := n.Spec.Alloc[0].Address
	for name, call := range map[string]func() error{
		"block":    func() error { _, err := l.BlockByHeight(base - 1); return err },
		"head":     func() error { _, err := l.BlockByHeight(base); return err },
		"receipts": func() error { _, err := l.Receipts(base - 1); return err },
		"header":   func() error { _, err := l.HeaderByHeight(base - 1); return err },
		"account":  func() error { _, err := l.AccountAt(alice, base-1); return err },
		"slot":     func() error { _, err := l.SlotAt(alice, crypto.Hash{}, base-1); return err },
		"set":      func() error { _, _, err := l.ValidatorsAt(base - 1); return err },
	} {
		if err := call(); !errors.Is(err, ledger.ErrPruned) || errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("%s below the base: %v, want ErrPruned", name, err)
		}
	}
	zero, err := l.BlockByHeight(0)
	if err != nil || zero.Hash() != n.Ledger.Genesis().Hash() {
		t.Errorf("block 0: %v", err)
	}
	_, epoch := n.Ledger.Validators()
	if epoch < 2 {
		t.Fatalf("only %d epochs", epoch)
	}
	for e := range epoch + 1 {
		closing, err := l.ClosingHeight(e)
		check(t, err)
		got, at, err := l.ValidatorsAt(closing)
		check(t, err)
		want, _, err := n.Ledger.ValidatorsAt(closing)
		check(t, err)
		if at != e || got.Hash() != want.Hash() {
			t.Errorf("validators of epoch %d: %d of epoch %d", e, got.Len(), at)
		}
		header, err := l.HeaderByHeight(closing)
		check(t, err)
		theirs, err := n.Ledger.HeaderByHeight(closing)
		check(t, err)
		cert, err := l.Certificate(closing)
		check(t, err)
		if want, err := n.Ledger.Certificate(closing); err != nil || string(want) != string(cert) || header.Hash() != theirs.Hash() {
			t.Errorf("end of epoch %d: %v", e, err)
		}
	}
}

// checkHistory: balances at every height from base on, and who was touched above.
func (n *network) checkHistory(t *testing.T, l *ledger.Ledger, base uint64) {
	t.Helper()
	head := n.Ledger.HeadInfo().Height
	for _, a := range n.Spec.Alloc {
		for h := base; h <= head; h += 3 {
			want, err := n.Ledger.AccountAt(a.Address, h)
			check(t, err)
			got, err := l.AccountAt(a.Address, h)
			check(t, err)
			if string(got.Encode()) != string(want.Encode()) {
				t.Fatalf("account %s at height %d: %+v, want %+v", a.Address, h, got, want)
			}
		}
		want, err := n.Ledger.History(a.Address, head, 1000)
		check(t, err)
		got, err := l.History(a.Address, head, 1000)
		check(t, err)
		for i, touch := range got {
			if touch.Height <= base || touch.Height != want[i].Height {
				t.Fatalf("history of %s: height %d", a.Address, touch.Height)
			}
		}
		if len(got) < len(want) && want[len(got)].Height > base {
			t.Fatalf("history of %s: %d of %d", a.Address, len(got), len(want))
		}
	}
}

// checkFill: older blocks go below, only the right ones, until none is missing.
func (n *network) checkFill(t *testing.T, l *ledger.Ledger, base uint64) {
	t.Helper()
	older := func(h uint64) ledger.Older {
		b, err := n.Ledger.BlockByHeight(h)
		check(t, err)
		receipts, err := n.Ledger.Receipts(h)
		check(t, err)
		cert, err := n.Ledger.Certificate(h)
		check(t, err)
		return ledger.Older{Block: b, Receipts: receipts, Certificate: cert}
	}
	for h := base; h > 0; h-- {
		if got := l.Bounds().FirstBody; got != h+1 {
			t.Fatalf("first body %d, want %d", got, h+1)
		}
		if err := l.Fill([]ledger.Older{older(h - 1)}); h > 1 && !errors.Is(err, ledger.ErrNotTheChain) {
			t.Fatalf("a block that is not next: %v", err)
		}
		wrong := older(h)
		wrong.Receipts = append(wrong.Receipts[:0:0], wrong.Receipts...)
		if len(wrong.Receipts) > 0 {
			lie := *wrong.Receipts[0]
			lie.Status ^= 1
			wrong.Receipts[0] = &lie
			if err := l.Fill([]ledger.Older{wrong}); !errors.Is(err, ledger.ErrNotTheChain) {
				t.Fatalf("wrong receipts: %v", err)
			}
		}
		check(t, l.Fill([]ledger.Older{older(h)}))
	}
	if b := l.Bounds(); b != (store.Bounds{Base: base}) {
		t.Fatalf("bounds %+v", b)
	}
	for h := range n.Ledger.HeadInfo().Height + 1 {
		want, err := n.Ledger.BlockByHeight(h)
		check(t, err)
		got, err := l.BlockByHeight(h)
		check(t, err)
		if body(got) != body(want) {
			t.Fatalf("block %d differs", h)
		}
		receipts, err := l.Receipts(h)
		check(t, err)
		if chain.ReceiptsRoot(receipts) != want.ReceiptHash() {
			t.Fatalf("receipts of block %d differ", h)
		}
		for _, tx := range want.Transactions() {
			if _, _, at, _, err := l.Transaction(tx.Hash()); err != nil || at != h {
				t.Fatalf("transaction %s of block %d: %d %v", tx.Hash(), h, at, err)
			}
		}
	}
}
