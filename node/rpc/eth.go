package rpc

import (
	"encoding/json"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger"
)

// ethAPI answers the eth_ methods.
type ethAPI struct{ b *service }

// ChainId answers eth_chainId.
func (a *ethAPI) ChainId() hexutil.Uint64 { //nolint:revive // the name of the method on the wire
	return hexutil.Uint64(a.b.Ledger.Config().ChainID)
}

// BlockNumber answers the height of the last final block.
func (a *ethAPI) BlockNumber() hexutil.Uint64 {
	return hexutil.Uint64(a.b.Ledger.HeadInfo().Height)
}

// Syncing answers false, or how far a node that is behind has come.
func (a *ethAPI) Syncing() any {
	s := a.b.status()
	if !s.Syncing {
		return false
	}
	return progressOf(&s)
}

// status is the node's, with what it says of its sync.
func (s *service) status() Status {
	out := s.Backend.Status()
	if s.Sync != nil {
		out.Sync = s.Sync()
	}
	if out.Sync != nil {
		out.Syncing, out.Target = true, max(out.Sync.Target, out.Height)
	}
	return out
}

// progress is the answer of eth_syncing on a node that is behind.
type progress struct {
	StartingBlock hexutil.Uint64 `json:"startingBlock"`
	CurrentBlock  hexutil.Uint64 `json:"currentBlock"`
	HighestBlock  hexutil.Uint64 `json:"highestBlock"`
}

func progressOf(s *Status) *progress {
	out := &progress{CurrentBlock: s.Height, HighestBlock: max(s.Target, s.Height)}
	if s.Sync != nil {
		out.StartingBlock = min(s.Sync.Start, s.Height)
	}
	return out
}

// Accounts is empty: the node holds no keys of wallets.
func (a *ethAPI) Accounts() []crypto.Address { return []crypto.Address{} }

// height turns a tag or number into a height; latest, safe, finalized and
// pending are the last final block.
func (a *ethAPI) height(n rpc.BlockNumber) uint64 {
	switch {
	case n == rpc.EarliestBlockNumber:
		return 0
	case n < 0:
		return a.b.Ledger.HeadInfo().Height
	}
	return uint64(n)
}

// resolve finds the height of a tag, number or EIP-1898 object. Every block that
// we know is canonical, so requireCanonical adds nothing.
func (a *ethAPI) resolve(at *rpc.BlockNumberOrHash) (uint64, error) {
	if at == nil {
		return a.b.Ledger.HeadInfo().Height, nil
	}
	if hash, ok := at.Hash(); ok {
		h, err := a.b.Ledger.HeaderByHash(hash)
		if errors.Is(err, ledger.ErrNotFound) {
			return 0, errHashNotFound
		}
		if err != nil {
			return 0, err
		}
		return h.Number.Uint64(), nil
	}
	n, _ := at.Number()
	height := a.height(n)
	if height > a.b.Ledger.HeadInfo().Height {
		return 0, errHeaderNotFound
	}
	return height, nil
}

// GetBlockByNumber answers a final block; null beyond the head.
func (a *ethAPI) GetBlockByNumber(n rpc.BlockNumber, full bool) (final[block], error) {
	return a.blockAt(a.height(n), full)
}

// GetBlockByHash answers a final block; null if there is none with the hash.
func (a *ethAPI) GetBlockByHash(hash crypto.Hash, full bool) (final[block], error) {
	height, err := a.b.Ledger.HeightByHash(hash)
	if err != nil {
		return final[block]{}, absent(err)
	}
	return a.blockAt(height, full)
}

func (a *ethAPI) blockAt(height uint64, full bool) (final[block], error) {
	key := finalKey{height: height, kind: finalBlock}
	if full {
		key.kind = finalFullBlock
	}
	raw, err := a.b.finals.answer(key, func() (any, error) {
		b, err := a.b.Ledger.BlockByHeight(height)
		if err != nil {
			return nil, absent(err)
		}
		return a.b.encoder().block(b, full), nil
	})
	return final[block]{raw}, err
}

// GetHeaderByNumber answers the header alone.
func (a *ethAPI) GetHeaderByNumber(n rpc.BlockNumber) (*header, error) {
	h, err := a.b.Ledger.HeaderByHeight(a.height(n))
	if err != nil {
		return nil, absent(err)
	}
	return headerOf(h), nil
}

// GetHeaderByHash answers the header alone.
func (a *ethAPI) GetHeaderByHash(hash crypto.Hash) (*header, error) {
	h, err := a.b.Ledger.HeaderByHash(hash)
	if err != nil {
		return nil, absent(err)
	}
	return headerOf(h), nil
}

// GetBlockTransactionCountByNumber answers how many transactions a block has.
func (a *ethAPI) GetBlockTransactionCountByNumber(n rpc.BlockNumber) (*hexutil.Uint, error) {
	return count(a.b.Ledger.BlockByHeight(a.height(n)))
}

// GetBlockTransactionCountByHash answers how many transactions a block has.
func (a *ethAPI) GetBlockTransactionCountByHash(hash crypto.Hash) (*hexutil.Uint, error) {
	return count(a.b.Ledger.BlockByHash(hash))
}

func count(b *types.Block, err error) (*hexutil.Uint, error) {
	if err != nil {
		return nil, absent(err)
	}
	n := hexutil.Uint(len(b.Transactions()))
	return &n, nil
}

// GetUncleCountByBlockNumber is 0 for every known block.
func (a *ethAPI) GetUncleCountByBlockNumber(n rpc.BlockNumber) (*hexutil.Uint, error) {
	if a.height(n) > a.b.Ledger.HeadInfo().Height {
		return nil, nil
	}
	return new(hexutil.Uint), nil
}

// GetUncleCountByBlockHash is 0 for every known block.
func (a *ethAPI) GetUncleCountByBlockHash(hash crypto.Hash) (*hexutil.Uint, error) {
	if _, err := a.b.Ledger.HeaderByHash(hash); err != nil {
		return nil, absent(err)
	}
	return new(hexutil.Uint), nil
}

// GetUncleByBlockNumberAndIndex is null: there are no uncles.
func (a *ethAPI) GetUncleByBlockNumberAndIndex(rpc.BlockNumber, hexutil.Uint) *header { return nil }

// GetUncleByBlockHashAndIndex is null: there are no uncles.
func (a *ethAPI) GetUncleByBlockHashAndIndex(crypto.Hash, hexutil.Uint) *header { return nil }

// GetTransactionByHash answers a final transaction, or one that waits with null
// block fields.
func (a *ethAPI) GetTransactionByHash(hash crypto.Hash) (final[transaction], error) {
	if t, err := a.finalTransaction(hash); t.raw != nil || err != nil {
		return t, err
	}
	if tx := a.b.Pool.Get(hash); tx != nil {
		raw, err := json.Marshal(a.b.encoder().waiting(tx))
		return final[transaction]{raw}, err
	}
	return a.finalTransaction(hash) // it may have become final between the two
}

func (a *ethAPI) finalTransaction(hash crypto.Hash) (final[transaction], error) {
	tx, height, index, ok, err := a.b.place(hash)
	if !ok {
		return final[transaction]{}, err
	}
	raw, err := a.b.finals.answer(finalKey{height, uint32(index), finalTransaction}, func() (any, error) {
		h, err := a.b.Ledger.HeaderByHeight(height)
		if err != nil {
			return nil, err
		}
		return a.b.encoder().transaction(tx, h, h.Hash(), index), nil
	})
	return final[transaction]{raw}, err
}

// GetTransactionByBlockNumberAndIndex answers a transaction of a final block.
func (a *ethAPI) GetTransactionByBlockNumberAndIndex(n rpc.BlockNumber, index hexutil.Uint) (*transaction, error) {
	return a.transactionAt(a.height(n), index)
}

// GetTransactionByBlockHashAndIndex answers a transaction of a final block.
func (a *ethAPI) GetTransactionByBlockHashAndIndex(hash crypto.Hash, index hexutil.Uint) (*transaction, error) {
	height, err := a.b.Ledger.HeightByHash(hash)
	if err != nil {
		return nil, absent(err)
	}
	return a.transactionAt(height, index)
}

func (a *ethAPI) transactionAt(height uint64, index hexutil.Uint) (*transaction, error) {
	tx, hash, err := a.b.Ledger.TransactionAt(height, uint64(index))
	if err != nil {
		return nil, absent(err)
	}
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	return a.b.encoder().transaction(tx, h, hash, uint64(index)), nil
}

// GetTransactionReceipt answers the receipt of a final transaction; null until
// it is final.
func (a *ethAPI) GetTransactionReceipt(hash crypto.Hash) (final[receipt], error) {
	tx, height, index, ok, err := a.b.place(hash)
	if !ok {
		return final[receipt]{}, err
	}
	raw, err := a.b.finals.answer(finalKey{height, uint32(index), finalReceipt}, func() (any, error) {
		r, err := a.b.Ledger.Receipt(tx, height, index)
		if err != nil {
			return nil, err
		}
		return a.b.encoder().receipt(r, tx), nil
	})
	return final[receipt]{raw}, err
}

// GetBlockReceipts answers all receipts of a final block.
func (a *ethAPI) GetBlockReceipts(at rpc.BlockNumberOrHash) (final[[]*receipt], error) {
	height, err := a.resolve(&at)
	if missing(err) {
		return final[[]*receipt]{}, nil
	}
	if err != nil {
		return final[[]*receipt]{}, err
	}
	raw, err := a.b.finals.answer(finalKey{height: height, kind: finalReceipts}, func() (any, error) {
		b, err := a.b.Ledger.BlockByHeight(height)
		if err != nil {
			return nil, err
		}
		receipts, err := a.b.Ledger.Receipts(height)
		if err != nil {
			return nil, err
		}
		out := make([]*receipt, len(receipts))
		for i, r := range receipts {
			out[i] = a.b.encoder().receipt(r, b.Transactions()[i])
		}
		return out, nil
	})
	return final[[]*receipt]{raw}, err
}
