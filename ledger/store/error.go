package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// ErrorKind names one way in which a store can refuse or fail. Match it with
// errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// Rejections and failures of this package.
const (
	ErrNotFound     = ErrorKind("not in the store")
	ErrNewerFormat  = ErrorKind("the database was written by a newer version of this program")
	ErrForeign      = ErrorKind("the directory holds a database of another program")
	ErrWrongGenesis = ErrorKind("the database belongs to another network")
	ErrCorrupt      = ErrorKind("the database is corrupt")
	ErrFailed       = ErrorKind("a write to the database failed; restart after checking the disk")
	ErrClosed       = ErrorKind("the database is closed")
	ErrLocked       = ErrorKind("the database is in use by another process")
	ErrOutOfOrder   = ErrorKind("the commit does not follow the head")
	ErrBody         = ErrorKind("the body is not the block of that hash")
	ErrNoHistory    = ErrorKind("account history is off on this node")
	ErrPruned       = ErrorKind("this node does not keep so old a height")
	ErrAwaited      = ErrorKind("it was damaged, and is being fetched from other nodes")
	ErrUnfinished   = ErrorKind("the database is being put together from a snapshot and is not complete")
)

// readError gives an error of Pebble its kind.
func readError(what string, err error) error {
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("read %s: %w: %w", what, ErrCorrupt, err)
	default:
		return fmt.Errorf("read %s: %w", what, err)
	}
}

func corrupt(what string, detail any) error {
	return fmt.Errorf("%w: %s: %v", ErrCorrupt, what, detail)
}
