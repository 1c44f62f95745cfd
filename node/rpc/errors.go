package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// Codes of JSON-RPC. −32603, −32005 and HTTP 429 and 5xx make clients try again:
// they are never the answer to what will always fail.
const (
	codeParse          = -32700
	codeInvalid        = -32600
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
	codeDefault        = -32000
	codeTimeout        = -32002
	codeTooLarge       = -32003
	codeLimit          = -32005 // too much at once: the same request may pass later
	codeReverted       = 3      // the registry refuses, with data
	codeSyncTimeout    = 4      // EIP-7966: in the pool, not final in time; data is the hash
)

func invalidParams(format string, args ...any) error {
	return &callError{code: codeInvalidParams, text: fmt.Sprintf(format, args...)}
}

// tooBusy is a limit on what happens at once.
func tooBusy(format string, args ...any) error {
	return &callError{code: codeLimit, text: fmt.Sprintf(format, args...)}
}

// What is answered for what is left of a batch, in go-ethereum's words.
var (
	errTimeout          = &callError{code: codeTimeout, text: "request timed out"}
	errResponseTooLarge = &callError{code: codeTooLarge, text: "response too large"}
	errTooMuchWaits     = &callError{code: codeLimit, text: "too many large answers wait for their readers; try again later"}
	errTooMuchRefused   = &callError{code: codeLimit, text: "too many requests from your address were refused; try again later (rpc.limits.refusals_per_second)"}
	errTooMuchComes     = &callError{code: codeLimit, text: "too many large requests come at once; try again later (rpc.limits.waiting_bytes)"}
)

// What is answered about blocks that are not there, in geth's words.
var (
	errHeaderNotFound    = errors.New("header not found")
	errHashNotFound      = errors.New("header for hash not found")
	errStopping          = errors.New(reasonStopping)
	errBusy              = errors.New("too many requests at once")
	errUnknownBlock      = errors.New("unknown block")
	errFilterNotFound    = errors.New("filter not found")
	errBatchTooLarge     = &callError{code: codeInvalid, text: "batch too large"}
	errNoStateOverrides  = &callError{code: codeInvalidParams, text: "state and block overrides are not supported: there is no code to execute"}
	errBothInputs        = &callError{code: codeInvalidParams, text: `both "data" and "input" are set and not equal. Please use "input" to pass transaction call data`}
	errBothFees          = &callError{code: codeInvalidParams, text: "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"}
	errInvalidBlockRange = &callError{code: codeInvalidParams, text: "invalid block range params"}
	errHashAndRange      = &callError{code: codeInvalidParams, text: "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"}
	errTooManyTopics     = &callError{code: codeInvalidParams, text: "exceed max topics"}
)

// within bounds the time of a method that reads much. go-ethereum's server does
// so for HTTP only.
func (s *service) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(s.limits.RequestTime))
}

// overtime is the error of a method whose time is up, or whose caller has left.
func overtime(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errTimeout
	}
	return nil
}

// pause is to be called between two pieces of a long work. Errors: errTimeout;
// errStopping.
func (s *service) pause(ctx context.Context) error {
	err := turnOf(ctx).pause(ctx)
	if over := overtime(ctx); over != nil {
		return over
	}
	return err
}

// explained says of a block that is too old for this node what it has, and of one
// that was damaged that it comes.
func (s *service) explained(err error) error {
	if errors.Is(err, ledger.ErrAwaited) {
		return &callError{code: codeDefault, text: err.Error()}
	}
	if !errors.Is(err, ledger.ErrPruned) {
		return err
	}
	b := s.Ledger.Bounds()
	return &callError{code: codeDefault, text: fmt.Sprintf(
		"history of that block is not kept here: this node's states begin at block %d and its transactions at block %d", b.Base, b.FirstBody)}
}

// absent turns "not found" into no error: the answer is null.
func absent(err error) error {
	if errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrFuture) {
		return nil
	}
	return err
}

// missing says whether an error means that there is no such block.
func missing(err error) bool {
	return errors.Is(err, errHeaderNotFound) || errors.Is(err, errHashNotFound)
}
