package genesis

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// ValidatorSet is the fixed set of one epoch, sorted by address. It is
// immutable.
type ValidatorSet struct {
	members []Validator
	index   map[crypto.Address]int
	hash    crypto.Hash
}

// NewValidatorSet sorts the members and refuses an empty set and duplicate
// addresses or peer ids.
func NewValidatorSet(members []Validator) (*ValidatorSet, error) {
	if len(members) == 0 {
		return nil, fmt.Errorf("a validator set needs at least one member")
	}
	s := &ValidatorSet{members: slices.Clone(members), index: make(map[crypto.Address]int, len(members))}
	slices.SortFunc(s.members, func(a, b Validator) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	peers := make(map[string]bool, len(members))
	for i, m := range s.members {
		if _, ok := s.index[m.Address]; ok {
			return nil, fmt.Errorf("validator %s is named twice", m.Address)
		}
		if peers[m.PeerID] {
			return nil, fmt.Errorf("peer id %s is named twice", m.PeerID)
		}
		s.index[m.Address], peers[m.PeerID] = i, true
	}
	raw, err := rlp.EncodeToBytes(s.members)
	if err != nil {
		return nil, fmt.Errorf("encode the validator set: %w", err)
	}
	s.hash = crypto.Keccak256(raw)
	return s, nil
}

// Len is the number of members.
func (s *ValidatorSet) Len() int { return len(s.members) }

// At is member i in address order, 0 ≤ i < Len.
func (s *ValidatorSet) At(i int) Validator { return s.members[i] }

// Index finds a member by address.
func (s *ValidatorSet) Index(a crypto.Address) (int, bool) { i, ok := s.index[a]; return i, ok }

// Addresses are the members' addresses in order.
func (s *ValidatorSet) Addresses() []crypto.Address {
	out := make([]crypto.Address, len(s.members))
	for i, m := range s.members {
		out[i] = m.Address
	}
	return out
}

// Hash is keccak256(RLP([[address, peerId, name], …])) in address order.
func (s *ValidatorSet) Hash() crypto.Hash { return s.hash }
