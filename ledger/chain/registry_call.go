package chain

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// Gas of a call of the registry besides the intrinsic gas: the same whether the
// call succeeds or reverts. A call whose gas limit is below the sum runs out of
// gas: it does nothing, and the whole limit is used.
const (
	gasRegister = 250_000 // a recovery and up to fifteen slots
	gasWithdraw = 100_000
	gasVote     = 100_000 // it may enact, and a closing block rewrites the set
	gasRevoke   = 50_000
	gasReport   = 100_000 // two recoveries and three slots
	gasNoMethod = 2_000   // no method, or a view, which only eth_call answers
)

var callGas = map[string]uint64{
	"register": gasRegister, "withdraw": gasWithdraw, "vote": gasVote, "revoke": gasRevoke,
	"report": gasReport,
}

// CallGas is what a transaction to an address with this input uses besides
// IntrinsicGas: 0 for every address but the registry's.
func CallGas(to *crypto.Address, input []byte) uint64 {
	if to == nil || *to != RegistryAddress {
		return 0
	}
	if m := callMethod(input); m != nil {
		if gas, ok := callGas[m.RawName]; ok {
			return gas
		}
	}
	return gasNoMethod
}

// Gas is what tx needs, and uses unless it runs out of it.
func Gas(tx *types.Transaction) uint64 { return IntrinsicGas(tx) + CallGas(tx.To(), tx.Data()) }

// Reasons for which the registry reverts. errors.Is matches them; the text is
// the beginning of the reason that wallets show.
const (
	RevertValue         = ErrorKind("the registry takes no value")
	RevertMethod        = ErrorKind("no such method")
	RevertView          = ErrorKind("a view is read with eth_call, not in a transaction")
	RevertArguments     = ErrorKind("malformed arguments")
	RevertCandidate     = ErrorKind("malformed candidate")
	RevertProof         = ErrorKind("wrong proof of possession")
	RevertMember        = ErrorKind("already a validator")
	RevertPeerID        = ErrorKind("a validator has this peer id")
	RevertName          = ErrorKind("a validator has this name")
	RevertNotRegistered = ErrorKind("never registered as a candidate")
	RevertNotValidator  = ErrorKind("the sender is not a validator")
	RevertNotMember     = ErrorKind("not a validator")
	RevertVoted         = ErrorKind("already voted")
	RevertNoVote        = ErrorKind("no vote to revoke")
	RevertLast          = ErrorKind("it would leave no validator")
	RevertFull          = ErrorKind("the validator set is full")
	RevertEpoch         = ErrorKind("no such epoch yet")
	RevertReports       = ErrorKind("this network removes nobody by itself")
	RevertEvidence      = ErrorKind("the votes do not contradict each other")
	RevertSignature     = ErrorKind("not signed by this validator")
	RevertConvicted     = ErrorKind("already convicted")
	RevertRange         = ErrorKind("too many candidates for one answer")
)

// RevertError says that the registry refuses a call: nothing changed.
type RevertError struct {
	Kind   ErrorKind
	Detail string // may be empty
}

// Reason is the text that a wallet shows.
func (e *RevertError) Reason() string {
	if e.Detail == "" {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Detail
}

func (e *RevertError) Error() string { return "execution reverted: " + e.Reason() }

// Unwrap makes errors.Is match the kind.
func (e *RevertError) Unwrap() error { return e.Kind }

// Output is the ABI encoding of Error(string): the data of a JSON-RPC error 3.
func (e *RevertError) Output() []byte { return encodeRevert(e.Reason()) }

func reverted(kind ErrorKind, format string, args ...any) error {
	return &RevertError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Call is a call of the registry that is only tried: eth_call, eth_estimateGas.
type Call struct {
	From  crypto.Address
	Value *uint256.Int // wei; nil = 0
	Input []byte
}

// CallRegistry answers a view, or tries a transition on the state that r reads
// without changing anything; the output of a transition is empty. Errors:
// *RevertError, or a failure to read r.
func CallRegistry(cfg *Config, r Reader, call Call) ([]byte, error) {
	reg, err := loadRegistry(r)
	if err != nil {
		return nil, err
	}
	if m := callMethod(call.Input); m != nil && m.IsConstant() && (call.Value == nil || call.Value.IsZero()) {
		args, err := callArguments(m, call.Input)
		if err != nil {
			return nil, err
		}
		return reg.view(m, args)
	}
	_, err = reg.call(cfg, call.From, call.Value, call.Input)
	return nil, err
}

// SetAfter is the validator set that would follow if a quorum voted to add or
// remove subject now; convicted members leave with it. Errors: *RevertError for a change that the registry
// refuses, or a failure to read r.
func SetAfter(r Reader, subject crypto.Address, add bool) (*genesis.ValidatorSet, error) {
	reg, err := loadRegistry(r)
	if err != nil {
		return nil, err
	}
	if _, err := reg.checkChange(subject, add); err != nil {
		return nil, err
	}
	if _, err := reg.enact(subject, add); err != nil {
		return nil, err
	}
	next, _ := reg.nextSet()
	if reg.err != nil {
		return nil, notInvalid(reg.err)
	}
	return next, nil
}

// call runs a transition. Errors: *RevertError, with nothing changed, or a
// failure, after which the block must be given up.
func (g *registry) call(cfg *Config, from crypto.Address, value *uint256.Int, input []byte) ([]*types.Log, error) {
	if value != nil && !value.IsZero() {
		return nil, &RevertError{Kind: RevertValue}
	}
	m := callMethod(input)
	switch {
	case len(input) > maxCallBytes:
		return nil, reverted(RevertArguments, "%d bytes, at most %d", len(input), maxCallBytes)
	case m == nil:
		return nil, reverted(RevertMethod, "%x", input[:min(len(input), selectorBytes)])
	case m.IsConstant():
		return nil, reverted(RevertView, "%s", m.Sig)
	}
	args, err := callArguments(m, input)
	if err != nil {
		return nil, err
	}
	var logs []*types.Log
	switch m.RawName {
	case "register":
		logs, err = g.register(cfg.ChainID, args)
	case "withdraw":
		logs, err = g.withdraw(from)
	case "vote":
		logs, err = g.vote(from, args[0].(crypto.Address), args[1].(bool))
	case "revoke":
		logs, err = g.revoke(from, args[0].(crypto.Address))
	case "report":
		logs, err = g.report(cfg, from, args)
	default:
		panic("a method of the registry without code: " + m.Sig)
	}
	if g.err != nil {
		return nil, notInvalid(g.err)
	}
	return logs, err
}

// notInvalid makes a failure of an error in what state holds: a damaged registry
// is no fault of the transaction that meets it.
func notInvalid(err error) error {
	var inv *InvalidError
	if errors.As(err, &inv) {
		return fmt.Errorf("read the registry: %v", err)
	}
	return fmt.Errorf("read the registry: %w", err)
}
