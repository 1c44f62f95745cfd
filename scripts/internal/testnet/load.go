package testnet

import (
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
)

// Fee is what every transaction of a load offers per gas, in wei: well above the
// base fee of a development network.
var Fee = big.NewInt(10_000_000_000)

// Tip is what of it the proposer gets, in wei per gas.
var Tip = big.NewInt(1)

// TransferGas is what a transfer without data uses.
const TransferGas = 21_000

// Transfer signs one EIP-1559 transfer.
func Transfer(chainID uint64, key *crypto.PrivateKey, nonce uint64, to crypto.Address, wei *big.Int) (*types.Transaction, error) {
	id := new(big.Int).SetUint64(chainID)
	signer := types.LatestSignerForChainID(id)
	tx := types.NewTx(&types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, To: &to, Value: wei, Gas: TransferGas, GasFeeCap: Fee, GasTipCap: Tip,
	})
	sig := key.Sign(signer.Hash(tx))
	return tx.WithSignature(signer, sig[:])
}

// Send hands a transaction to a node.
func Send(ctx context.Context, c *rpc.Client, tx *types.Transaction) error {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return err
	}
	var hash crypto.Hash
	return c.CallContext(ctx, &hash, "eth_sendRawTransaction", hexutil.Encode(raw))
}

// SendBatch hands transactions to a node in one JSON-RPC batch. It answers how
// many were refused, and why the first was.
func SendBatch(ctx context.Context, c *rpc.Client, txs []*types.Transaction) (refused int, first error, err error) {
	batch := make([]rpc.BatchElem, len(txs))
	for i, tx := range txs {
		raw, err := tx.MarshalBinary()
		if err != nil {
			return 0, nil, err
		}
		batch[i] = rpc.BatchElem{Method: "eth_sendRawTransaction", Args: []any{hexutil.Encode(raw)}, Result: new(crypto.Hash)}
	}
	if err := c.BatchCallContext(ctx, batch); err != nil {
		return 0, nil, err
	}
	for _, e := range batch {
		if e.Error != nil {
			refused++
			if first == nil {
				first = e.Error
			}
		}
	}
	return refused, first, nil
}

// Block is what the drivers read of a block.
type Block struct {
	Number       hexutil.Uint64 `json:"number"`
	Hash         crypto.Hash    `json:"hash"`
	ParentHash   crypto.Hash    `json:"parentHash"`
	Time         hexutil.Uint64 `json:"timestamp"` // Unix time in whole seconds
	StateRoot    crypto.Hash    `json:"stateRoot"`
	BaseFee      hexutil.Big    `json:"baseFeePerGas"`
	Transactions []crypto.Hash  `json:"transactions"`
}

// BlockAt reads a block by height; nil if the node has none there.
func BlockAt(ctx context.Context, c *rpc.Client, height uint64) (*Block, error) {
	var b *Block
	err := c.CallContext(ctx, &b, "eth_getBlockByNumber", hexutil.EncodeUint64(height), false)
	return b, err
}

// Blocks reads a run of blocks in one JSON-RPC batch; nil where the node has none.
func Blocks(ctx context.Context, c *rpc.Client, from, to uint64) ([]*Block, error) {
	out := make([]*Block, to-from+1)
	batch := make([]rpc.BatchElem, len(out))
	for i := range out {
		batch[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{hexutil.EncodeUint64(from + uint64(i)), false}, Result: &out[i]}
	}
	if err := c.BatchCallContext(ctx, batch); err != nil {
		return nil, err
	}
	for _, e := range batch {
		if e.Error != nil {
			return nil, e.Error
		}
	}
	return out, nil
}

// Head is the height of the last final block.
func Head(ctx context.Context, c *rpc.Client) (uint64, error) {
	var h hexutil.Uint64
	err := c.CallContext(ctx, &h, "eth_blockNumber")
	return uint64(h), err
}

// Balance reads an account at the head.
func Balance(ctx context.Context, c *rpc.Client, a crypto.Address) (*big.Int, error) {
	var b hexutil.Big
	err := c.CallContext(ctx, &b, "eth_getBalance", a, "latest")
	return b.ToInt(), err
}

// Nonce reads an account's next nonce at a tag.
func Nonce(ctx context.Context, c *rpc.Client, a crypto.Address, tag string) (uint64, error) {
	var n hexutil.Uint64
	err := c.CallContext(ctx, &n, "eth_getTransactionCount", a, tag)
	return uint64(n), err
}

// Status is what the drivers read of cairn_status.
type Status struct {
	Height   hexutil.Uint64 `json:"height"`
	Hash     crypto.Hash    `json:"hash"`
	View     hexutil.Uint64 `json:"view"`
	Peers    int            `json:"peers"`
	Quorum   int            `json:"quorum"`
	Voting   bool           `json:"voting"`
	Syncing  bool           `json:"syncing"`
	Healthy  bool           `json:"healthy"`
	Problems []string       `json:"problems"`
}

// NodeStatus asks cairn_status.
func NodeStatus(ctx context.Context, c *rpc.Client) (*Status, error) {
	var s Status
	if err := c.CallContext(ctx, &s, "cairn_status"); err != nil {
		return nil, fmt.Errorf("cairn_status: %w", err)
	}
	return &s, nil
}
