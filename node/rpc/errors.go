package rpc

import (
	"errors"
	"fmt"

	"cairn/ledger"
)

// callError is an error with a code of JSON-RPC. Those without one go out as
// −32000.
type callError struct {
	code int
	text string
	data any
}

func (e *callError) Error() string  { return e.text }
func (e *callError) ErrorCode() int { return e.code }
func (e *callError) ErrorData() any { return e.data }

// Codes of JSON-RPC.
const (
	codeInvalidParams = -32602
	codeReverted      = 3
)

func invalidParams(format string, args ...any) error {
	return &callError{code: codeInvalidParams, text: fmt.Sprintf(format, args...)}
}

var errHeaderNotFound = errors.New("header not found")

// absent turns "not found" into no error: the answer is null.
func absent(err error) error {
	if errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrFuture) {
		return nil
	}
	return err
}
