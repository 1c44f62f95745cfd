package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// member is the validator with key i.
func member(i int) genesis.Validator {
	peer := crypto.Keccak256(fmt.Appendf(nil, "peer %d", i))
	return genesis.Validator{Address: key(i).Address(), PeerID: genesis.PeerID(peer[:]), Name: fmt.Sprintf("member-%d", i)}
}

// memberSpec has validators with the keys 0 to n−1.
func memberSpec(n, accounts int) *genesis.Spec {
	spec := testSpec(accounts)
	spec.Validators = nil
	for i := range n {
		spec.Validators = append(spec.Validators, member(i))
	}
	return spec
}

// registryCall is a transaction of key i to the registry.
func (n *node) registryCall(i int, nonce uint64, method string, args ...any) *types.Transaction {
	n.t.Helper()
	parsed, err := abi.JSON(strings.NewReader(string(chain.RegistryABI)))
	if err != nil {
		n.t.Fatal(err)
	}
	data, err := parsed.Pack(method, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return sign(key(i), &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &chain.RegistryAddress, Gas: 400_000, Data: data,
		GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(3 * baseFee),
	})
}

func (n *node) register(i int, nonce uint64) *types.Transaction {
	v := member(i)
	proof := genesis.SignRegistration(key(i), testChainID, v, 0)
	return n.registryCall(i, nonce, "register", v.Address, v.PeerID, v.Name, proof[:])
}

func addresses(set *genesis.ValidatorSet) []crypto.Address {
	if set == nil {
		return nil
	}
	return set.Addresses()
}

// TestValidators: the set moves with the final head and not before, is told for
// every height, and is the same after a restart and after a power loss.
func TestValidators(t *testing.T) {
	t.Parallel()
	n := newNode(t, memberSpec(1, 6), Options{})
	n.finalize(n.build(n.head(), n.register(1, 0), n.register(2, 0), n.register(3, 0)))
	vote := func(i int, nonce uint64, subject int, add bool) *types.Transaction {
		return n.registryCall(i, nonce, "vote", key(subject).Address(), add)
	}
	// Two children of the head: one closes the epoch, one does not.
	closing := n.build(n.head(), vote(0, 0, 1, true), vote(0, 1, 2, true), vote(0, 2, 3, true))
	other := n.build(n.head(), transfer(key(4), 0, key(5).Address(), 1, 0))
	if !n.l.Closing(closing.Hash()) || n.l.Closing(other.Hash()) || n.l.NextSet(other.Hash()) != nil || n.l.NextSet(n.head()) != nil {
		t.Error("which block is closing?")
	}
	next := n.l.NextSet(closing.Hash())
	if next == nil || next.Len() != 4 || next.Hash() != closing.MixDigest() {
		t.Fatalf("next set %v", addresses(next))
	}
	if set, epoch := n.l.Validators(); set.Len() != 1 || epoch != 0 {
		t.Errorf("before it is final: epoch %d, %v", epoch, addresses(set))
	}
	if _, err := n.l.EpochEnd(0); !errors.Is(err, ErrNotFound) {
		t.Errorf("end of a running epoch: %v", err)
	}
	n.finalize(closing)
	if set := n.l.NextSet(closing.Hash()); set == nil || set.Hash() != next.Hash() || !n.l.Closing(closing.Hash()) {
		t.Errorf("as the head: %v", addresses(set))
	}
	// Three of four remove one; in one batch with a plain block before and after.
	a := n.build(n.head(), vote(1, 1, 0, false), vote(2, 1, 0, false))
	b := n.build(a.Hash(), vote(3, 1, 0, false))
	c := n.build(b.Hash(), transfer(key(4), 0, key(5).Address(), 1, 0))
	n.finalize(c)
	if n.l.Closing(c.Hash()) || n.l.NextSet(c.Hash()) != nil {
		t.Error("the child of a closing block is not closing")
	}
	n.checkValidators([]int{1, 1, 4, 4, 3, 3}, []uint64{0, 2, 4})
	want := n.allReceipts()
	n.reopen()
	n.checkValidators([]int{1, 1, 4, 4, 3, 3}, []uint64{0, 2, 4})
	n.crash(nil)
	n.checkValidators([]int{1, 1, 4, 4, 3, 3}, []uint64{0, 2, 4})
	if got := n.allReceipts(); !reflect.DeepEqual(got, want) {
		t.Errorf("receipts after a restart:\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(strings.Join(want, ""), strings.ToLower(chain.RegistryAddress.Hex())) {
		t.Error("no receipt has a log")
	}
	n.proveRegistry()
}

// checkValidators compares the size of the set after each height, and the
// closing heights.
func (n *node) checkValidators(sizes []int, closings []uint64) {
	n.t.Helper()
	epoch := uint32(0)
	for height, size := range sizes {
		if height > 0 && slices.Contains(closings, uint64(height)) {
			epoch++
		}
		set, e, err := n.l.ValidatorsAt(uint64(height))
		if err != nil || set.Len() != size || e != epoch {
			n.t.Errorf("height %d: epoch %d, %v, %v; want epoch %d and %d members", height, e, addresses(set), err, epoch, size)
		}
	}
	last := len(sizes) - 1
	if set, e := n.l.Validators(); set.Len() != sizes[last] || e != epoch {
		n.t.Errorf("head: epoch %d, %v", e, addresses(set))
	}
	if _, _, err := n.l.ValidatorsAt(uint64(last + 1)); !errors.Is(err, ErrFuture) {
		n.t.Errorf("above the head: %v", err)
	}
	for e, height := range closings {
		if got, err := n.l.ClosingHeight(uint32(e)); err != nil || got != height {
			n.t.Errorf("closing height of epoch %d: %d, %v, want %d", e, got, err, height)
		}
		if e > 0 {
			if got, err := n.l.EpochEnd(uint32(e - 1)); err != nil || got != height {
				n.t.Errorf("end of epoch %d: %d, %v, want %d", e-1, got, err, height)
			}
		}
	}
	for _, e := range []uint32{uint32(len(closings)), 1<<32 - 1} {
		if _, err := n.l.ClosingHeight(e); !errors.Is(err, ErrNotFound) {
			n.t.Errorf("closing height of epoch %d: %v", e, err)
		}
		if _, err := n.l.EpochEnd(e); !errors.Is(err, ErrNotFound) {
			n.t.Errorf("end of epoch %d: %v", e, err)
		}
	}
}

// allReceipts are the receipts of every block in JSON; they are compared before
// and after a restart, when they come from the store.
func (n *node) allReceipts() []string {
	n.t.Helper()
	var out []string
	for height := range n.l.HeadInfo().Height + 1 {
		receipts, err := n.l.Receipts(height)
		if err != nil {
			n.t.Fatal(err)
		}
		header, err := n.l.HeaderByHeight(height)
		if err != nil {
			n.t.Fatal(err)
		}
		if got := types.MergeBloom(receipts); got != header.Bloom {
			n.t.Errorf("height %d: bloom of the receipts is not the header's", height)
		}
		text, err := json.Marshal(receipts)
		if err != nil {
			n.t.Fatal(err)
		}
		out = append(out, string(text))
	}
	n.checkSingleReceipts()
	return out
}

// checkSingleReceipts compares each receipt that is read alone, from the store,
// with that of its whole block.
func (n *node) checkSingleReceipts() {
	n.t.Helper()
	for height := range n.l.HeadInfo().Height + 1 {
		receipts, err := n.l.Receipts(height)
		if err != nil {
			n.t.Fatal(err)
		}
		n.l.blocks = newBlockCache(n.l.blocks.limit)
		for i, want := range receipts {
			tx, _, err := n.l.TransactionAt(height, uint64(i))
			if err != nil {
				n.t.Fatal(err)
			}
			got, err := n.l.Receipt(tx, height, uint64(i))
			if err != nil || !reflect.DeepEqual(got, want) {
				n.t.Fatalf("receipt %d of block %d: %+v, want %+v, %v", i, height, got, want, err)
			}
		}
	}
}

// proveRegistry proves every slot that the registry ever had, by go-ethereum's
// verifier, at the head and compares it with the flat state.
func (n *node) proveRegistry() {
	n.t.Helper()
	set, epoch := n.l.Validators()
	var slots []crypto.Hash
	for _, s := range chain.RegistrySlots(set, epoch) {
		slots = append(slots, s.Slot)
	}
	for _, s := range chain.RegistrySlots(n.spec.ValidatorSet(), 0) { // some are gone
		slots = append(slots, s.Slot)
	}
	head := n.l.Head()
	p, err := n.l.Proof(chain.RegistryAddress, slots, head.Number.Uint64())
	if err != nil {
		n.t.Fatal(err)
	}
	if leaf := verify(n.t, head.Root, crypto.Keccak256(chain.RegistryAddress[:]), p.Proof); !slices.Equal(leaf, p.Account.Encode()) {
		n.t.Errorf("proven account %x", leaf)
	}
	for i, s := range p.Storage {
		value, err := n.l.Slot(chain.RegistryAddress, slots[i])
		if err != nil || value != s.Value {
			n.t.Errorf("slot %s: %s, proven %s: %v", slots[i], value, s.Value, err)
		}
		if leaf := verify(n.t, p.Account.StorageRoot, crypto.Keccak256(slots[i][:]), s.Proof); !slices.Equal(leaf, chain.EncodeSlot(value)) {
			n.t.Errorf("slot %s: leaf %x, want %s", slots[i], leaf, value)
		}
	}
}

// TestValidatorsWithoutHistory: a node without history knows the set of its head
// and every closing height.
func TestValidatorsWithoutHistory(t *testing.T) {
	t.Parallel()
	n := &node{t: t, fs: vfs.NewCrashableMem(), spec: memberSpec(1, 3), stOpts: store.Options{NoHistory: true}}
	n.millis = n.spec.Timestamp
	n.open()
	n.finalize(n.build(n.head(), n.register(1, 0)))
	n.finalize(n.build(n.head(), n.registryCall(0, 0, "vote", key(1).Address(), true)))
	n.reopen()
	if set, epoch := n.l.Validators(); set.Len() != 2 || epoch != 1 {
		t.Errorf("epoch %d, %v", epoch, addresses(set))
	}
	if set, _, err := n.l.ValidatorsAt(2); err != nil || set.Len() != 2 {
		t.Errorf("at the head: %v", err)
	}
	if _, _, err := n.l.ValidatorsAt(1); !errors.Is(err, ErrNoHistory) {
		t.Errorf("below the head: %v", err)
	}
	if height, err := n.l.EpochEnd(0); err != nil || height != 2 {
		t.Errorf("end of epoch 0: %d, %v", height, err)
	}
	if err := n.st.Close(); err != nil {
		t.Error(err)
	}
}

// TestManyChanges: many registry writes over many blocks, some finalized several
// at a time; every block's storage is proven by go-ethereum's verifier.
func TestManyChanges(t *testing.T) {
	t.Parallel()
	const keys = 12
	n := newNode(t, memberSpec(1, keys), Options{TrieNodes: 16, ProofRoots: 4})
	nonces := make([]uint64, keys)
	call := func(i int, method string, args ...any) *types.Transaction {
		nonces[i]++
		return n.registryCall(i, nonces[i]-1, method, args...)
	}
	change := func(size, subject int, add bool) {
		t.Helper()
		var b *types.Block
		parent := n.head()
		for voter := range genesis.Quorum(size) {
			b = n.build(parent, call(voter, "vote", key(subject).Address(), add))
			parent = b.Hash()
		}
		n.finalize(b)
		if !n.l.Closing(b.Hash()) {
			t.Fatalf("change of %d closes nothing", subject)
		}
		n.proveRegistry()
	}
	for i := 1; i < keys; i++ {
		nonces[i]++
		n.finalize(n.build(n.head(), n.register(i, 0)))
		change(i, i, true)
	}
	for i := keys - 1; i > 0; i-- {
		change(i+1, i, false)
	}
	set, epoch := n.l.Validators()
	if set.Len() != 1 || set.At(0) != member(0) || epoch != 2*(keys-1) {
		t.Errorf("epoch %d, %v", epoch, addresses(set))
	}
	n.reopen()
	n.proveRegistry()
	for height := n.l.Provable(); height <= n.l.HeadInfo().Height; height++ {
		if _, err := n.l.Proof(chain.RegistryAddress, []crypto.Hash{{31: 1}}, height); err != nil {
			t.Errorf("proof at height %d: %v", height, err)
		}
	}
}
