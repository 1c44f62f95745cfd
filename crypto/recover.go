package crypto

import (
	"fmt"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"

	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// RecoverReference is Recover in pure Go, the rule that the fast path must
// agree with on every input.
func RecoverReference(digest Hash, sig Signature) (Address, error) {
	if err := sig.Check(); err != nil {
		return Address{}, err
	}
	var c [SignatureLength]byte
	c[0] = sig[64] + 27
	copy(c[1:], sig[:64])
	pub, _, err := ecdsa.RecoverCompact(c[:], digest[:])
	if err != nil {
		return Address{}, fmt.Errorf("%w: %v", ErrRecovery, err)
	}
	return Address(ethcrypto.Keccak256(pub.SerializeUncompressed()[1:])[12:]), nil
}
