package chain

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/trie"
)

// registry is the registry's storage under execution of one block.
//
// The set of the epoch, who votes and how many make a quorum, is fixed until the
// block ends. What a quorum enacts meanwhile gathers in next, against which
// changes are checked; close puts it in force. So all changes of one block are
// one change of the set.
type registry struct {
	registryReader // of slots
	slots          *slotOverlay
	set            *genesis.ValidatorSet // of the epoch
	epoch          uint32
	next           []genesis.Validator // set with what was enacted, sorted by address
	enacted        int                 // changes so far
}

// slotOverlay holds the slots of the registry that were read or written.
type slotOverlay struct {
	Reader
	entries map[crypto.Hash]slotEntry
}

type slotEntry struct{ old, value crypto.Hash }

// Slot implements Reader for the registry's address.
func (o *slotOverlay) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	if e, ok := o.entries[slot]; ok {
		return e.value, nil
	}
	v, err := o.Reader.Slot(a, slot)
	if err == nil {
		o.entries[slot] = slotEntry{v, v}
	}
	return v, err
}

// changes are the changed slots, sorted.
func (o *slotOverlay) changes() []SlotChange {
	var out []SlotChange
	for slot, e := range o.entries {
		if e.old != e.value {
			out = append(out, SlotChange{Address: RegistryAddress, Slot: slot, Old: e.old, New: e.value})
		}
	}
	sortSlots(out)
	return out
}

func sortSlots(s []SlotChange) {
	slices.SortFunc(s, func(a, b SlotChange) int { return bytes.Compare(a.Slot[:], b.Slot[:]) })
}

// loadRegistry reads the set and its epoch. A damaged registry is a failure,
// not an *InvalidError.
func loadRegistry(r Reader) (*registry, error) {
	o := &slotOverlay{Reader: r, entries: make(map[crypto.Hash]slotEntry)}
	set, epoch, err := ReadRegistry(o)
	if err != nil {
		return nil, notInvalid(err)
	}
	g := &registry{registryReader: registryReader{Reader: o}, slots: o, set: set, epoch: epoch}
	for i := range set.Len() {
		g.next = append(g.next, set.At(i))
	}
	return g, nil
}

// put writes a slot. Like every accessor it does nothing after a failed read.
func (g *registry) put(slot, value crypto.Hash) {
	old := g.slot(slot)
	if g.err == nil && old != value {
		g.slots.entries[slot] = slotEntry{g.slots.entries[slot].old, value}
	}
}

func (g *registry) putNumber(slot crypto.Hash, n uint64) { g.put(slot, slotNumber(n)) }

// putText replaces a string.
func (g *registry) putText(slot crypto.Hash, s string) {
	if old := g.text(slot); len(old) > 31 {
		data := crypto.Keccak256(slot[:])
		for i := 0; 32*i < len(old); i++ {
			g.put(slotPlus(data, uint64(i)), crypto.Hash{})
		}
	}
	putString(g.put, slot, s)
}

// find is the place of an address in next.
func (g *registry) find(a crypto.Address) (int, bool) {
	return slices.BinarySearchFunc(g.next, a, func(v genesis.Validator, a crypto.Address) int {
		return bytes.Compare(v.Address[:], a[:])
	})
}

// checkUnique refuses an address, peer id or name that a member of next has.
func (g *registry) checkUnique(v genesis.Validator) error {
	for _, m := range g.next {
		switch {
		case m.Address == v.Address:
			return reverted(RevertMember, "%s", v.Address)
		case m.PeerID == v.PeerID:
			return reverted(RevertPeerID, "%s has %s", m.Address, v.PeerID)
		case m.Name == v.Name:
			return reverted(RevertName, "%s is called %s", m.Address, v.Name)
		}
	}
	return nil
}

// register puts a candidate on the list, or replaces what the list says of it.
// Votes for it lapse: they were for what it said before.
func (g *registry) register(chainID uint64, args []any) ([]*types.Log, error) {
	v := genesis.Validator{Address: args[0].(crypto.Address), PeerID: args[1].(string), Name: args[2].(string)}
	if err := v.Validate(); err != nil {
		return nil, reverted(RevertCandidate, "%v", err)
	}
	if err := g.checkUnique(v); err != nil {
		return nil, err
	}
	proof, err := crypto.ParseSignature(args[3].([]byte))
	if err != nil {
		return nil, reverted(RevertProof, "%v", err)
	}
	number := g.number(registrationsSlot(v.Address))
	if g.err != nil {
		return nil, nil
	}
	if err := proof.Verify(genesis.RegistrationDigest(chainID, v, number), v.Address); err != nil {
		return nil, reverted(RevertProof, "registration %d on chain %d: %v", number, chainID, err)
	}
	g.putNumber(registrationsSlot(v.Address), number+1)
	g.putCandidate(v)
	g.put(g.votesSlot(v.Address), crypto.Hash{})
	return []*types.Log{newLog("Registered", topics(v.Address), v.PeerID, v.Name, uint256.NewInt(number).ToBig())}, nil
}

// withdraw takes the sender off the list of candidates.
func (g *registry) withdraw(from crypto.Address) ([]*types.Log, error) {
	if _, ok := g.candidate(from); !ok {
		return nil, reverted(RevertNotRegistered, "%s", from)
	}
	g.dropCandidate(from)
	g.put(g.votesSlot(from), crypto.Hash{})
	return []*types.Log{newLog("Withdrawn", topics(from))}, nil
}

// voter is the place of the sender in the set of the epoch.
func (g *registry) voter(from crypto.Address) (int, error) {
	i, ok := g.set.Index(from)
	if !ok {
		return 0, reverted(RevertNotValidator, "%s", from)
	}
	return i, nil
}

// checkChange says whether subject could be added or removed now, and answers
// the candidate that would be added.
func (g *registry) checkChange(subject crypto.Address, add bool) (genesis.Validator, error) {
	_, member := g.find(subject)
	if !add {
		switch {
		case !member:
			return genesis.Validator{}, reverted(RevertNotMember, "%s", subject)
		case len(g.next) == 1:
			return genesis.Validator{}, &RevertError{Kind: RevertLast}
		}
		return genesis.Validator{}, nil
	}
	if member {
		return genesis.Validator{}, reverted(RevertMember, "%s", subject)
	}
	v, ok := g.candidate(subject)
	switch {
	case g.err != nil:
		return v, nil
	case !ok:
		return v, reverted(RevertNotRegistered, "%s", subject)
	case len(g.next) >= maxMembers:
		return v, reverted(RevertFull, "%d members", len(g.next))
	}
	return v, g.checkUnique(v)
}

// vote counts the sender's vote to add or remove subject, and enacts the change
// when a quorum of the epoch's set has voted so.
func (g *registry) vote(from, subject crypto.Address, add bool) ([]*types.Log, error) {
	i, err := g.voter(from)
	if err != nil {
		return nil, err
	}
	if _, err := g.checkChange(subject, add); err != nil {
		return nil, err
	}
	votes := g.votes(subject)
	if votes.has(i) {
		return nil, reverted(RevertVoted, "%s on %s", from, subject)
	}
	votes.flip(i)
	count, quorum := votes.count(), genesis.Quorum(g.set.Len())
	g.put(g.votesSlot(subject), crypto.Hash(votes))
	logs := []*types.Log{newLog("Voted", topics(from, subject), add, bigInt(count), bigInt(quorum))}
	if count < quorum {
		return logs, nil
	}
	log, err := g.enact(subject, add)
	return append(logs, log), err
}

// revoke takes the sender's vote on subject back.
func (g *registry) revoke(from, subject crypto.Address) ([]*types.Log, error) {
	i, err := g.voter(from)
	if err != nil {
		return nil, err
	}
	votes := g.votes(subject)
	if !votes.has(i) {
		return nil, reverted(RevertNoVote, "%s on %s", from, subject)
	}
	votes.flip(i)
	g.put(g.votesSlot(subject), crypto.Hash(votes))
	return []*types.Log{newLog("Revoked", topics(from, subject), bigInt(votes.count()))}, nil
}

// enact puts a change, which checkChange has let through, into next.
func (g *registry) enact(subject crypto.Address, add bool) (*types.Log, error) {
	g.enacted++
	g.put(g.votesSlot(subject), crypto.Hash{})
	i, _ := g.find(subject)
	if !add {
		g.next = slices.Delete(g.next, i, i+1)
		return newLog("ValidatorRemoved", topics(subject)), nil
	}
	v, _ := g.candidate(subject)
	g.dropCandidate(subject)
	if g.err != nil {
		return nil, g.err
	}
	g.next = slices.Insert(g.next, i, v)
	return newLog("ValidatorAdded", topics(subject), v.PeerID, v.Name), nil
}

// close ends the block at height. When next differs from the set of the epoch it
// puts next, without the convicted members, in force and answers it with the
// events, else nil: a block that leaves the hash as it was closes nothing.
func (g *registry) close(height uint64) (*genesis.ValidatorSet, []*types.Log, error) {
	next, gone := g.nextSet()
	if next == nil {
		return nil, nil, nil
	}
	epoch := g.epoch + 1
	for _, s := range RegistrySlots(g.set, g.epoch) {
		g.put(s.Slot, crypto.Hash{})
	}
	for _, s := range RegistrySlots(next, epoch) {
		g.put(s.Slot, s.New)
	}
	g.putNumber(closingSlot(epoch), height)
	if g.err != nil {
		return nil, nil, notInvalid(g.err)
	}
	var logs []*types.Log
	for _, a := range gone {
		logs = append(logs, newLog("ValidatorRemoved", topics(a)))
	}
	return next, append(logs, newLog("SetChanged", []crypto.Hash{slotNumber(uint64(epoch))}, next.Hash(), bigInt(next.Len()))), nil
}

// finish puts the changed slots into the storage trie and answers it; nil when
// no slot changed.
func (g *registry) finish(st State, root crypto.Hash) ([]SlotChange, *StorageNodes, error) {
	changes := g.slots.changes()
	if len(changes) == 0 {
		return nil, nil, nil
	}
	storage, nodes, err := st.StorageTrie(RegistryAddress, root).Update(slotEntries(changes))
	if err != nil {
		return nil, nil, err
	}
	return changes, &StorageNodes{Address: RegistryAddress, Trie: storage, Nodes: nodes}, nil
}

// slotEntries are the leaves of a storage trie that the changes set.
func slotEntries(changes []SlotChange) []trie.Entry {
	entries := make([]trie.Entry, len(changes))
	for i, s := range changes {
		entries[i] = trie.Entry{Key: crypto.Keccak256(s.Slot[:]), Value: EncodeSlot(s.New)}
	}
	return entries
}
