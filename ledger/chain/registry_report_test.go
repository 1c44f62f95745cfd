package chain

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// newStrict is newNetwork on a network that removes equivocators.
func newStrict(t testing.TB, n, accounts int) *network {
	net := newNetwork(t, n, accounts)
	net.cfg.Rules.RemoveEquivocators = true
	return net
}

// signedVote is a vote of key i.
func (n *network) signedVote(i int, epoch uint32, view uint64, kind uint8, parent uint64, block crypto.Hash) SignedVote {
	v := SignedVote{Kind: kind, ParentView: parent, Block: block}
	sig := key(n.t, i).Sign(VoteDigest(n.cfg, epoch, view, &v))
	v.Signature = sig[:]
	return v
}

// report is the input that reports two finalizes of key i in a view.
func (n *network) report(i int, epoch uint32, view uint64) []byte {
	a := n.signedVote(i, epoch, view, voteFinalize, view-1, crypto.Hash{1})
	b := n.signedVote(i, epoch, view, voteFinalize, view-1, crypto.Hash{2})
	return input(n.t, "report", key(n.t, i).Address(), epoch, view, a, b)
}

func (n *network) convicted() []crypto.Address {
	return n.view("convicted")[0].([]crypto.Address)
}

// removals are the subjects of ValidatorRemoved in a receipt, in order.
func removals(r *types.Receipt) (out []crypto.Address) {
	for _, l := range r.Logs {
		if l.Topics[0] == registryABI.Events["ValidatorRemoved"].ID {
			out = append(out, crypto.Address(l.Topics[1][12:]))
		}
	}
	return out
}

// TestConvictedLeaves: who is convicted stays until the next change and leaves
// with it, and what was settled does not convict it again.
func TestConvictedLeaves(t *testing.T) {
	t.Parallel()
	n := newStrict(t, 4, 8)
	two := key(t, 2).Address()
	r := n.mustCall(7, n.report(2, 0, 9)) // anyone may report
	want := newLog("Convicted", topics(two, key(t, 7).Address()), uint32(0), uint64(9))
	if len(r.Logs) != 1 || !reflect.DeepEqual(r.Logs[0].Topics, want.Topics) || !reflect.DeepEqual(r.Logs[0].Data, want.Data) {
		t.Errorf("logs %+v", r.Logs)
	}
	if got := n.convicted(); !slices.Equal(got, []crypto.Address{two}) || n.number("convictions", two) != 1 {
		t.Errorf("convicted %v, convictions %d", got, n.number("convictions", two))
	}
	if !n.view("isValidator", two)[0].(bool) || n.number("epoch") != 0 {
		t.Error("a conviction changed the set at once")
	}
	if _, err := n.call(6, n.report(2, 0, 9)); !errors.Is(err, RevertConvicted) {
		t.Errorf("the same report again: %v", err)
	}
	if _, err := n.call(6, n.report(2, 0, 10)); !errors.Is(err, RevertConvicted) {
		t.Errorf("another report while convicted: %v", err)
	}
	// What a change would make, and makes.
	candidate := member(t, 5)
	n.mustCall(5, registration(t, 5, candidate, 0))
	after, err := SetAfter(n.memory, candidate.Address, true)
	if err != nil || after.Len() != 4 {
		t.Fatalf("set after: %v, %v", after, err)
	}
	if _, in := after.Index(two); in {
		t.Error("the dry run keeps the convicted member")
	}
	out := n.change(5, true, 0, 1, 2) // the convicted member votes like any other
	if !out.Closing || out.NextSet.Hash() != after.Hash() {
		t.Fatalf("closing %t, %v, the dry run said %v", out.Closing, out.NextSet, after)
	}
	last := out.Receipts[len(out.Receipts)-1]
	if got := removals(last); !slices.Equal(got, []crypto.Address{two}) {
		t.Errorf("events of removal: %v", got)
	}
	if last.Logs[len(last.Logs)-1].Topics[0] != registryABI.Events["SetChanged"].ID {
		t.Error("the last event is not SetChanged")
	}
	if len(n.convicted()) != 0 || n.number("convictions", two) != 1 || n.slots[RegistryAddress][convictedSlot(0)] != (crypto.Hash{}) {
		t.Error("the list of the convicted is not empty")
	}
	// It may come back, and only later votes convict it again.
	if out := n.admit(2, 0, 1, 3); !out.Closing || n.number("epoch") != 2 {
		t.Fatal("it was not voted in again")
	}
	if _, err := n.call(7, n.report(2, 0, 11)); !errors.Is(err, RevertConvicted) {
		t.Errorf("old votes: %v", err)
	}
	n.mustCall(7, n.report(2, 2, 1))
	if n.number("convictions", two) != 3 {
		t.Errorf("convictions %d", n.number("convictions", two))
	}
}

// TestConvictedLast: a set never loses its last member to convictions; they are
// not forgotten.
func TestConvictedLast(t *testing.T) {
	t.Parallel()
	n := newStrict(t, 1, 4)
	n.mustCall(3, n.report(0, 0, 1))
	if out := n.admit(1, 0); out.NextSet.Len() != 1 || out.NextSet.At(0).Address != key(t, 1).Address() {
		t.Fatalf("next set %v", out.NextSet)
	}
	// All of three: the last one convicted stays, and leaves with the next change.
	n = newStrict(t, 3, 8)
	for _, i := range []int{1, 0, 2} {
		n.mustCall(7, n.report(i, 0, 1))
	}
	out := n.change(0, false, 1, 2)
	if out.NextSet.Len() != 1 || out.NextSet.At(0).Address != key(t, 2).Address() {
		t.Fatalf("next set %v", out.NextSet)
	}
	if got := removals(out.Receipts[len(out.Receipts)-1]); !slices.Equal(got, []crypto.Address{key(t, 0).Address(), key(t, 1).Address()}) {
		t.Errorf("events of removal: %v", got)
	}
	if got := n.convicted(); !slices.Equal(got, []crypto.Address{key(t, 2).Address()}) {
		t.Errorf("convicted %v", got)
	}
	if _, err := n.call(7, n.report(2, 1, 1)); err != nil { // of the epoch after the conviction
		t.Error(err)
	}
	if out := n.admit(4, 2); out.NextSet.Len() != 1 || out.NextSet.At(0).Address != key(t, 4).Address() || len(n.convicted()) != 0 {
		t.Fatalf("next set %v, convicted %v", out.NextSet, n.convicted())
	}
}

// TestConvictedVotedOut: a member that was convicted and voted out is off the
// list, and a block whose changes undo each other moves nobody.
func TestConvictedVotedOut(t *testing.T) {
	t.Parallel()
	n := newStrict(t, 4, 8)
	n.mustCall(7, n.report(3, 0, 1))
	n.mustCall(7, n.report(1, 0, 1))
	out := n.change(3, false, 0, 1, 2)
	if out.NextSet.Len() != 2 || len(n.convicted()) != 0 {
		t.Fatalf("next set %v, convicted %v", out.NextSet, n.convicted())
	}
}

func TestReportRefuses(t *testing.T) {
	t.Parallel()
	n := newStrict(t, 4, 8)
	two := key(t, 2).Address()
	fin := func(b byte) SignedVote { return n.signedVote(2, 0, 5, voteFinalize, 4, crypto.Hash{b}) }
	not := func(b byte) SignedVote { return n.signedVote(2, 0, 5, voteNotarize, 4, crypto.Hash{b}) }
	nul := n.signedVote(2, 0, 5, voteNullify, 0, crypto.Hash{})
	flip := func(v SignedVote) SignedVote {
		v.Signature = slices.Clone(v.Signature)
		v.Signature[40] ^= 1
		return v
	}
	cut := fin(2)
	cut.Signature = cut.Signature[:64]
	for name, c := range map[string]struct {
		validator crypto.Address
		epoch     uint32
		view      uint64
		a, b      SignedVote
		want      ErrorKind
	}{
		"no member":            {key(t, 6).Address(), 0, 5, fin(1), fin(2), RevertNotMember},
		"epoch to come":        {two, 1, 5, fin(1), fin(2), RevertEpoch},
		"one vote twice":       {two, 0, 5, fin(1), fin(1), RevertEvidence},
		"two nullifies":        {two, 0, 5, nul, nul, RevertEvidence},
		"notarize and nullify": {two, 0, 5, not(1), nul, RevertEvidence},
		"notarize, finalize":   {two, 0, 5, not(1), fin(2), RevertEvidence},
		"another member's":     {key(t, 1).Address(), 0, 5, fin(1), fin(2), RevertSignature},
		"another view":         {two, 0, 6, fin(1), fin(2), RevertSignature},
		"one is another's":     {two, 0, 5, fin(1), n.signedVote(3, 0, 5, voteFinalize, 4, crypto.Hash{2}), RevertSignature},
		"damaged":              {two, 0, 5, fin(1), flip(fin(2)), RevertSignature},
		"cut":                  {two, 0, 5, fin(1), cut, RevertSignature},
		"view 0":               {two, 0, 0, n.signedVote(2, 0, 0, 2, 0, crypto.Hash{}), n.signedVote(2, 0, 0, 3, 0, crypto.Hash{1}), RevertEvidence},
		"kind 0":               {two, 0, 5, n.signedVote(2, 0, 5, 0, 4, crypto.Hash{1}), fin(2), RevertEvidence},
		"kind 4":               {two, 0, 5, n.signedVote(2, 0, 5, 4, 4, crypto.Hash{1}), n.signedVote(2, 0, 5, 4, 4, crypto.Hash{2}), RevertEvidence},
		"nullify of a block":   {two, 0, 5, n.signedVote(2, 0, 5, voteNullify, 0, crypto.Hash{1}), fin(2), RevertEvidence},
		"finalize of nothing":  {two, 0, 5, n.signedVote(2, 0, 5, voteFinalize, 4, crypto.Hash{}), fin(2), RevertEvidence},
		"parent in the future": {two, 0, 5, n.signedVote(2, 0, 5, voteFinalize, 5, crypto.Hash{1}), fin(2), RevertEvidence},
	} {
		_, err := n.call(7, input(t, "report", c.validator, c.epoch, c.view, c.a, c.b))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if len(n.convicted()) != 0 {
		t.Fatal("a refused report convicted")
	}
	// Of another network: the same votes under another genesis.
	foreign := *n.cfg
	foreign.Genesis[0] ^= 1
	other := &network{&memory{cfg: &foreign}, t}
	a, b := other.signedVote(2, 0, 5, voteFinalize, 4, crypto.Hash{1}), other.signedVote(2, 0, 5, voteFinalize, 4, crypto.Hash{2})
	if _, err := n.call(7, input(t, "report", two, uint32(0), uint64(5), a, b)); !errors.Is(err, RevertSignature) {
		t.Errorf("another network's: %v", err)
	}
	// Each contradiction there is, in either order.
	for name, pair := range map[string][2]SignedVote{
		"finalizes": {fin(1), fin(2)}, "notarizes": {not(1), not(2)}, "nullify, finalize": {nul, fin(1)}, "finalize, nullify": {fin(1), nul},
		"parent view": {fin(1), n.signedVote(2, 0, 5, voteFinalize, 3, crypto.Hash{1})},
	} {
		if err := CheckEquivocation(n.cfg, two, 0, 5, &pair[0], &pair[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	lax := newNetwork(t, 4, 8)
	if _, err := lax.call(7, lax.report(2, 0, 5)); !errors.Is(err, RevertReports) {
		t.Errorf("without the rule: %v", err)
	}
}
