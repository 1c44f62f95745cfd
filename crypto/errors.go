package crypto

// ErrorKind names one way in which bytes or text are not what they should be.
// Match it with errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	ErrHashLength       = ErrorKind("hash is not 32 bytes")
	ErrAddressLength    = ErrorKind("address is not 20 bytes")
	ErrAddressChecksum  = ErrorKind("address has a wrong EIP-55 checksum")
	ErrHex              = ErrorKind("text is not canonical hex")
	ErrKeyLength        = ErrorKind("private key is not 32 bytes")
	ErrKeyRange         = ErrorKind("private key is zero or not below the curve order")
	ErrSignatureLength  = ErrorKind("signature is not 65 bytes")
	ErrSignatureZero    = ErrorKind("signature has r or s of zero")
	ErrSignatureRange   = ErrorKind("signature has r or s not below the curve order")
	ErrSignatureHighS   = ErrorKind("signature has a high s")
	ErrRecoveryID       = ErrorKind("signature has a recovery id other than 0 or 1")
	ErrRecovery         = ErrorKind("signature recovers no public key")
	ErrSignatureAddress = ErrorKind("signature is by another key")
)
