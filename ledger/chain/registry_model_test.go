package chain

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	ethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/internal/randtest"
)

// registryModel restates docs/registry.md with maps and no slot.
type registryModel struct {
	members       map[crypto.Address]genesis.Validator // of the epoch
	next          map[crypto.Address]genesis.Validator
	candidates    map[crypto.Address]genesis.Validator
	registrations map[crypto.Address]uint64
	votes         map[crypto.Address]map[crypto.Address]bool // subject → voters
	convictions   map[crypto.Address]uint64
	convicted     []crypto.Address
	epoch         uint64
	closings      []uint64
}

func newRegistryModel(members []genesis.Validator) *registryModel {
	m := &registryModel{
		members: map[crypto.Address]genesis.Validator{}, next: map[crypto.Address]genesis.Validator{}, candidates: map[crypto.Address]genesis.Validator{},
		registrations: map[crypto.Address]uint64{}, votes: map[crypto.Address]map[crypto.Address]bool{}, closings: []uint64{0},
		convictions: map[crypto.Address]uint64{},
	}
	for _, v := range members {
		m.members[v.Address], m.next[v.Address] = v, v
	}
	return m
}

func (m *registryModel) unique(v genesis.Validator) bool {
	for _, o := range m.next {
		if o.Address == v.Address || o.PeerID == v.PeerID || o.Name == v.Name {
			return false
		}
	}
	return true
}

// register says whether a registration with a proof for number is taken.
func (m *registryModel) register(v genesis.Validator, number uint64) bool {
	if !m.unique(v) || m.registrations[v.Address] != number {
		return false
	}
	m.registrations[v.Address]++
	m.candidates[v.Address] = v
	delete(m.votes, v.Address)
	return true
}

func (m *registryModel) withdraw(a crypto.Address) bool {
	_, ok := m.candidates[a]
	delete(m.candidates, a)
	if ok {
		delete(m.votes, a)
	}
	return ok
}

func (m *registryModel) vote(from, subject crypto.Address, add bool) bool {
	_, voter := m.members[from]
	_, member := m.next[subject]
	candidate, registered := m.candidates[subject]
	switch {
	case !voter, m.votes[subject][from], add == member:
		return false
	case add && (!registered || !m.unique(candidate)), !add && len(m.next) == 1:
		return false
	}
	if m.votes[subject] == nil {
		m.votes[subject] = map[crypto.Address]bool{}
	}
	m.votes[subject][from] = true
	quorum := map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5, 8: 6, 9: 6, 10: 7}[len(m.members)]
	if len(m.votes[subject]) < quorum {
		return true
	}
	delete(m.votes, subject)
	if add {
		m.next[subject] = candidate
		delete(m.candidates, subject)
	} else {
		delete(m.next, subject)
	}
	return true
}

func (m *registryModel) revoke(from, subject crypto.Address) bool {
	_, voter := m.members[from]
	ok := voter && m.votes[subject][from]
	delete(m.votes[subject], from)
	return ok
}

// report says whether two good votes of a view of an epoch convict subject.
func (m *registryModel) report(subject crypto.Address, epoch uint64) bool {
	_, member := m.members[subject]
	if !member || epoch > m.epoch || epoch < m.convictions[subject] {
		return false
	}
	m.convictions[subject] = m.epoch + 1
	m.convicted = append(m.convicted, subject)
	return true
}

// close ends a block and says whether it is closing.
func (m *registryModel) close(height uint64) bool {
	if maps.Equal(m.members, m.next) {
		return false
	}
	var stay []crypto.Address
	for _, a := range m.convicted {
		if _, in := m.next[a]; in && len(m.next) == 1 {
			stay = append(stay, a)
			continue
		}
		delete(m.next, a)
	}
	m.members, m.convicted = maps.Clone(m.next), stay
	m.votes = map[crypto.Address]map[crypto.Address]bool{}
	m.epoch++
	m.closings = append(m.closings, height)
	return true
}

// randomCall draws a call of key i and says what the model makes of it.
func randomCall(t *testing.T, r *rand.Rand, n *network, m *registryModel, keys int) (from int, data []byte, ok bool) {
	from = r.IntN(keys)
	sender, subject := key(t, from).Address(), r.IntN(keys)
	address := key(t, subject).Address()
	switch r.IntN(11) {
	case 10:
		epoch := m.epoch
		if r.IntN(2) == 0 {
			epoch = r.Uint64N(m.epoch + 2)
		}
		return from, n.report(subject, uint32(epoch), 1+r.Uint64N(5)), m.report(address, epoch)
	case 0, 1:
		v := member(t, subject)
		if r.IntN(3) == 0 { // of another one, or changed
			v.PeerID = member(t, r.IntN(2*keys)).PeerID
		}
		if r.IntN(3) == 0 {
			v.Name = fmt.Sprintf("member-%d", r.IntN(2*keys))
		}
		number := m.registrations[address]
		if r.IntN(5) == 0 {
			number += r.Uint64N(3) - 1
		}
		return from, registration(t, subject, v, number), m.register(v, number)
	case 2:
		if r.IntN(3) > 0 {
			return from, input(t, "epoch"), false
		}
		return from, input(t, "withdraw"), m.withdraw(sender)
	case 3:
		return from, input(t, "revoke", address), m.revoke(sender, address)
	default:
		_, isMember := m.next[address]
		add := isMember == (r.IntN(12) == 0)
		return from, input(t, "vote", address, add), m.vote(sender, address, add)
	}
}

// TestRegistryAgainstModel runs blocks of random calls and compares status,
// closing, every view and the whole storage.
func TestRegistryAgainstModel(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	const keys = 10
	closed, undone, largest, smallest := 0, 0, 0, keys
	for range 4 {
		start := 1 + r.IntN(7)
		n := newStrict(t, start, keys)
		var members []genesis.Validator
		for i := range start {
			members = append(members, member(t, i))
		}
		m := newRegistryModel(members)
		for range 60 {
			ahead := map[int]uint64{}
			var txs []*types.Transaction
			var want []uint64
			was := len(m.closings)
			enacted := false
			for range r.IntN(14) {
				from, data, ok := randomCall(t, r, n, m, keys)
				txs = append(txs, n.tx(from, ahead[from], data))
				ahead[from]++
				status := uint64(0)
				if ok {
					status = 1
				}
				want = append(want, status)
				enacted = enacted || !maps.Equal(m.members, m.next)
			}
			block, out := n.block(txs...)
			for i, rec := range out.Receipts {
				if rec.Status != want[i] {
					t.Fatalf("block %d, transaction %d: status %d, the model says %d", block.NumberU64(), i, rec.Status, want[i])
				}
			}
			if closing := m.close(block.NumberU64()); closing != out.Closing {
				t.Fatalf("block %d: closing %t, the model says %t", block.NumberU64(), out.Closing, closing)
			}
			if len(m.closings) > was {
				closed++
			} else if enacted {
				undone++
			}
			largest, smallest = max(largest, len(m.members)), min(smallest, len(m.members))
			n.compare(m, keys)
			n.checkBlock(block, out)
		}
	}
	t.Logf("%d closing blocks, %d that undid their changes, sets of %d to %d", closed, undone, smallest, largest)
	if closed == 0 {
		t.Error("no block was closing")
	}
}

// compare holds every view against the model.
func (n *network) compare(m *registryModel, keys int) {
	n.t.Helper()
	sorted := func(of map[crypto.Address]genesis.Validator) []genesis.Validator {
		return slices.SortedFunc(maps.Values(of), func(a, b genesis.Validator) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	}
	check := func(what string, got, want any) {
		n.t.Helper()
		if !reflect.DeepEqual(got, want) {
			n.t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
	members := sorted(m.members)
	check("validators", n.list("validators"), members)
	set, err := genesis.NewValidatorSet(members)
	if err != nil {
		n.t.Fatal(err)
	}
	check("set hash", crypto.Hash(n.view("setHash")[0].([32]byte)), set.Hash())
	check("epoch", n.number("epoch"), m.epoch)
	read, epoch, err := ReadRegistry(n.memory)
	if err != nil || read.Hash() != set.Hash() || uint64(epoch) != m.epoch {
		n.t.Fatalf("ReadRegistry: %v, epoch %d, %v", read, epoch, err)
	}
	for e, height := range m.closings {
		check("closing height", n.number("closingHeight", big.NewInt(int64(e))), height)
		if got, err := ClosingHeight(n.memory, uint32(e)); err != nil || got != height {
			n.t.Fatalf("ClosingHeight(%d): %d, %v", e, got, err)
		}
	}
	if _, err := ClosingHeight(n.memory, uint32(len(m.closings))); !errors.Is(err, RevertEpoch) {
		n.t.Fatalf("closing height of an epoch to come: %v", err)
	}
	check("convicted", append([]crypto.Address{}, n.convicted()...), append([]crypto.Address{}, m.convicted...))
	if read, err := ReadConvicted(n.memory); err != nil || !slices.Equal(read, m.convicted) {
		n.t.Fatalf("ReadConvicted: %v, %v", read, err)
	}
	candidates := n.list("candidates")
	check("candidate count", n.number("candidateCount"), uint64(len(candidates)))
	middle := big.NewInt(int64(len(candidates) / 2))
	check("candidate range", append(n.list("candidateRange", new(big.Int), middle), n.list("candidateRange", middle, big.NewInt(1<<40))...), candidates)
	slices.SortFunc(candidates, func(a, b genesis.Validator) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	check("candidates", append([]genesis.Validator{}, candidates...), append([]genesis.Validator{}, sorted(m.candidates)...))
	for i := range keys {
		a := key(n.t, i).Address()
		_, isMember := m.members[a]
		check("isValidator", n.view("isValidator", a)[0].(bool), isMember)
		check("convictions", n.number("convictions", a), m.convictions[a])
		check("registrations", n.number("registrations", a), m.registrations[a])
		c, registered := m.candidates[a]
		check("candidate", n.view("candidate", a), []any{registered, c.PeerID, c.Name})
		voters := slices.SortedFunc(maps.Keys(m.votes[a]), crypto.Address.Cmp)
		check("votes", append([]crypto.Address{}, n.view("votes", a)[0].([]crypto.Address)...), append([]crypto.Address{}, voters...))
	}
}

// checkBlock holds roots, bloom and logs against go-ethereum.
func (n *network) checkBlock(block *types.Block, out *Output) {
	n.t.Helper()
	storage := ethtrie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	for slot, value := range n.slots[RegistryAddress] {
		k := crypto.Keccak256(slot[:])
		storage.MustUpdate(k[:], EncodeSlot(value))
	}
	if got := n.accounts[RegistryAddress]; got.StorageRoot != storage.Hash() || got.Nonce != 0 || !got.Balance.IsZero() {
		n.t.Fatalf("registry %+v, storage root by go-ethereum %s", got, storage.Hash())
	}
	if want := referenceStateRoot(n.t, n.memory); block.Root() != want {
		n.t.Fatalf("state root %s, go-ethereum's trie has %s", block.Root(), want)
	}
	if got := types.DeriveSha(out.Receipts, ethtrie.NewListHasher()); got != block.ReceiptHash() {
		n.t.Fatalf("receipts root %s, go-ethereum has %s", block.ReceiptHash(), got)
	}
	if got := types.MergeBloom(out.Receipts); got != block.Bloom() {
		n.t.Fatal("wrong bloom")
	}
	index, changed := uint(0), 0
	for i, r := range out.Receipts {
		for _, l := range r.Logs {
			if l.Index != index || l.TxIndex != uint(i) || l.BlockHash != block.Hash() || l.BlockNumber != block.NumberU64() || l.TxHash != r.TxHash || l.Address != RegistryAddress {
				n.t.Fatalf("log %+v is not in its place", l)
			}
			if !types.BloomLookup(block.Bloom(), l.Topics[0]) || !types.BloomLookup(block.Bloom(), RegistryAddress) {
				n.t.Fatal("the bloom lacks a log")
			}
			e, err := registryABI.EventByID(l.Topics[0])
			if err != nil {
				n.t.Fatal(err)
			}
			if _, err := e.Inputs.NonIndexed().Unpack(l.Data); err != nil {
				n.t.Fatal(err)
			}
			if e.Name == "SetChanged" {
				changed++
			}
			index++
		}
	}
	if (changed == 1) != out.Closing || changed > 1 {
		n.t.Fatalf("closing %t, %d events of it", out.Closing, changed)
	}
}
