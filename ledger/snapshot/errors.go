package snapshot

import "fmt"

// ErrorKind names one way in which something is refused. Match it with
// errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection. The first two are the peer's fault.
const (
	ErrAnswer      = ErrorKind("malformed answer")
	ErrProof       = ErrorKind("the answer is not what the state root commits to")
	ErrSegment     = ErrorKind("nothing that was handed out")
	ErrIncomplete  = ErrorKind("parts of the state are missing")
	ErrRoot        = ErrorKind("the state that was put together has another root")
	ErrNone        = ErrorKind("no join was begun here")
	ErrTarget      = ErrorKind("the target makes no sense")
	ErrOtherTarget = ErrorKind("the join was begun for another network")
)

func refuse(kind ErrorKind, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
