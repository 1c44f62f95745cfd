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

// NewValidatorSet sorts the members. It refuses an empty set and an address or
// peer id that two members have, with a *FieldError.
func NewValidatorSet(members []Validator) (*ValidatorSet, error) {
	if len(members) == 0 {
		return nil, &FieldError{Path: "validators", Kind: ErrNoValidators}
	}
	s := &ValidatorSet{members: slices.Clone(members), index: make(map[crypto.Address]int, len(members))}
	slices.SortFunc(s.members, func(a, b Validator) int { return bytes.Compare(a.Address[:], b.Address[:]) })
	peers := make(map[string]int, len(members))
	for i, m := range s.members {
		if err := once(s.index, m.Address, i, "validators", "address"); err != nil {
			return nil, err
		}
		if err := once(peers, m.PeerID, i, "validators", "peerId"); err != nil {
			return nil, err
		}
	}
	s.hash = crypto.Keccak256(s.Encode())
	return s, nil
}

// Encode is RLP([[address, peerId, name], …]) in address order.
func (s *ValidatorSet) Encode() []byte {
	raw, err := rlp.EncodeToBytes(s.members)
	if err != nil {
		panic(err) // byte arrays and strings always encode
	}
	return raw
}

// DecodeValidatorSet reads what Encode wrote. It is for what the node itself
// stored: it bounds nothing.
func DecodeValidatorSet(raw []byte) (*ValidatorSet, error) {
	var members []Validator
	if err := rlp.DecodeBytes(raw, &members); err != nil {
		return nil, fmt.Errorf("validator set: %w", err)
	}
	return NewValidatorSet(members)
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

// Hash is keccak256 of Encode.
func (s *ValidatorSet) Hash() crypto.Hash { return s.hash }

// ValidatorSet is the set of the first epoch. It panics on a Spec that Validate
// refuses.
func (s *Spec) ValidatorSet() *ValidatorSet {
	set, err := NewValidatorSet(s.Validators)
	if err != nil {
		panic(err)
	}
	return set
}
