package crypto

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// PrivateKey is a secp256k1 private key with its address.
type PrivateKey struct {
	key     *secp256k1.PrivateKey
	address Address
}

func newPrivateKey(k *secp256k1.PrivateKey) *PrivateKey {
	pub := k.PubKey().SerializeUncompressed()
	return &PrivateKey{key: k, address: Address(ethcrypto.Keccak256(pub[1:])[12:])}
}

// GenerateKey draws a private key from rand, which must be cryptographically
// secure (crypto/rand.Reader).
func GenerateKey(rand io.Reader) (*PrivateKey, error) {
	k, err := secp256k1.GeneratePrivateKeyFromRand(rand)
	if err != nil {
		return nil, fmt.Errorf("draw a private key: %w", err)
	}
	return newPrivateKey(k), nil
}

// PrivateKeyFromBytes reads a 32-byte big-endian scalar in [1, order).
// Errors: ErrKeyLength, ErrKeyRange.
func PrivateKeyFromBytes(b []byte) (*PrivateKey, error) {
	if len(b) != PrivateKeyLength {
		return nil, fmt.Errorf("%w: %d bytes", ErrKeyLength, len(b))
	}
	var s secp256k1.ModNScalar
	if overflow := s.SetByteSlice(b); overflow || s.IsZero() {
		return nil, ErrKeyRange
	}
	return newPrivateKey(secp256k1.NewPrivateKey(&s)), nil
}

// ParsePrivateKey reads 64 hex digits with or without 0x. The error never
// repeats the text. Errors: ErrHex, ErrKeyLength, ErrKeyRange.
func ParsePrivateKey(text string) (*PrivateKey, error) {
	text = strings.TrimPrefix(text, "0x")
	if len(text) != 2*PrivateKeyLength {
		return nil, fmt.Errorf("%w: %d hex digits, want %d", ErrKeyLength, len(text), 2*PrivateKeyLength)
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", ErrHex)
	}
	return PrivateKeyFromBytes(b)
}

// Bytes is the key as 32 big-endian bytes.
func (k *PrivateKey) Bytes() []byte { return k.key.Serialize() }

// Address is the account of the key.
func (k *PrivateKey) Address() Address { return k.address }

// Sign makes the deterministic (RFC 6979) low-s signature of digest.
func (k *PrivateKey) Sign(digest Hash) Signature {
	// SignCompact answers v(27..30) ‖ r ‖ s.
	c := ecdsa.SignCompact(k.key, digest[:], false)
	var sig Signature
	copy(sig[:64], c[1:])
	sig[64] = c[0] - 27
	return sig
}
