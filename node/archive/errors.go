package archive

import "fmt"

// ErrorKind names one way in which a stream is refused. Match it with errors.Is;
// the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection.
const (
	ErrFormat   = ErrorKind("this is not an export of blocks that this program can read")
	ErrCut      = ErrorKind("the file was cut: its end is missing")
	ErrAltered  = ErrorKind("the file was altered or damaged")
	ErrNetwork  = ErrorKind("the file is of another network")
	ErrGap      = ErrorKind("blocks before the first one are missing here")
	ErrConflict = ErrorKind("a block is another one than what is final here")
	ErrUnproven = ErrorKind("the validators did not finalize this block")
	ErrRange    = ErrorKind("there are no such blocks to export")
)

func refuse(kind ErrorKind, format string, a ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, a...))
}
