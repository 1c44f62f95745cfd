package node

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
)

// TestClaimLies: whatever a peer says wrong in a status about its head, it proves
// nothing.
func TestClaimLies(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 4)
	for range 3 {
		c.Seal(c.Transfer(0))
	}
	start, err := light.FromGenesis(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	sets, head := blocksync.NewSets(start, nil), c.Ledger.HeadInfo()
	raw, err := c.Ledger.Certificate(head.Height)
	if err != nil {
		t.Fatal(err)
	}
	honest := func() statusAnswer {
		return statusAnswer{Height: head.Height, Head: head.Hash, Finalization: raw, Header: chain.EncodeHeader(c.Ledger.Head())}
	}
	claim := honest()
	if b, err := provenHead(sets, &claim); err != nil || b.Hash() != head.Hash || b.finalization.Block != head.Hash {
		t.Fatalf("the honest claim: %+v, %v", b, err)
	}
	lies := map[string]func(*statusAnswer){
		"Height":                 func(a *statusAnswer) { a.Height++ },
		"Head":                   func(a *statusAnswer) { a.Head[0] ^= 1 },
		"Finalization: none":     func(a *statusAnswer) { a.Finalization = nil },
		"Header: of the parent":  func(a *statusAnswer) { a.Header, _, _ = c.Finality(head.Height - 1) },
		"Finalization: parent's": func(a *statusAnswer) { _, a.Finalization, _ = c.Finality(head.Height - 1) },
	}
	for name, lie := range lighttest.HeaderLies() {
		lies["Header"+name] = func(a *statusAnswer) { a.Header = lie(a.Header) }
	}
	for name, lie := range c.FinalizationLies() {
		lies["Finalization"+name] = func(a *statusAnswer) { a.Finalization = lie(a.Finalization) }
	}
	// The others are not about the head: they say where to look, and whether to wait.
	type aboutHead struct {
		Height       uint64
		Head         [32]byte
		Finalization []byte
		Header       []byte
	}
	lighttest.Covered(t, aboutHead{}, map[string]any{"Header": types.Header{}, "Finalization": consensus.Certificate{}}, lies)
	for name, lie := range lies {
		claim := honest()
		lie(&claim)
		if b, err := provenHead(sets, &claim); err == nil {
			t.Errorf("%s: proves block %d", name, b.Height())
		}
	}
}
