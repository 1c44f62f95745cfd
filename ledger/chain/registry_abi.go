package chain

import (
	"bytes"
	_ "embed" // the ABI
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// RegistryABI is the registry's interface in Solidity's JSON form; docs has the
// same file.
//
//go:embed registry.abi.json
var RegistryABI []byte

var registryABI = mustParseABI(RegistryABI)

func mustParseABI(b []byte) abi.ABI {
	a, err := abi.JSON(bytes.NewReader(b))
	if err != nil {
		panic(fmt.Sprintf("the registry's ABI: %v", err))
	}
	return a
}

// maxCallBytes bounds the input of a call. The longest well-formed one, a
// registration, has less than half of it.
const maxCallBytes = 1024

const selectorBytes = 4

// callMethod is the method that input calls, nil if there is none.
func callMethod(input []byte) *abi.Method {
	if len(input) < selectorBytes || len(input) > maxCallBytes {
		return nil
	}
	m, err := registryABI.MethodById(input[:selectorBytes])
	if err != nil {
		return nil
	}
	return m
}

// callArguments decodes the arguments of a call. Only the one encoding that an
// ABI encoder makes is taken: what go-ethereum's decoder lets through besides
// (dirty padding, overlapping or late offsets, bytes after the end) is refused,
// so that what a call means does not hang on that decoder.
func callArguments(m *abi.Method, input []byte) ([]any, error) {
	args, err := m.Inputs.Unpack(input[selectorBytes:])
	if err != nil {
		return nil, reverted(RevertArguments, "%s: %v", m.Sig, err)
	}
	again, err := m.Inputs.Pack(args...)
	if err != nil || !bytes.Equal(again, input[selectorBytes:]) {
		return nil, reverted(RevertArguments, "%s: not in canonical encoding", m.Sig)
	}
	return args, nil
}

// abiValidator is the tuple of a validator or candidate.
type abiValidator struct {
	Account crypto.Address `abi:"account"`
	PeerID  string         `abi:"peerId"`
	Name    string         `abi:"name"`
}

func abiValidators(vs []genesis.Validator) []abiValidator {
	out := make([]abiValidator, len(vs))
	for i, v := range vs {
		out[i] = abiValidator{v.Address, v.PeerID, v.Name}
	}
	return out
}

// newLog is an event of the registry: indexed values are its topics, the others
// its data. The place in the block is put in by DeriveReceipts.
func newLog(event string, indexed []crypto.Hash, values ...any) *types.Log {
	e := registryABI.Events[event]
	data, err := e.Inputs.NonIndexed().Pack(values...)
	if err != nil {
		panic(fmt.Sprintf("event %s with %v: %v", event, values, err))
	}
	return &types.Log{Address: RegistryAddress, Topics: append([]crypto.Hash{e.ID}, indexed...), Data: data}
}

// topics are addresses as indexed values.
func topics(addresses ...crypto.Address) []crypto.Hash {
	out := make([]crypto.Hash, len(addresses))
	for i, a := range addresses {
		out[i] = leftPad(a[:])
	}
	return out
}

// revertSelector is the selector of Error(string).
var revertSelector = []byte{0x08, 0xc3, 0x79, 0xa0}

// encodeRevert is what a Solidity contract answers to require(false, reason).
func encodeRevert(reason string) []byte {
	number := func(n int) []byte { b := uint256.NewInt(uint64(n)).Bytes32(); return b[:] }
	out := append(bytes.Clone(revertSelector), number(32)...)
	out = append(append(out, number(len(reason))...), reason...)
	return append(out, make([]byte, (32-len(reason)%32)%32)...)
}
