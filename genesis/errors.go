package genesis

import "fmt"

// ErrorKind names one way in which a genesis file is wrong. Match it with
// errors.Is; the FieldError around it tells the field and the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	ErrTooLarge       = ErrorKind("file is too large")
	ErrSyntax         = ErrorKind("not valid JSON")
	ErrTrailingData   = ErrorKind("data after the end of the JSON value")
	ErrType           = ErrorKind("wrong JSON type")
	ErrUnknownField   = ErrorKind("unknown field")
	ErrDuplicateField = ErrorKind("field is given twice")
	ErrMissingField   = ErrorKind("field is missing")
	ErrTooMany        = ErrorKind("too many entries")
	ErrNotInteger     = ErrorKind("not a decimal integer")
	ErrNegative       = ErrorKind("negative")
	ErrOverflow       = ErrorKind("number is too large for its type")
	ErrRange          = ErrorKind("out of range")
	ErrText           = ErrorKind("text is not allowed here")
	ErrAddress        = ErrorKind("not an address")
	ErrReserved       = ErrorKind("address is reserved")
	ErrPeerID         = ErrorKind("not a libp2p peer id")
	ErrDuplicate      = ErrorKind("given twice")
	ErrNoValidators   = ErrorKind("a network needs at least one validator")
	ErrPossession     = ErrorKind("proof of possession is wrong")
)

// FieldError is a rejection of one field. Path is where it stands, such as
// validators[2].peerId; it is empty for the file as a whole.
type FieldError struct {
	Path   string
	Kind   ErrorKind
	Detail string
}

func (e *FieldError) Error() string {
	text := string(e.Kind)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Path == "" {
		return text
	}
	return e.Path + ": " + text
}

// Unwrap makes errors.Is find the kind.
func (e *FieldError) Unwrap() error { return e.Kind }

func fieldError(path string, kind ErrorKind, format string, args ...any) *FieldError {
	return &FieldError{Path: path, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
