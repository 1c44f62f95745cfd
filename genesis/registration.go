package genesis

import (
	"encoding/binary"

	"cairn/crypto"
)

// Quorum is the number of votes that changes a set of n validators. It is the
// quorum of consensus, ⌊(n+⌊(n−1)/3⌋)/2⌋ + 1, so that who can decide blocks can
// decide who decides them.
func Quorum(n int) int { return (n+(n-1)/3)/2 + 1 }

// RegistrationDigest is what a candidate signs to enter the registry of a
// running network: under crypto.DomainRegistration the chain id and the number
// of the registration, 8 bytes big-endian each, the 20-byte address, and the
// keccak256 of the texts of peer id and name.
//
// It binds what PossessionDigest, which is made before there is a network,
// cannot: a proof made for one chain is none on another, and as the number
// counts the address's registrations from 0, a proof is good once. Nobody can
// bring back an earlier peer id of a candidate or undo its withdrawal.
func RegistrationDigest(chainID uint64, v Validator, number uint64) crypto.Hash {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:8], chainID)
	binary.BigEndian.PutUint64(place[8:], number)
	peer, name := crypto.Keccak256([]byte(v.PeerID)), crypto.Keccak256([]byte(v.Name))
	return crypto.Digest(crypto.DomainRegistration, place[:], v.Address[:], peer[:], name[:])
}

// SignRegistration makes the proof with which v, whose address is key's, enters
// the registry as registration number (what the registry's view
// registrations(address) answers).
func SignRegistration(key *crypto.PrivateKey, chainID uint64, v Validator, number uint64) crypto.Signature {
	return key.Sign(RegistrationDigest(chainID, v, number))
}
