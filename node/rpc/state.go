package rpc

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// maxProofSlots bounds the storage keys of one eth_getProof.
const maxProofSlots = 1024

// GetBalance answers wei at any height that the node keeps.
func (a *ethAPI) GetBalance(addr crypto.Address, at *rpc.BlockNumberOrHash) (*hexutil.Big, error) {
	acc, err := a.account(addr, at)
	if err != nil || acc == nil {
		return new(hexutil.Big), err
	}
	return (*hexutil.Big)(acc.Balance.ToBig()), nil
}

// GetTransactionCount answers the nonce at any height; for pending, with the
// pool's contiguous transactions counted.
func (a *ethAPI) GetTransactionCount(addr crypto.Address, at *rpc.BlockNumberOrHash) (hexutil.Uint64, error) {
	if at != nil {
		if n, ok := at.Number(); ok && n == rpc.PendingBlockNumber {
			nonce, err := a.b.Pool.Nonce(addr)
			return hexutil.Uint64(nonce), err
		}
	}
	acc, err := a.account(addr, at)
	if err != nil || acc == nil {
		return 0, err
	}
	return hexutil.Uint64(acc.Nonce), nil
}

// account reads the state at a block; nil = there is no such account.
func (a *ethAPI) account(addr crypto.Address, at *rpc.BlockNumberOrHash) (*chain.Account, error) {
	height, err := a.resolve(at)
	if err != nil {
		return nil, err
	}
	return a.b.Ledger.AccountAt(addr, height)
}

// GetCode answers the code of the registry, and nothing for any other address.
func (a *ethAPI) GetCode(addr crypto.Address, at *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	acc, err := a.account(addr, at)
	if err != nil || acc == nil {
		return hexutil.Bytes{}, err
	}
	return a.b.Ledger.Code(acc.CodeHash)
}

// GetStorageAt answers 32 bytes; zeros for every address but the registry's.
func (a *ethAPI) GetStorageAt(addr crypto.Address, slot string, at *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	key, err := parseSlot(slot)
	if err != nil {
		return nil, err
	}
	height, err := a.resolve(at)
	if err != nil {
		return nil, err
	}
	value, err := a.b.Ledger.SlotAt(addr, key, height)
	return value[:], err
}

// parseSlot reads a storage key: a hex number or 32 bytes.
func parseSlot(text string) (crypto.Hash, error) {
	if len(text) == 2+2*crypto.HashLength {
		return crypto.ParseHash(text)
	}
	n, err := hexutil.DecodeBig(text)
	if err != nil {
		return crypto.Hash{}, invalidParams("storage key %q: %v", text, err)
	}
	var out crypto.Hash
	n.FillBytes(out[:])
	return out, nil
}

// storageProof and accountProof are EIP-1186's.
type storageProof struct {
	Key   string          `json:"key"`
	Value *hexutil.Big    `json:"value"`
	Proof []hexutil.Bytes `json:"proof"`
}

type accountProof struct {
	Address      crypto.Address  `json:"address"`
	AccountProof []hexutil.Bytes `json:"accountProof"`
	Balance      *hexutil.Big    `json:"balance"`
	CodeHash     crypto.Hash     `json:"codeHash"`
	Nonce        hexutil.Uint64  `json:"nonce"`
	StorageHash  crypto.Hash     `json:"storageHash"`
	StorageProof []storageProof  `json:"storageProof"`
}

// GetProof answers a proof against the state root of a recent block's header.
func (a *ethAPI) GetProof(addr crypto.Address, keys []string, at rpc.BlockNumberOrHash) (*accountProof, error) {
	if len(keys) > maxProofSlots {
		return nil, invalidParams("%d storage keys, at most %d", len(keys), maxProofSlots)
	}
	slots := make([]crypto.Hash, len(keys))
	for i, k := range keys {
		slot, err := parseSlot(k)
		if err != nil {
			return nil, err
		}
		slots[i] = slot
	}
	height, err := a.resolve(&at)
	if err != nil {
		return nil, err
	}
	p, err := a.b.Ledger.Proof(addr, slots, height)
	if err != nil {
		return nil, err
	}
	out := &accountProof{
		Address: addr, AccountProof: hexes(p.Proof), Balance: new(hexutil.Big),
		CodeHash: types.EmptyCodeHash, StorageHash: types.EmptyRootHash, StorageProof: []storageProof{},
	}
	if acc := p.Account; acc != nil {
		out.Balance, out.Nonce = (*hexutil.Big)(acc.Balance.ToBig()), hexutil.Uint64(acc.Nonce)
		out.CodeHash, out.StorageHash = acc.CodeHash, acc.StorageRoot
	}
	for i, s := range p.Storage {
		out.StorageProof = append(out.StorageProof, storageProof{
			Key: keys[i], Value: (*hexutil.Big)(new(big.Int).SetBytes(s.Value[:])), Proof: hexes(s.Proof),
		})
	}
	return out, nil
}

func hexes(nodes [][]byte) []hexutil.Bytes {
	out := make([]hexutil.Bytes, len(nodes))
	for i, n := range nodes {
		out[i] = n
	}
	return out
}

// callArgs are the parameters of eth_call and eth_estimateGas that matter where
// there is no code; the others are accepted and change nothing.
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

// check refuses what no transaction could be.
func (a *ethAPI) check(c *callArgs, at *rpc.BlockNumberOrHash) error {
	if c.Input != nil && c.Data != nil && string(*c.Input) != string(*c.Data) {
		return invalidParams(`both "data" and "input" are set and not equal. Please use "input" to pass transaction call data`)
	}
	if c.To == nil {
		return chain.ErrContractCreation
	}
	if c.Value == nil || c.Value.ToInt().Sign() == 0 {
		_, err := a.resolve(at)
		return err
	}
	from := crypto.Address{}
	if c.From != nil {
		from = *c.From
	}
	balance, err := a.GetBalance(from, at)
	if err != nil {
		return err
	}
	if balance.ToInt().Cmp(c.Value.ToInt()) < 0 {
		return fmt.Errorf("insufficient funds for transfer: address %s", from)
	}
	return nil
}

// Call answers what an account without code answers: nothing. The registry
// reverts, as it does for a transaction.
func (a *ethAPI) Call(c callArgs, at *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	if err := a.check(&c, at); err != nil {
		return nil, err
	}
	if *c.To == chain.RegistryAddress {
		return nil, &callError{code: codeReverted, text: "execution reverted", data: "0x"}
	}
	return hexutil.Bytes{}, nil
}

// EstimateGas answers the intrinsic gas, which is all that a transfer uses.
func (a *ethAPI) EstimateGas(c callArgs, at *rpc.BlockNumberOrHash) (hexutil.Uint64, error) {
	if err := a.check(&c, at); err != nil {
		return 0, err
	}
	if *c.To == chain.RegistryAddress {
		return 0, &callError{code: codeReverted, text: "execution reverted", data: "0x"}
	}
	var list types.AccessList
	if c.AccessList != nil {
		list = *c.AccessList
	}
	gas := chain.IntrinsicGas(types.NewTx(&types.DynamicFeeTx{To: c.To, Data: c.data(), AccessList: list}))
	if limit := a.b.Ledger.Config().Rules.GasLimit; gas > limit || c.Gas != nil && gas > uint64(*c.Gas) {
		return 0, fmt.Errorf("gas required exceeds allowance (%d)", limit)
	}
	return hexutil.Uint64(gas), nil
}
