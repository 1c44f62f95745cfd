package chain

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// TestGrowAndShrink: 1 → 4 → 7 and back to 1, each change by exactly a quorum;
// then four members replaced one by one.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 12)
	epoch, size := uint64(0), 1
	expect := func(out *Output) {
		t.Helper()
		epoch++
		if !out.Closing || out.NextSet.Len() != size || n.number("epoch") != epoch || n.number("closingHeight", big.NewInt(int64(epoch))) != n.head.Number.Uint64() {
			t.Fatalf("closing %t, epoch %d with %v validators", out.Closing, n.number("epoch"), out.NextSet)
		}
		if err := n.nextBlockNeedsEpoch(uint32(epoch)); err != nil {
			t.Fatal(err)
		}
	}
	voters := func(without int) (all []int) {
		for i := 0; i < 12 && len(all) < genesis.Quorum(size); i++ {
			if _, in := n.set(t).Index(key(t, i).Address()); in && i != without {
				all = append(all, i)
			}
		}
		return all
	}
	for size < 7 {
		who := voters(-1)
		size++
		expect(n.admit(size-1, who...))
	}
	for size > 1 {
		who := voters(size - 1)
		if size == 2 { // the one to be removed must agree
			who = []int{0, 1}
		}
		size--
		expect(n.change(size, false, who...))
	}
	for i := 1; i < 4; i++ {
		who := voters(-1)
		size++
		expect(n.admit(i, who...))
	}
	for i := range 4 {
		who := voters(-1)
		size++
		expect(n.admit(i+4, who...))
		who = voters(i)
		size--
		expect(n.change(i, false, who...))
	}
	for i := range 8 {
		if _, in := n.set(t).Index(key(t, i).Address()); in != (i >= 4) {
			t.Errorf("member %d: %t", i, in)
		}
	}
}

func (n *network) set(t *testing.T) *genesis.ValidatorSet {
	set, _, err := ReadRegistry(n.memory)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// nextBlockNeedsEpoch tries the wrong epochs on the head.
func (n *network) nextBlockNeedsEpoch(epoch uint32) error {
	if got, err := NextEpoch(n.head); err != nil || got != epoch {
		return errors.New("NextEpoch is wrong")
	}
	for _, wrong := range []uint32{epoch - 1, epoch + 1} {
		p := n.params()
		p.Epoch = wrong
		if _, _, err := Build(n.cfg, n.head, n.state(), p, &queue{}); !errors.Is(err, ErrEpoch) {
			return fmt.Errorf("a block of epoch %d in epoch %d: %v", wrong, epoch, err)
		}
	}
	return nil
}

// TestMixHashIsChecked: a checker refuses a closing block that hides it, one that
// names another set, and a block that claims to be closing.
func TestMixHashIsChecked(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 3)
	n.mustCall(1, registration(t, 1, member(t, 1), 0))
	closing, _ := n.build(t, n.tx(0, 0, input(t, "vote", key(t, 1).Address(), true)))
	plain, _ := n.build(t)
	for name, c := range map[string]struct {
		block *types.Block
		mix   crypto.Hash
	}{
		"hidden":  {closing, crypto.Hash{}},
		"other":   {closing, crypto.Hash{1}},
		"claimed": {plain, closing.MixDigest()},
	} {
		h := c.block.Header()
		h.MixDigest = c.mix
		if _, err := Execute(n.cfg, n.head, n.state(), c.block.WithSeal(h)); !errors.Is(err, ErrMixHash) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.execute(t, closing)
	if !IsClosing(n.head) {
		t.Error("the head is closing")
	}
	n.block()
	if IsClosing(n.head) {
		t.Error("the block after it is not")
	}
}

// TestEvents has every event, with its values.
func TestEvents(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, 8)
	a := func(i int) crypto.Hash { return leftPad(key(t, i).Address().Bytes()) }
	expect := func(l *types.Log, event string, indexed []crypto.Hash, values ...any) {
		t.Helper()
		e := registryABI.Events[event]
		if len(l.Topics) != 1+len(indexed) || l.Topics[0] != e.ID {
			t.Fatalf("%s: topics %v", event, l.Topics)
		}
		for i, want := range indexed {
			if l.Topics[i+1] != want {
				t.Errorf("%s: topic %d is %s, want %s", event, i+1, l.Topics[i+1], want)
			}
		}
		data, err := e.Inputs.NonIndexed().Pack(values...)
		if err != nil || string(data) != string(l.Data) {
			t.Errorf("%s: data %x, want %x, %v", event, l.Data, data, err)
		}
	}
	num := func(n int64) *big.Int { return big.NewInt(n) }
	v := member(t, 5)
	r := n.mustCall(6, registration(t, 5, v, 0))
	expect(r.Logs[0], "Registered", []crypto.Hash{a(5)}, v.PeerID, v.Name, num(0))
	r = n.mustCall(5, input(t, "withdraw"))
	expect(r.Logs[0], "Withdrawn", []crypto.Hash{a(5)})
	v.Name = "another"
	r = n.mustCall(5, registration(t, 5, v, 1))
	expect(r.Logs[0], "Registered", []crypto.Hash{a(5)}, v.PeerID, "another", num(1))
	vote := input(t, "vote", v.Address, true)
	r = n.mustCall(0, vote)
	expect(r.Logs[0], "Voted", []crypto.Hash{a(0), a(5)}, true, num(1), num(3))
	r = n.mustCall(0, input(t, "revoke", v.Address))
	expect(r.Logs[0], "Revoked", []crypto.Hash{a(0), a(5)}, num(0))
	n.mustCall(0, vote)
	n.mustCall(1, vote)
	remove := input(t, "vote", key(t, 3).Address(), false)
	n.mustCall(0, remove)
	n.mustCall(1, remove)
	// Both changes in one block: its event is the last log of the last call that
	// enacted, not of the last transaction.
	_, out := n.block(n.tx(2, 0, vote), n.tx(3, 0, remove), n.tx(2, 1, input(t, "vote", key(t, 0).Address(), false)))
	logs := [][]*types.Log{out.Receipts[0].Logs, out.Receipts[1].Logs, out.Receipts[2].Logs}
	if len(logs[0]) != 2 || len(logs[1]) != 3 || len(logs[2]) != 1 {
		t.Fatalf("logs %v", logs)
	}
	expect(logs[0][0], "Voted", []crypto.Hash{a(2), a(5)}, true, num(3), num(3))
	expect(logs[0][1], "ValidatorAdded", []crypto.Hash{a(5)}, v.PeerID, "another")
	expect(logs[1][1], "ValidatorRemoved", []crypto.Hash{a(3)})
	expect(logs[1][2], "SetChanged", []crypto.Hash{slotNumber(1)}, out.NextSet.Hash(), num(4))
	if logs[1][2].Index != 4 || logs[2][0].Index != 5 {
		t.Errorf("log indexes %d, %d", logs[1][2].Index, logs[2][0].Index)
	}
	if len(n.view("votes", key(t, 0).Address())[0].([]crypto.Address)) != 0 {
		t.Error("a vote outlived its epoch")
	}
}

// TestVoteIsForWhatTheListSays: votes lapse when the candidate says something
// else or leaves, so that nobody is added under a name or peer id that was not
// voted for.
func TestVoteIsForWhatTheListSays(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 4, 8)
	v := member(t, 5)
	vote := input(t, "vote", v.Address, true)
	votes := func() int { return len(n.view("votes", v.Address)[0].([]crypto.Address)) }
	n.mustCall(5, registration(t, 5, v, 0))
	n.mustCall(0, vote)
	n.mustCall(1, vote)
	if votes() != 2 {
		t.Fatalf("%d votes", votes())
	}
	v.PeerID = member(t, 6).PeerID
	n.mustCall(5, registration(t, 5, v, 1))
	if votes() != 0 {
		t.Errorf("%d votes after another registration", votes())
	}
	n.mustCall(0, vote)
	n.mustCall(5, input(t, "withdraw"))
	if votes() != 0 {
		t.Errorf("%d votes for who withdrew", votes())
	}
	n.mustCall(5, registration(t, 5, v, 2))
	if votes() != 0 {
		t.Errorf("%d votes after withdrawing", votes())
	}
	// Whoever keeps an earlier proof cannot use it.
	if _, err := n.call(7, registration(t, 5, member(t, 5), 0)); !errors.Is(err, RevertProof) {
		t.Errorf("%v", err)
	}
}

// TestNothingIsLeftBehind: who has left the lists leaves only the number of its
// registrations, whatever the lengths of its texts were.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 8)
	before := maps.Clone(n.slots[RegistryAddress])
	long := member(t, 5)
	long.Name = "a-name-of-32-characters-no-less-x"[:32]
	n.mustCall(5, registration(t, 5, long, 0))
	n.mustCall(6, registration(t, 6, member(t, 6), 0))
	n.mustCall(5, registration(t, 5, member(t, 5), 1))
	n.mustCall(5, registration(t, 5, long, 2))
	n.mustCall(0, input(t, "vote", long.Address, true)) // closes epoch 0
	n.mustCall(6, input(t, "withdraw"))
	remove := input(t, "vote", long.Address, false)
	n.mustCall(0, remove)
	n.mustCall(5, remove) // closes epoch 1
	want := before
	want[slotNumber(slotEpoch)] = slotNumber(2)
	want[closingSlot(1)], want[closingSlot(2)] = slotNumber(5), slotNumber(8)
	want[registrationsSlot(long.Address)], want[registrationsSlot(member(t, 6).Address)] = slotNumber(3), slotNumber(1)
	if got := n.slots[RegistryAddress]; !maps.Equal(got, want) {
		t.Errorf("storage %v, want %v", got, want)
	}
}

// TestChangesThatCancel: a member removed and, registered anew under the same
// peer id and name, added in one block leaves the hash as it was: nothing closes.
func TestChangesThatCancel(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 2)
	n.mustCall(1, registration(t, 1, member(t, 1), 0))
	n.change(1, true, 0)
	root := n.set(t).Hash()
	again := member(t, 1)
	remove, add := input(t, "vote", again.Address, false), input(t, "vote", again.Address, true)
	txs := []*types.Transaction{
		n.tx(0, 0, remove), n.tx(1, 0, remove), n.tx(0, 1, registration(t, 1, again, 1)), n.tx(1, 1, add), n.tx(0, 2, add),
	}
	_, out := n.block(txs...)
	for i, r := range out.Receipts {
		if r.Status != 1 {
			t.Errorf("transaction %d: status %d", i, r.Status)
		}
	}
	if out.Closing || n.number("epoch") != 1 || n.set(t).Hash() != root || n.number("candidateCount") != 0 {
		t.Errorf("closing %t, epoch %d", out.Closing, n.number("epoch"))
	}
}

// TestFreeNetworkRegisters: on a free network a validator without any money can
// vote.
func TestFreeNetworkRegisters(t *testing.T) {
	t.Parallel()
	spec := testSpec(t, 0)
	spec.Rules.Fees = genesis.FeeRules{Free: true}
	spec.Validators = []genesis.Validator{member(t, 0)}
	n := &network{newMemory(t, spec), t}
	n.mustCall(1, registration(t, 1, member(t, 1), 0))
	if out := n.change(1, true, 0); !out.Closing || !n.balance(key(t, 0).Address()).Eq(new(uint256.Int)) {
		t.Errorf("%+v", out)
	}
}
