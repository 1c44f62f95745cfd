package chain

import (
	"math/big"
	"math/bits"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// mappingSlot is the slot of a Solidity mapping's value.
func mappingSlot(mapping, key crypto.Hash) crypto.Hash { return crypto.Keccak256(key[:], mapping[:]) }

func addressSlot(mapping uint64, a crypto.Address) crypto.Hash {
	return mappingSlot(slotNumber(mapping), leftPad(a[:]))
}

// indexSlot is the slot of memberIndex[addr].
func indexSlot(a crypto.Address) crypto.Hash { return addressSlot(slotIndex, a) }

// candidateIndexSlot is the slot of candidateIndex[addr].
func candidateIndexSlot(a crypto.Address) crypto.Hash { return addressSlot(slotCandidateIndex, a) }

// registrationsSlot is the slot of registrations[addr].
func registrationsSlot(a crypto.Address) crypto.Hash { return addressSlot(slotRegistrations, a) }

// closingSlot is the slot of closingHeight[epoch].
func closingSlot(epoch uint32) crypto.Hash {
	return mappingSlot(slotNumber(slotClosing), slotNumber(uint64(epoch)))
}

// votesSlot is the slot of votes[epoch][subject] for the epoch that runs.
func (g *registry) votesSlot(subject crypto.Address) crypto.Hash {
	ofEpoch := mappingSlot(slotNumber(slotVotes), slotNumber(uint64(g.epoch)))
	return mappingSlot(ofEpoch, leftPad(subject[:]))
}

// voteSet says who voted: bit i (of weight 2^i) is the member at place i of the
// epoch's set. maxMembers members fill it.
type voteSet crypto.Hash

func (v *voteSet) has(i int) bool { return v[31-i/8]>>(i%8)&1 == 1 }
func (v *voteSet) flip(i int)     { v[31-i/8] ^= 1 << (i % 8) }

func (v *voteSet) count() int {
	n := 0
	for _, b := range v {
		n += bits.OnesCount8(b)
	}
	return n
}

func (g *registry) votes(subject crypto.Address) voteSet {
	return voteSet(g.slot(g.votesSlot(subject)))
}

// candidateSlot is the first of the three slots of candidate i.
func candidateSlot(i uint64) crypto.Hash {
	slot := slotNumber(slotCandidates)
	return slotPlus(crypto.Keccak256(slot[:]), i*memberSlots)
}

func (g *registry) candidateCount() uint64 { return g.number(slotNumber(slotCandidates)) }

// candidate finds who is on the list.
func (g *registry) candidate(a crypto.Address) (genesis.Validator, bool) {
	i := g.number(candidateIndexSlot(a))
	if i == 0 || g.err != nil {
		return genesis.Validator{}, false
	}
	v := g.validator(candidateSlot(i - 1))
	return v, g.err == nil
}

// putCandidate appends a candidate, or writes over the one with its address.
func (g *registry) putCandidate(v genesis.Validator) {
	i := g.number(candidateIndexSlot(v.Address))
	if i == 0 {
		i = g.candidateCount() + 1
		g.putNumber(slotNumber(slotCandidates), i)
		g.putNumber(candidateIndexSlot(v.Address), i)
	}
	g.putValidator(candidateSlot(i-1), v)
}

// dropCandidate takes a candidate off the list; the last one takes its place.
func (g *registry) dropCandidate(a crypto.Address) {
	i, n := g.number(candidateIndexSlot(a)), g.candidateCount()
	if g.err != nil || i == 0 {
		return
	}
	if i != n {
		last := g.validator(candidateSlot(n - 1))
		g.putValidator(candidateSlot(i-1), last)
		g.putNumber(candidateIndexSlot(last.Address), i)
	}
	g.putValidator(candidateSlot(n-1), genesis.Validator{})
	g.putNumber(candidateIndexSlot(a), 0)
	g.putNumber(slotNumber(slotCandidates), n-1)
}

// putValidator replaces the three slots of a candidate; the zero Validator
// leaves nothing behind.
func (g *registry) putValidator(base crypto.Hash, v genesis.Validator) {
	g.put(base, leftPad(v.Address[:]))
	g.putText(slotPlus(base, 1), v.PeerID)
	g.putText(slotPlus(base, 2), v.Name)
}

func bigInt(n int) *big.Int { return uint256.NewInt(uint64(n)).ToBig() }
