//go:build !cgo

package crypto

// Recover answers the address whose key signed digest.
// Errors: those of Signature.Check, ErrRecovery.
func Recover(digest Hash, sig Signature) (Address, error) { return RecoverReference(digest, sig) }
