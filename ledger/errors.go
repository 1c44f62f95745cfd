package ledger

import "cairn/ledger/store"

// ErrorKind names one way in which the ledger refuses. Match it with errors.Is.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	ErrMissingParent = ErrorKind("the parent is neither the final head nor an executed block above it")
	ErrNotExecuted   = ErrorKind("the block was not executed here")
	ErrProofPruned   = ErrorKind("proofs of this height are no longer available; ask for a recent block")
	ErrFuture        = ErrorKind("height is above the final head")
	ErrNotTheChain   = ErrorKind("the block is not the one below those that are held")
)

// Kinds of the store that pass through.
const (
	ErrNotFound     = store.ErrNotFound
	ErrWrongGenesis = store.ErrWrongGenesis
	ErrNoHistory    = store.ErrNoHistory
	ErrPruned       = store.ErrPruned
	ErrAwaited      = store.ErrAwaited
)
