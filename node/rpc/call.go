package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// callArgs are the parameters of eth_call, eth_estimateGas and
// eth_createAccessList that matter where there is no code; the others are
// accepted and change nothing.
type callArgs struct {
	From                 *crypto.Address   `json:"from"`
	To                   *crypto.Address   `json:"to"`
	Gas                  *hexutil.Uint64   `json:"gas"`
	GasPrice             *hexutil.Big      `json:"gasPrice"`
	MaxFeePerGas         *hexutil.Big      `json:"maxFeePerGas"`
	MaxPriorityFeePerGas *hexutil.Big      `json:"maxPriorityFeePerGas"`
	Value                *hexutil.Big      `json:"value"`
	Nonce                *hexutil.Uint64   `json:"nonce"`
	Data                 *hexutil.Bytes    `json:"data"`
	Input                *hexutil.Bytes    `json:"input"`
	AccessList           *types.AccessList `json:"accessList"`
	ChainID              *hexutil.Big      `json:"chainId"`
}

func (c *callArgs) data() []byte {
	switch {
	case c.Input != nil:
		return *c.Input
	case c.Data != nil:
		return *c.Data
	}
	return nil
}

func (c *callArgs) from() crypto.Address {
	if c.From == nil {
		return crypto.Address{}
	}
	return *c.From
}

// feeCap is the most that a unit of gas may cost, nil if nothing is said of it.
func (c *callArgs) feeCap() *big.Int {
	switch {
	case c.GasPrice != nil:
		return c.GasPrice.ToInt()
	case c.MaxFeePerGas != nil:
		return c.MaxFeePerGas.ToInt()
	}
	return nil
}

// checkForm refuses what no transaction could be.
func (a *ethAPI) checkForm(c *callArgs) error {
	tip, feeCap := c.MaxPriorityFeePerGas, c.MaxFeePerGas
	switch {
	case c.Input != nil && c.Data != nil && string(*c.Input) != string(*c.Data):
		return errBothInputs
	case c.GasPrice != nil && (feeCap != nil || tip != nil):
		return errBothFees
	case feeCap != nil && tip != nil && feeCap.ToInt().Cmp(tip.ToInt()) < 0:
		return fmt.Errorf("%w: maxPriorityFeePerGas %s, maxFeePerGas %s", chain.ErrTipAboveFeeCap, tip.ToInt(), feeCap.ToInt())
	}
	if id := new(big.Int).SetUint64(a.b.Ledger.Config().ChainID); c.ChainID != nil && c.ChainID.ToInt().Cmp(id) != 0 {
		return invalidParams("chainId does not match node's (have=%s, want=%s)", c.ChainID.ToInt(), id)
	}
	if c.To == nil {
		return chain.ErrContractCreation
	}
	return nil
}

// gas is what the call needs: there is no code but the registry's, so it is
// known beforehand.
func (c *callArgs) gas() uint64 {
	data := types.DynamicFeeTx{To: c.To, Data: c.data()}
	if c.AccessList != nil {
		data.AccessList = *c.AccessList
	}
	return chain.Gas(types.NewTx(&data))
}

// run tries a call on the state at a block: a transfer, or a method of the
// registry. It answers the output and the gas that is needed.
func (a *ethAPI) run(c *callArgs, at *rpc.BlockNumberOrHash) (output hexutil.Bytes, gas uint64, err error) {
	if err := a.checkForm(c); err != nil {
		return nil, 0, err
	}
	height, err := a.resolve(at)
	if err != nil {
		return nil, 0, err
	}
	header, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, 0, err
	}
	need, limit := c.gas(), a.b.Ledger.Config().Rules.GasLimit
	if need > limit {
		return nil, 0, fmt.Errorf("gas required exceeds allowance (%d)", limit)
	}
	if c.Gas != nil && uint64(*c.Gas) < need {
		return nil, 0, fmt.Errorf("%w: have %d, want %d", chain.ErrIntrinsicGas, uint64(*c.Gas), need)
	}
	if err := a.checkFunds(c, height, header, need); err != nil {
		return nil, 0, err
	}
	if *c.To == chain.RegistryAddress {
		output, err = a.b.callRegistry(c, height)
	}
	return output, need, err
}

// callRegistry tries a method of the registry. A refusal is code 3 with the ABI
// encoding of Error(string).
func (s *service) callRegistry(c *callArgs, height uint64) (hexutil.Bytes, error) {
	call := chain.Call{From: c.from(), Input: c.data()}
	if c.Value != nil {
		call.Value = uint256.MustFromBig(c.Value.ToInt()) // JSON holds no more than 256 bits of it
	}
	state, err := s.Ledger.StateAt(height)
	if err != nil {
		return nil, err
	}
	out, err := chain.CallRegistry(s.Ledger.Config(), state, call)
	var refused *chain.RevertError
	if errors.As(err, &refused) {
		return nil, &callError{code: codeReverted, text: refused.Error(), data: hexutil.Encode(refused.Output())}
	}
	return out, err
}

// checkFunds says whether the sender can pay for the value and, where a price is
// named and gas is not free, for the gas.
func (a *ethAPI) checkFunds(c *callArgs, height uint64, header *types.Header, need uint64) error {
	value, feeCap := new(big.Int), c.feeCap()
	if c.Value != nil {
		value.Set(c.Value.ToInt())
	}
	if a.b.Ledger.Config().Rules.Fees.Free || feeCap != nil && feeCap.Sign() == 0 {
		feeCap = nil
	}
	if feeCap != nil && feeCap.Cmp(header.BaseFee) < 0 {
		return fmt.Errorf("%w: address %s, maxFeePerGas: %d, baseFee: %d", chain.ErrFeeCapTooLow, c.from(), feeCap, header.BaseFee)
	}
	if value.Sign() == 0 && feeCap == nil {
		return nil
	}
	acc, err := a.b.Ledger.AccountAt(c.from(), height)
	if err != nil {
		return err
	}
	balance := new(big.Int)
	if acc != nil {
		balance = acc.Balance.ToBig()
	}
	if balance.Cmp(value) < 0 {
		return fmt.Errorf("%w: address %s have %d want %d", chain.ErrInsufficientFunds, c.from(), balance, value)
	}
	if feeCap == nil {
		return nil
	}
	if allowance := new(big.Int).Div(balance.Sub(balance, value), feeCap); allowance.Cmp(new(big.Int).SetUint64(need)) < 0 {
		return fmt.Errorf("gas required exceeds allowance (%d)", allowance)
	}
	return nil
}

// overrides are the parameters of eth_call that put other state or another block
// in place of the real ones.
type overrides map[string]json.RawMessage

// Call answers what a method of the registry answers; an account without code
// answers nothing.
func (a *ethAPI) Call(c callArgs, at *rpc.BlockNumberOrHash, state, block *overrides) (hexutil.Bytes, error) {
	if state != nil && len(*state) > 0 || block != nil && len(*block) > 0 {
		return nil, errNoStateOverrides
	}
	out, _, err := a.run(&c, at)
	if out == nil {
		out = hexutil.Bytes{}
	}
	return out, err
}

// EstimateGas answers the gas that a transfer or a call of the registry needs,
// exactly.
func (a *ethAPI) EstimateGas(c callArgs, at *rpc.BlockNumberOrHash, state, block *overrides) (hexutil.Uint64, error) {
	if state != nil && len(*state) > 0 || block != nil && len(*block) > 0 {
		return 0, errNoStateOverrides
	}
	_, gas, err := a.run(&c, at)
	return hexutil.Uint64(gas), err
}

// accessList is the answer of eth_createAccessList.
type accessList struct {
	AccessList types.AccessList `json:"accessList"`
	GasUsed    hexutil.Uint64   `json:"gasUsed"`
	Error      string           `json:"error,omitempty"`
}

// CreateAccessList answers the list that was given, else an empty one: no access
// is made cheaper by it.
func (a *ethAPI) CreateAccessList(c callArgs, at *rpc.BlockNumberOrHash) (*accessList, error) {
	out := &accessList{AccessList: types.AccessList{}}
	if c.AccessList != nil {
		out.AccessList = append(out.AccessList, *c.AccessList...)
	}
	_, _, err := a.run(&c, at)
	var refused *callError
	if errors.As(err, &refused) && refused.code == codeReverted {
		out.Error, err = refused.text, nil
	}
	if err != nil {
		return nil, err
	}
	out.GasUsed = hexutil.Uint64(c.gas())
	return out, nil
}
