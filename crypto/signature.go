package crypto

import (
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Signature is r ‖ s ‖ v: 32 + 32 + 1 bytes, s at most half the curve order,
// v in {0, 1}.
type Signature [SignatureLength]byte

// ParseSignature checks every rule of Signature on bytes from outside.
// Errors: ErrSignatureLength, ErrRecoveryID, ErrSignatureZero,
// ErrSignatureRange, ErrSignatureHighS.
func ParseSignature(b []byte) (Signature, error) {
	if len(b) != SignatureLength {
		return Signature{}, fmt.Errorf("%w: %d bytes", ErrSignatureLength, len(b))
	}
	sig := Signature(b)
	return sig, sig.Check()
}

// Check says whether the signature keeps the rules of its type.
func (sig Signature) Check() error {
	if sig[64] > 1 {
		return fmt.Errorf("%w: %d", ErrRecoveryID, sig[64])
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:64]) {
		return ErrSignatureRange
	}
	if r.IsZero() || s.IsZero() {
		return ErrSignatureZero
	}
	if s.IsOverHalfOrder() {
		return ErrSignatureHighS
	}
	return nil
}

// Verify says whether sig is a signature of digest by address.
// Errors: those of Check and Recover, ErrSignatureAddress.
func (sig Signature) Verify(digest Hash, address Address) error {
	got, err := Recover(digest, sig)
	if err != nil {
		return err
	}
	if got != address {
		return fmt.Errorf("%w: %s, not %s", ErrSignatureAddress, got, address)
	}
	return nil
}
