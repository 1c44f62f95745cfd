//go:build cgo

package crypto

import (
	"fmt"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/secp256k1"
)

// Recover answers the address whose key signed digest. With cgo it runs on
// libsecp256k1, which is several times faster than RecoverReference and accepts
// exactly the same signatures. Errors: those of Signature.Check, ErrRecovery.
func Recover(digest Hash, sig Signature) (Address, error) {
	if err := sig.Check(); err != nil {
		return Address{}, err
	}
	pub, err := secp256k1.RecoverPubkey(digest[:], sig[:])
	if err != nil {
		return Address{}, fmt.Errorf("%w: %v", ErrRecovery, err)
	}
	return Address(ethcrypto.Keccak256(pub[1:])[12:]), nil
}
