// Package crypto holds the hashes, addresses, keys and signatures that every
// other package builds on.
//
// Hash and Address are go-ethereum's types, so that transactions, headers and
// receipts of its core/types need no conversion. Signatures are secp256k1,
// deterministic (RFC 6979), low-s, 65 bytes r ‖ s ‖ v with v in {0, 1}.
package crypto

import (
	"github.com/ethereum/go-ethereum/common"
	ethcrypto "github.com/ethereum/go-ethereum/crypto"
)

// Hash is a 32-byte keccak256 digest. Its text form is 0x and 64 hex digits.
type Hash = common.Hash

// Address is the last 20 bytes of the keccak256 of a public key. Its text form
// for people is EIP-55 (String); JSON carries it in lower case.
type Address = common.Address

// Lengths in bytes.
const (
	HashLength       = 32
	AddressLength    = 20
	PrivateKeyLength = 32
	SignatureLength  = 65
)

// Keccak256 hashes the concatenation of parts.
func Keccak256(parts ...[]byte) Hash { return ethcrypto.Keccak256Hash(parts...) }

// Domain separates what a validator or peer key signs. Every digest input
// starts with the 16 bytes of its domain, whose first byte lies in 0x20–0xbf:
// no digest input is also a transaction, an access list or a signed message.
type Domain [16]byte

// The domains in use. A new format gets a new domain, never a reused one.
var (
	DomainVote         = Domain([]byte("cairn-vote-v1\x00\x00\x00"))
	DomainPossession   = Domain([]byte("cairn-pop-v1\x00\x00\x00\x00"))
	DomainRegistration = Domain([]byte("cairn-reg-v1\x00\x00\x00\x00"))
)

// Digest hashes the domain and the parts. The parts of one domain have fixed
// widths, so that two different inputs never concatenate to the same bytes.
func Digest(d Domain, parts ...[]byte) Hash {
	all := make([][]byte, 0, len(parts)+1)
	all = append(all, d[:])
	all = append(all, parts...)
	return Keccak256(all...)
}
