package chain

import (
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// TestViewInTransaction: what eth_call answers, a transaction cannot ask.
func TestViewInTransaction(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 2)
	data := input(t, "validators")
	tx := n.tx(0, 0, data)
	_, out := n.block(tx)
	if r := out.Receipts[0]; r.Status != 0 || r.GasUsed != Gas(tx) {
		t.Errorf("receipt %+v", r)
	}
	g, err := loadRegistry(n.memory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.call(n.cfg, key(t, 0).Address(), nil, data); !errors.Is(err, RevertView) {
		t.Errorf("%v", err)
	}
}

func TestViewsRefuse(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 1)
	g, err := loadRegistry(n.memory)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCandidateAnswer + 1 {
		g.putCandidate(member(t, 1000+i))
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 255)
	for name, c := range map[string]struct {
		data []byte
		kind ErrorKind
	}{
		"later epoch":         {input(t, "closingHeight", big.NewInt(1)), RevertEpoch},
		"epoch above 32 bits": {input(t, "closingHeight", big.NewInt(1<<32)), RevertEpoch},
		"epoch above 64 bits": {input(t, "closingHeight", huge), RevertEpoch},
		"all candidates":      {input(t, "candidates"), RevertRange},
		"range of all":        {input(t, "candidateRange", big.NewInt(0), huge), RevertRange},
		"range too long":      {input(t, "candidateRange", big.NewInt(0), big.NewInt(maxCandidateAnswer+1)), RevertRange},
		"longest range":       {input(t, "candidateRange", big.NewInt(0), big.NewInt(maxCandidateAnswer)), ""},
		"end of the list":     {input(t, "candidateRange", big.NewInt(400), huge), ""},
		"after the end":       {input(t, "candidateRange", huge, huge), ""},
		"malformed":           {append(input(t, "candidates"), 1), RevertArguments},
	} {
		_, err := CallRegistry(n.cfg, g.slots, Call{Input: c.data})
		if c.kind == "" && err != nil || c.kind != "" && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
	}
}

// failsAfter reads a number of slots well.
type failsAfter struct {
	Reader
	reads *int
	well  int
}

func (r failsAfter) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	if *r.reads++; *r.reads > r.well {
		return crypto.Hash{}, errDisk
	}
	return r.Reader.Slot(a, slot)
}

// TestRegistryReadFails: a failure to read state, or a registry that is damaged,
// is neither a refusal nor the fault of a transaction.
func TestRegistryReadFails(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, 6)
	n.mustCall(5, registration(t, 5, member(t, 5), 0))
	vote := input(t, "vote", key(t, 5).Address(), true)
	n.mustCall(0, vote)
	n.mustCall(1, vote)
	check := func(err error) {
		t.Helper()
		var inv *InvalidError
		var revert *RevertError
		if err == nil || errors.As(err, &inv) || errors.As(err, &revert) {
			t.Errorf("%v", err)
		}
	}
	build := func(st State, tx *types.Transaction) (int, error) {
		reads := 0
		q := &queue{txs: []*types.Transaction{tx}}
		st.Reader = failsAfter{st.Reader, &reads, 1 << 20}
		_, _, err := Build(n.cfg, n.head, st, n.params(), q)
		return reads, err
	}
	// Every single read of every call fails in turn.
	for from, data := range [][]byte{
		vote, input(t, "revoke", key(t, 5).Address()), vote, registration(t, 5, member(t, 5), 1), nil, input(t, "withdraw"),
	} {
		tx := n.tx(from, 0, data)
		total, err := build(n.state(), tx)
		if err != nil || total == 0 {
			t.Fatal(total, err)
		}
		for well := range total {
			st := n.state()
			st.Reader = failsAfter{n.memory, new(int), well}
			_, err := build(st, tx)
			check(err)
			if !errors.Is(err, errDisk) {
				t.Errorf("call %d, read %d of %d: %v", from, well, total, err)
			}
		}
	}
	n.slots[RegistryAddress][slotNumber(slotMembers)] = slotNumber(2)
	_, err := build(n.state(), n.tx(2, 0, vote))
	check(err)
	_, err = CallRegistry(n.cfg, n.memory, Call{Input: input(t, "epoch")})
	check(err)
	_, err = SetAfter(n.memory, crypto.Address{1}, true)
	check(err)
}

func TestSetAfter(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, 6)
	n.mustCall(5, registration(t, 5, member(t, 5), 0))
	for name, c := range map[string]struct {
		subject int
		add     bool
		size    int
		kind    ErrorKind
	}{
		"add":           {5, true, 5, ""},
		"remove":        {0, false, 3, ""},
		"add a member":  {0, true, 0, RevertMember},
		"add nobody":    {4, true, 0, RevertNotRegistered},
		"remove nobody": {5, false, 0, RevertNotMember},
	} {
		set, err := SetAfter(n.memory, key(t, c.subject).Address(), c.add)
		if c.kind != "" {
			if !errors.Is(err, c.kind) {
				t.Errorf("%s: %v, want %v", name, err, c.kind)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, in := set.Index(key(t, c.subject).Address()); set.Len() != c.size || in != c.add {
			t.Errorf("%s: %d members", name, set.Len())
		}
	}
	if got := len(n.list("validators")); got != 4 {
		t.Errorf("a dry run changed the set: %d members", got)
	}
}
