package chain

import (
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/genesis"
)

// NextBaseFee is the base fee in wei per gas of a child of parent: EIP-1559
// with the rules' gas target and change denominator, never below the rules'
// minimum; 0 on a free network.
func NextBaseFee(rules *genesis.Rules, parent *types.Header) *uint256.Int {
	f := &rules.Fees
	if f.Free {
		return new(uint256.Int)
	}
	fee := new(uint256.Int)
	if parent.BaseFee != nil {
		fee.SetFromBig(parent.BaseFee)
	}
	if f.GasTarget != 0 && f.BaseFeeChangeDenominator != 0 {
		moveBaseFee(fee, f, parent.GasUsed)
	}
	if f.MinBaseFee != nil && fee.Lt(f.MinBaseFee) {
		fee.Set(f.MinBaseFee)
	}
	return fee
}

// moveBaseFee changes fee by fee · |used − target| / target / denominator, up by
// at least 1. It stops at 2^256−1.
func moveBaseFee(fee *uint256.Int, f *genesis.FeeRules, used uint64) {
	target := f.GasTarget
	if used == target {
		return
	}
	distance := target - used
	if used > target {
		distance = used - target
	}
	denominator := uint256.NewInt(f.BaseFeeChangeDenominator)
	step, over := new(uint256.Int).MulDivOverflow(fee, uint256.NewInt(distance), uint256.NewInt(target))
	step.Div(step, denominator)
	switch {
	case used < target:
		fee.Sub(fee, step) // distance ≤ target, so step ≤ fee
	case over:
		fee.SetAllOne()
	default:
		if step.IsZero() {
			step.SetOne()
		}
		if _, over := fee.AddOverflow(fee, step); over {
			fee.SetAllOne()
		}
	}
}

// EffectiveGasPrice is what tx pays per gas at a base fee, in wei: its gas price
// (legacy, EIP-2930) or min(fee cap, base fee + tip cap); 0 on a free network.
// It is meaningful only when the fee cap reaches the base fee.
func EffectiveGasPrice(rules *genesis.Rules, tx *types.Transaction, baseFee *big.Int) *big.Int {
	if rules.Fees.Free {
		return new(big.Int)
	}
	price := tx.GasTipCap()
	if baseFee != nil {
		price.Add(price, baseFee)
	}
	if feeCap := tx.GasFeeCap(); price.Cmp(feeCap) > 0 {
		return feeCap
	}
	return price
}

// EffectiveTip is what the proposer gets per gas at a base fee, in wei; ok is
// false when the fee cap is below the base fee.
func EffectiveTip(tx *types.Transaction, baseFee *uint256.Int) (tip uint256.Int, ok bool) {
	var feeCap uint256.Int
	feeCap.SetFromBig(tx.GasFeeCap())
	if feeCap.Lt(baseFee) {
		return uint256.Int{}, false
	}
	feeCap.Sub(&feeCap, baseFee)
	tip.SetFromBig(tx.GasTipCap())
	if feeCap.Lt(&tip) {
		return feeCap, true
	}
	return tip, true
}
