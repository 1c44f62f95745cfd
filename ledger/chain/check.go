package chain

import (
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Gas of a transaction before anything is executed (EIP-2028, EIP-2930).
const (
	gasTransaction       = 21_000
	gasZeroByte          = 4
	gasNonZeroByte       = 16
	gasAccessListAddress = 2_400
	gasAccessListKey     = 1_900
)

// IntrinsicGas is the gas that tx uses: 21000, 4 for a zero and 16 for another
// calldata byte, 2400 for an access-list address and 1900 for a key.
func IntrinsicGas(tx *types.Transaction) uint64 {
	data := tx.Data()
	var zeros uint64
	for _, b := range data {
		if b == 0 {
			zeros++
		}
	}
	gas := gasTransaction + zeros*gasZeroByte + (uint64(len(data))-zeros)*gasNonZeroByte
	if list := tx.AccessList(); len(list) > 0 {
		gas += uint64(len(list))*gasAccessListAddress + uint64(list.StorageKeys())*gasAccessListKey
	}
	return gas
}

// CheckTransaction holds every rule of a transaction that needs neither state
// nor signature: type, size, replay protection and chain id, gas, and fee
// fields that contradict each other. Errors: the first group of ErrorKinds, and
// ErrInsufficientFunds for a value above 2^256−1.
func CheckTransaction(cfg *Config, tx *types.Transaction) error {
	if tx.Type() > types.DynamicFeeTxType {
		return invalid(ErrTypeNotSupported, "type %d", tx.Type())
	}
	if size := tx.Size(); size > MaxTransactionBytes {
		return invalid(ErrOversizedData, "transaction size %d, limit %d", size, MaxTransactionBytes)
	}
	if err := checkChainID(cfg.ChainID, tx); err != nil {
		return err
	}
	if tx.To() == nil {
		return &InvalidError{Kind: ErrContractCreation}
	}
	if gas := tx.Gas(); gas > cfg.Rules.GasLimit {
		return invalid(ErrGasLimit, "gas %d, block gas limit %d", gas, cfg.Rules.GasLimit)
	}
	if tx.Nonce() == math.MaxUint64 {
		return &InvalidError{Kind: ErrNonceMax}
	}
	if err := checkAmounts(tx); err != nil {
		return err
	}
	if need := IntrinsicGas(tx); tx.Gas() < need {
		return invalid(ErrIntrinsicGas, "gas %d, minimum needed %d", tx.Gas(), need)
	}
	return nil
}

func checkChainID(chainID uint64, tx *types.Transaction) error {
	if tx.Type() == types.LegacyTxType && !tx.Protected() {
		return &InvalidError{Kind: ErrUnprotected}
	}
	if id := tx.ChainId(); !id.IsUint64() || id.Uint64() != chainID {
		return invalid(ErrInvalidChainID, "have %d want %d", id, chainID)
	}
	return nil
}

// The bounds of every amount. They are only read.
var (
	zero   = new(big.Int)
	max256 = new(uint256.Int).SetAllOne().ToBig()
)

func checkAmounts(tx *types.Transaction) error {
	// GasTipCap and Value are copies, the comparisons are not: this runs for every
	// transaction of every block.
	tip, value := tx.GasTipCap(), tx.Value()
	switch {
	case value.Sign() < 0 || tip.Sign() < 0 || tx.GasFeeCapIntCmp(zero) < 0:
		return &InvalidError{Kind: ErrNegativeValue}
	case tx.GasFeeCapIntCmp(max256) > 0:
		return &InvalidError{Kind: ErrFeeCapVeryHigh}
	case tip.Cmp(max256) > 0:
		return &InvalidError{Kind: ErrTipVeryHigh}
	case tx.GasFeeCapIntCmp(tip) < 0:
		return invalid(ErrTipAboveFeeCap, "maxPriorityFeePerGas %d, maxFeePerGas %d", tip, tx.GasFeeCap())
	case value.Cmp(max256) > 0:
		return invalid(ErrInsufficientFunds, "value of more than 256 bits")
	}
	return nil
}
