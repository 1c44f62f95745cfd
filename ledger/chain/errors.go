package chain

import (
	"errors"
	"fmt"
)

// ErrorKind names one rule that a transaction or block breaks. Match it with
// errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// Kinds of a transaction that is wrong whatever the state is. The texts are
// geth's where geth has the rule.
const (
	ErrTransactionEncoding = ErrorKind("malformed transaction")
	ErrTypeNotSupported    = ErrorKind("transaction type not supported")
	ErrOversizedData       = ErrorKind("oversized data")
	ErrNegativeValue       = ErrorKind("negative value")
	ErrContractCreation    = ErrorKind("contract creation is not supported")
	ErrUnprotected         = ErrorKind("only replay-protected (EIP-155) transactions allowed over RPC")
	ErrInvalidChainID      = ErrorKind("invalid chain id for signer")
	ErrInvalidSender       = ErrorKind("invalid sender")
	ErrFeeCapVeryHigh      = ErrorKind("max fee per gas higher than 2^256-1")
	ErrTipVeryHigh         = ErrorKind("max priority fee per gas higher than 2^256-1")
	ErrTipAboveFeeCap      = ErrorKind("max priority fee per gas higher than max fee per gas")
	ErrNonceMax            = ErrorKind("nonce has max value")
	ErrIntrinsicGas        = ErrorKind("intrinsic gas too low")
	ErrGasLimit            = ErrorKind("exceeds block gas limit")
)

// Kinds of a transaction that is wrong on the state it meets. The texts are
// geth's.
const (
	ErrNonceTooLow       = ErrorKind("nonce too low")
	ErrNonceTooHigh      = ErrorKind("nonce too high")
	ErrInsufficientFunds = ErrorKind("insufficient funds for gas * price + value")
	ErrFeeCapTooLow      = ErrorKind("max fee per gas less than block base fee")
	ErrSenderNoEOA       = ErrorKind("sender not an eoa")
	ErrGasLimitReached   = ErrorKind("gas limit reached")
)

// Kinds that only the pool uses. They are here so that there is one table from
// kinds to what a wallet is told. The texts are geth's where geth has the rule.
const (
	ErrAlreadyKnown         = ErrorKind("already known")
	ErrUnderpriced          = ErrorKind("transaction underpriced")
	ErrReplaceUnderpriced   = ErrorKind("replacement transaction underpriced")
	ErrPoolFull             = ErrorKind("txpool is full")
	ErrAccountLimitExceeded = ErrorKind("account limit exceeded")
	ErrReplaced             = ErrorKind("replaced")
)

// Kinds of a block that is wrong.
const (
	ErrBlockEncoding     = ErrorKind("malformed block")
	ErrHeaderEncoding    = ErrorKind("malformed header")
	ErrExtra             = ErrorKind("malformed extra data")
	ErrBlockBytes        = ErrorKind("block is larger than the rules allow")
	ErrBlockTransactions = ErrorKind("block has more transactions than the rules allow")
	ErrParentHash        = ErrorKind("wrong parent hash")
	ErrHeight            = ErrorKind("wrong block number")
	ErrBlockGasLimit     = ErrorKind("wrong block gas limit")
	ErrBaseFee           = ErrorKind("wrong base fee")
	ErrEpoch             = ErrorKind("wrong epoch")
	ErrTimestamp         = ErrorKind("wrong timestamp")
	ErrUncles            = ErrorKind("block has uncles")
	ErrDifficulty        = ErrorKind("difficulty is not zero")
	ErrHeaderNonce       = ErrorKind("header nonce is not zero")
	ErrMixHash           = ErrorKind("wrong mix hash")
	ErrLaterFork         = ErrorKind("header has a field of a fork after London")
	ErrTransactionsRoot  = ErrorKind("wrong transactions root")
	ErrReceiptsRoot      = ErrorKind("wrong receipts root")
	ErrStateRoot         = ErrorKind("wrong state root")
	ErrBloom             = ErrorKind("wrong logs bloom")
	ErrGasUsed           = ErrorKind("wrong gas used")
)

// Kinds of other bytes and of a Spec.
const (
	ErrAccountEncoding = ErrorKind("malformed account")
	ErrSlotEncoding    = ErrorKind("malformed storage slot")
	ErrRegistry        = ErrorKind("malformed validator registry")
	ErrSpec            = ErrorKind("genesis cannot be made into block 0")
)

// InvalidError says that bytes, a transaction or a block break a rule: it is
// the fault of who made them. errors.Is matches Kind.
type InvalidError struct {
	Kind   ErrorKind
	Detail string // may be empty
}

func (e *InvalidError) Error() string {
	if e.Detail == "" {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Detail
}

// Unwrap makes errors.Is match the kind.
func (e *InvalidError) Unwrap() error { return e.Kind }

// invalid is an *InvalidError with a formatted detail.
func invalid(kind ErrorKind, format string, args ...any) error {
	return &InvalidError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// inTransaction puts the place in the block before the detail of an
// InvalidError and leaves a failure a failure.
func inTransaction(i int, err error) error {
	var inv *InvalidError
	if !errors.As(err, &inv) {
		return fmt.Errorf("transaction %d: %w", i, err)
	}
	return invalid(inv.Kind, "transaction %d: %s", i, inv.Detail)
}
