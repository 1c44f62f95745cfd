package rpc

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// ethAPI answers the eth_ methods.
type ethAPI struct{ b Backend }

func (a *ethAPI) encoder() encoder {
	return encoder{signer: a.b.Signer, rules: &a.b.Ledger.Config().Rules}
}

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
	s := a.b.Status()
	if !s.Syncing {
		return false
	}
	return map[string]any{"startingBlock": hexutil.Uint64(0), "currentBlock": s.Height, "highestBlock": s.Target}
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
			return 0, errHeaderNotFound
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
func (a *ethAPI) GetBlockByNumber(n rpc.BlockNumber, full bool) (map[string]any, error) {
	b, err := a.b.Ledger.BlockByHeight(a.height(n))
	if err != nil {
		return nil, absent(err)
	}
	return a.encoder().block(b, full), nil
}

// GetBlockByHash answers a final block; null if there is none with the hash.
func (a *ethAPI) GetBlockByHash(hash crypto.Hash, full bool) (map[string]any, error) {
	b, err := a.b.Ledger.BlockByHash(hash)
	if err != nil {
		return nil, absent(err)
	}
	return a.encoder().block(b, full), nil
}

// GetHeaderByNumber answers the header alone.
func (a *ethAPI) GetHeaderByNumber(n rpc.BlockNumber) (map[string]any, error) {
	h, err := a.b.Ledger.HeaderByHeight(a.height(n))
	if err != nil {
		return nil, absent(err)
	}
	return headerFields(h), nil
}

// GetHeaderByHash answers the header alone.
func (a *ethAPI) GetHeaderByHash(hash crypto.Hash) (map[string]any, error) {
	h, err := a.b.Ledger.HeaderByHash(hash)
	if err != nil {
		return nil, absent(err)
	}
	return headerFields(h), nil
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

// GetTransactionByHash answers a final transaction, or one that waits with null
// block fields.
func (a *ethAPI) GetTransactionByHash(hash crypto.Hash) (*transaction, error) {
	tx, _, height, index, err := a.b.Ledger.Transaction(hash)
	if errors.Is(err, ledger.ErrNotFound) {
		if tx := a.b.Pool.Get(hash); tx != nil {
			return a.encoder().transaction(tx, nil, 0), nil
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	return a.encoder().transaction(tx, h, index), nil
}

// GetTransactionByBlockNumberAndIndex answers a transaction of a final block.
func (a *ethAPI) GetTransactionByBlockNumberAndIndex(n rpc.BlockNumber, index hexutil.Uint) (*transaction, error) {
	return a.transactionAt(index)(a.b.Ledger.BlockByHeight(a.height(n)))
}

// GetTransactionByBlockHashAndIndex answers a transaction of a final block.
func (a *ethAPI) GetTransactionByBlockHashAndIndex(hash crypto.Hash, index hexutil.Uint) (*transaction, error) {
	return a.transactionAt(index)(a.b.Ledger.BlockByHash(hash))
}

func (a *ethAPI) transactionAt(index hexutil.Uint) func(*types.Block, error) (*transaction, error) {
	return func(b *types.Block, err error) (*transaction, error) {
		if err != nil {
			return nil, absent(err)
		}
		if uint(index) >= uint(len(b.Transactions())) {
			return nil, nil
		}
		return a.encoder().transaction(b.Transactions()[index], b.Header(), uint64(index)), nil
	}
}

// GetTransactionReceipt answers the receipt of a final transaction; null until
// it is final.
func (a *ethAPI) GetTransactionReceipt(hash crypto.Hash) (map[string]any, error) {
	tx, _, height, index, err := a.b.Ledger.Transaction(hash)
	if err != nil {
		return nil, absent(err)
	}
	receipts, err := a.b.Ledger.Receipts(height)
	if err != nil {
		return nil, err
	}
	return a.encoder().receipt(receipts[index], tx), nil
}

// GetBlockReceipts answers all receipts of a final block.
func (a *ethAPI) GetBlockReceipts(at rpc.BlockNumberOrHash) ([]map[string]any, error) {
	height, err := a.resolve(&at)
	if errors.Is(err, errHeaderNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := a.b.Ledger.BlockByHeight(height)
	if err != nil {
		return nil, err
	}
	receipts, err := a.b.Ledger.Receipts(height)
	if err != nil {
		return nil, err
	}
	out := make([]map[string]any, len(receipts))
	for i, r := range receipts {
		out[i] = a.encoder().receipt(r, b.Transactions()[i])
	}
	return out, nil
}

// SendRawTransaction takes a signed transaction: the answer is its hash, or the
// reason why it is refused.
func (a *ethAPI) SendRawTransaction(ctx context.Context, raw hexutil.Bytes) (crypto.Hash, error) {
	tx, err := chain.DecodeTransaction(raw)
	if err != nil {
		return crypto.Hash{}, err
	}
	return tx.Hash(), a.b.Submit(ctx, tx)
}
