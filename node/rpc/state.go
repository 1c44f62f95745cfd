package rpc

import (
	"encoding/hex"
	"strings"

	"github.com/ethereum/go-ethereum/common"
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
			return a.pendingNonce(addr)
		}
	}
	acc, err := a.account(addr, at)
	if err != nil || acc == nil {
		return 0, err
	}
	return hexutil.Uint64(acc.Nonce), nil
}

// pendingNonce is the pool's, unless a block that the pool has not heard of yet
// is ahead of it.
func (a *ethAPI) pendingNonce(addr crypto.Address) (hexutil.Uint64, error) {
	nonce, err := a.b.Pool.Nonce(addr)
	if err != nil {
		return 0, err
	}
	acc, err := a.b.Ledger.Account(addr)
	if err != nil {
		return 0, err
	}
	if acc != nil {
		nonce = max(nonce, acc.Nonce)
	}
	return hexutil.Uint64(nonce), nil
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

// parseSlot reads a storage key as geth does: hex of up to 32 bytes, short ones
// padded on the left.
func parseSlot(text string) (crypto.Hash, error) {
	digits := strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	if len(digits) > 2*crypto.HashLength {
		return crypto.Hash{}, invalidParams("storage key too long (want at most 32 bytes): %d hex digits", len(digits))
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return crypto.Hash{}, invalidParams("invalid hex in storage key %q", text)
	}
	return common.BytesToHash(b), nil
}

// slotName is how a key is named in the answer: as it was given if it was 32
// bytes, else as a number.
func slotName(text string, slot crypto.Hash) string {
	if len(text) == 2+2*crypto.HashLength {
		return slot.Hex()
	}
	return hexutil.EncodeBig(slot.Big())
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
func (a *ethAPI) GetProof(addr crypto.Address, keys []string, at *rpc.BlockNumberOrHash) (*accountProof, error) {
	height, err := a.resolve(at)
	if err != nil {
		return nil, err
	}
	return a.b.accountProof(addr, keys, height)
}

// accountProof proves an account and slots of it against the state root of the
// block at height.
func (s *service) accountProof(addr crypto.Address, keys []string, height uint64) (*accountProof, error) {
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
	p, err := s.Ledger.Proof(addr, slots, height)
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
	for i, v := range p.Storage {
		out.StorageProof = append(out.StorageProof, storageProof{
			Key: slotName(keys[i], v.Slot), Value: (*hexutil.Big)(v.Value.Big()), Proof: hexes(v.Proof),
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
