package consensus

// ErrorKind names one way in which a message, a record or a configuration is
// refused. Match it with errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	ErrTooLarge      = ErrorKind("message is above its size limit")
	ErrEncoding      = ErrorKind("message is not canonical RLP of its type")
	ErrTag           = ErrorKind("message has an unknown type tag")
	ErrKind          = ErrorKind("vote kind is not notarize, nullify or finalize")
	ErrSubject       = ErrorKind("vote says what its kind cannot say")
	ErrEpoch         = ErrorKind("message is of another epoch")
	ErrSigner        = ErrorKind("signer is not a member of the epoch's set")
	ErrBitmap        = ErrorKind("signer bitmap does not fit the set")
	ErrSignatures    = ErrorKind("certificate has not one signature for each signer")
	ErrQuorum        = ErrorKind("certificate has no quorum of signers")
	ErrSignature     = ErrorKind("signature is not the signer's")
	ErrNotLeader     = ErrorKind("proposal is not signed by the leader of its view")
	ErrConfig        = ErrorKind("consensus configuration cannot work")
	ErrRecordInvalid = ErrorKind("vote record contradicts the configuration or another record")
)
