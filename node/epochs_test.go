package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// registryCall packs a call of the validator registry.
func registryCall(t *testing.T, method string, args ...any) []byte {
	t.Helper()
	parsed, err := abi.JSON(bytes.NewReader(chain.RegistryABI))
	if err != nil {
		t.Fatal(err)
	}
	data, err := parsed.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// call makes node i's operator call the registry, and waits until the nodes at
// have it final and done.
func (c *cluster) call(i int, method string, args []any, at ...int) {
	c.t.Helper()
	tx := c.sign(testKey(byte(i+1)), genesis.RegistryAddress, 0, 3_000_000, registryCall(c.t, method, args...))
	c.submit(at[0], tx, at...)
	_, _, height, index, err := c.nodes[at[0]].driver.ledger.Transaction(tx.Hash())
	if err != nil {
		c.t.Fatal(err)
	}
	receipts, err := c.nodes[at[0]].driver.ledger.Receipts(height)
	if err != nil {
		c.t.Fatal(err)
	}
	if receipts[index].Status != 1 {
		c.t.Fatalf("%s%v by node %d was refused", method, args, i)
	}
}

// register enters node i in the registry's candidates.
func (c *cluster) register(i int, at ...int) {
	c.t.Helper()
	key := testKey(byte(i + 1))
	v := genesis.Validator{Address: key.Address(), PeerID: c.ids[i], Name: fmt.Sprintf("node%d", i)}
	proof := genesis.SignRegistration(key, c.spec.ChainID, v, 0)
	c.call(i, "register", []any{v.Address, v.PeerID, v.Name, proof[:]}, at...)
}

// members waits until every running node has a set of n validators.
func (c *cluster) members(n int) {
	c.t.Helper()
	for i, r := range c.nodes {
		if r != nil {
			c.await(fmt.Sprintf("node %d has a set of %d", i, n), func() bool { return r.Status().Validators == n })
		}
	}
}

// TestValidatorChanges: a network of one grows to four and shrinks to one again,
// member by member, while transfers go on; the set survives a restart, and a node
// that joins late walks through all epochs.
func TestValidatorChanges(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 4, nil)
	c.startFirst(4)
	all := []int{0, 1, 2, 3}
	address := func(i int) crypto.Address { return testKey(byte(i + 1)).Address() }
	for i := 1; i < 4; i++ {
		c.register(i, all...)
		for voter := range genesis.Quorum(i) {
			c.call(voter, "vote", []any{address(i), true}, all...)
		}
		c.members(i + 1)
		c.pay(i, i%4, all...)
	}
	for _, i := range all {
		if s := c.nodes[i].Status(); s.Role != "validator" || s.Epoch != 3 || !s.Voting {
			t.Errorf("node %d after growing: %+v", i, s)
		}
	}
	// A quorum of four is needed and enough now.
	ids := append(slices.Clone(c.ids[:4]), c.ids[4], "nonsense")
	c.await("node 2 sees who is here", func() bool { // who answers late counts as away
		for i, p := range c.nodes[2].presence(t.Context(), ids) {
			if here := i < 4; p.Connected != here || p.Answered != here || p.Signs != here || here && p.Height+1 < c.height(2) {
				return false
			}
		}
		return true
	})
	c.stop(0)
	c.pay(1, 0, 1, 2, 3)
	c.start(0)
	c.await("node 0 has caught up", func() bool { return c.height(0) == c.height(1) })
	for i := 0; i < 3; i++ {
		for voter := 3; voter > 3-genesis.Quorum(4-i); voter-- {
			c.call(voter, "vote", []any{address(i), false}, all...)
		}
		c.members(3 - i)
		c.pay(i, 1, all...) // a removed member goes on as a full node
	}
	if s := c.nodes[0].Status(); s.Role != "full" || s.Epoch != 6 {
		t.Errorf("node 0 after shrinking: %+v", s)
	}
	c.stop(3)
	c.start(3)
	c.pay(3, 2, all...)
	c.start(4)
	c.await("the late node has walked through the epochs", func() bool { return c.height(4) == c.height(3) && c.nodes[4].Status().Epoch == 6 })
	c.sameChain()
	c.noEvidence()
	// The database of the late node verifies, set by set.
	c.stop(4)
	h, err := OpenHome(c.homes[4], "")
	if err != nil {
		t.Fatal(err)
	}
	result, err := Check(t.Context(), h.Store, h.Spec, CheckOptions{
		Finding: func(text string) { t.Error(text) }, Note: func(text string) { t.Error(text) },
		Progress: func(string, uint64, uint64) {},
	})
	if err := errors.Join(err, h.Close()); err != nil || result.Epoch != 6 || result.Certificates < 6 {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestWorkAcrossEpochs: transactions that wait while the set changes are in the
// first blocks of the new one. Here a block holds one, and what waits has later
// nonces than the vote.
func TestWorkAcrossEpochs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, func(s *genesis.Spec) { s.Rules.BlockTransactions = 1 })
	c.startFirst(2)
	c.register(1, 0, 1)
	voter := testKey(1)
	c.submit(0, c.sign(voter, genesis.RegistryAddress, 0, 3_000_000, registryCall(t, "vote", testKey(2).Address(), true)))
	var last *types.Transaction
	for range 4 {
		last = c.sign(voter, crypto.Address{19: 7}, 1, 21_000, nil)
		c.submit(0, last)
	}
	c.members(2)
	c.await("all that waited is final", func() bool { return c.final(1, last) })
	c.sameChain()
}
