package light

import "fmt"

// ErrorKind names one way in which something does not prove what it should.
// Match it with errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection.
const (
	ErrTrust       = ErrorKind("what is trusted makes no sense")
	ErrHeader      = ErrorKind("malformed header")
	ErrCertificate = ErrorKind("the finalization does not verify")
	ErrKind        = ErrorKind("the certificate is no finalization")
	ErrOtherBlock  = ErrorKind("the finalization names another block")
	ErrEpoch       = ErrorKind("of another epoch than the validators that are known")
	ErrHeight      = ErrorKind("not above the block that began the epoch")
	ErrDescendant  = ErrorKind("the headers do not follow one another")
	ErrGap         = ErrorKind("the epochs do not follow one another")
	ErrNotClosing  = ErrorKind("the block does not end its epoch")
	ErrNextSet     = ErrorKind("the next validators are not those of the closing block")
	ErrTooMany     = ErrorKind("more than the limit")
	ErrProof       = ErrorKind("the proof does not hold")
	ErrAbsent      = ErrorKind("proven absent")
)

// because is a rejection with the error that says why.
func because(kind ErrorKind, err error) error { return fmt.Errorf("%w: %w", kind, err) }

func reject(kind ErrorKind, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
