package ledger

import (
	"errors"
	"testing"

	"cairn/crypto"
)

// TestTrim: blocks of failed views are dropped, the branch that is built on
// stays, and what was dropped is executed again when it is needed after all.
func TestTrim(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(2), Options{})
	tip := n.build(n.head())
	tip = n.build(tip.Hash())
	dead := n.build(n.head())
	deadChild := n.build(dead.Hash())
	latest := n.build(tip.Hash())
	n.l.Trim(tip.Hash(), latest.Hash(), crypto.Hash{9})
	if got := n.l.Layers(); got != 3 {
		t.Fatalf("%d layers, want the tip, its parent and the latest", got)
	}
	if n.l.Executed(dead.Hash()) || !n.l.Executed(tip.Hash()) {
		t.Fatal("the wrong branch was dropped")
	}
	if err := n.l.Execute(deadChild); !errors.Is(err, ErrMissingParent) {
		t.Fatalf("child of a dropped block: %v", err)
	}
	if err := n.l.Execute(dead); err != nil {
		t.Fatal(err)
	}
	if err := n.l.Execute(deadChild); err != nil {
		t.Fatal(err)
	}
	n.finalize(deadChild)
	if n.head() != deadChild.Hash() || n.l.Layers() != 0 {
		t.Fatalf("head %s, %d layers", n.head(), n.l.Layers())
	}
}
