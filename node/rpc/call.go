package rpc

import (
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

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

// gas is what the call needs: there is no code, so it is what it costs before
// any.
func (c *callArgs) gas() uint64 {
	data := types.DynamicFeeTx{To: c.To, Data: c.data()}
	if c.AccessList != nil {
		data.AccessList = *c.AccessList
	}
	return chain.IntrinsicGas(types.NewTx(&data))
}

// run holds a call against the state at a block: nothing happens in it but a
// transfer. It answers the gas that it needs.
func (a *ethAPI) run(c *callArgs, at *rpc.BlockNumberOrHash) (uint64, error) {
	if err := a.checkForm(c); err != nil {
		return 0, err
	}
	height, err := a.resolve(at)
	if err != nil {
		return 0, err
	}
	header, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return 0, err
	}
	rules := &a.b.Ledger.Config().Rules
	need := c.gas()
	if limit := rules.GasLimit; need > limit {
		return 0, fmt.Errorf("gas required exceeds allowance (%d)", limit)
	}
	if c.Gas != nil && uint64(*c.Gas) < need {
		return 0, fmt.Errorf("%w: have %d, want %d", chain.ErrIntrinsicGas, uint64(*c.Gas), need)
	}
	if err := a.checkFunds(c, height, header, need); err != nil {
		return 0, err
	}
	if *c.To == chain.RegistryAddress {
		return 0, errExecutionReverted
	}
	return need, nil
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

// Call answers what an account without code answers: nothing. The registry
// reverts, as it does for a transaction.
func (a *ethAPI) Call(c callArgs, at *rpc.BlockNumberOrHash, state, block *overrides) (hexutil.Bytes, error) {
	if state != nil && len(*state) > 0 || block != nil && len(*block) > 0 {
		return nil, errNoStateOverrides
	}
	_, err := a.run(&c, at)
	return hexutil.Bytes{}, err
}

// EstimateGas answers the intrinsic gas, which is all that a transfer uses.
func (a *ethAPI) EstimateGas(c callArgs, at *rpc.BlockNumberOrHash, state, block *overrides) (hexutil.Uint64, error) {
	if state != nil && len(*state) > 0 || block != nil && len(*block) > 0 {
		return 0, errNoStateOverrides
	}
	gas, err := a.run(&c, at)
	return hexutil.Uint64(gas), err
}

// accessList is the answer of eth_createAccessList.
type accessList struct {
	AccessList types.AccessList `json:"accessList"`
	GasUsed    hexutil.Uint64   `json:"gasUsed"`
	Error      string           `json:"error,omitempty"`
}

// CreateAccessList answers an empty list: without code nothing is accessed.
func (a *ethAPI) CreateAccessList(c callArgs, at *rpc.BlockNumberOrHash) (*accessList, error) {
	given := c.AccessList
	c.AccessList = nil
	gas, err := a.run(&c, at)
	if err == errExecutionReverted {
		return &accessList{AccessList: types.AccessList{}, GasUsed: hexutil.Uint64(c.gas()), Error: err.Error()}, nil
	}
	out := &accessList{AccessList: types.AccessList{}, GasUsed: hexutil.Uint64(gas)}
	if err == nil && given != nil && len(*given) > 0 {
		out.AccessList, c.AccessList = *given, given // what the caller wants on it stays on it
		out.GasUsed = hexutil.Uint64(c.gas())
	}
	return out, err
}
