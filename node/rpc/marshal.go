package rpc

import (
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// headerFields are the London fields exactly: those of later forks are absent,
// not null, and keccak256(RLP) of what is served is the hash that is served.
func headerFields(h *types.Header) map[string]any {
	return map[string]any{
		"number":           (*hexutil.Big)(h.Number),
		"hash":             h.Hash(),
		"parentHash":       h.ParentHash,
		"nonce":            h.Nonce,
		"mixHash":          h.MixDigest,
		"sha3Uncles":       h.UncleHash,
		"logsBloom":        h.Bloom,
		"stateRoot":        h.Root,
		"miner":            h.Coinbase,
		"difficulty":       (*hexutil.Big)(h.Difficulty),
		"extraData":        hexutil.Bytes(h.Extra),
		"gasLimit":         hexutil.Uint64(h.GasLimit),
		"gasUsed":          hexutil.Uint64(h.GasUsed),
		"timestamp":        hexutil.Uint64(h.Time),
		"transactionsRoot": h.TxHash,
		"receiptsRoot":     h.ReceiptHash,
		"baseFeePerGas":    (*hexutil.Big)(h.BaseFee),
	}
}

// encoder turns blocks and transactions into what is answered.
type encoder struct {
	signer types.Signer
	rules  *genesis.Rules
}

func (e encoder) block(b *types.Block, full bool) map[string]any {
	fields := headerFields(b.Header())
	fields["size"] = hexutil.Uint64(b.Size())
	fields["uncles"] = []crypto.Hash{}
	txs := make([]any, len(b.Transactions()))
	for i, tx := range b.Transactions() {
		if full {
			txs[i] = e.transaction(tx, b.Header(), uint64(i))
		} else {
			txs[i] = tx.Hash()
		}
	}
	fields["transactions"] = txs
	return fields
}

// transaction is the answer of eth_getTransactionBy…; the block fields are null
// while it waits in the pool.
type transaction struct {
	BlockHash        *crypto.Hash      `json:"blockHash"`
	BlockNumber      *hexutil.Big      `json:"blockNumber"`
	BlockTimestamp   *hexutil.Uint64   `json:"blockTimestamp,omitempty"`
	From             crypto.Address    `json:"from"`
	Gas              hexutil.Uint64    `json:"gas"`
	GasPrice         *hexutil.Big      `json:"gasPrice"`
	GasFeeCap        *hexutil.Big      `json:"maxFeePerGas,omitempty"`
	GasTipCap        *hexutil.Big      `json:"maxPriorityFeePerGas,omitempty"`
	Hash             crypto.Hash       `json:"hash"`
	Input            hexutil.Bytes     `json:"input"`
	Nonce            hexutil.Uint64    `json:"nonce"`
	To               *crypto.Address   `json:"to"`
	TransactionIndex *hexutil.Uint64   `json:"transactionIndex"`
	Value            *hexutil.Big      `json:"value"`
	Type             hexutil.Uint64    `json:"type"`
	AccessList       *types.AccessList `json:"accessList,omitempty"`
	ChainID          *hexutil.Big      `json:"chainId,omitempty"`
	V                *hexutil.Big      `json:"v"`
	R                *hexutil.Big      `json:"r"`
	S                *hexutil.Big      `json:"s"`
	YParity          *hexutil.Uint64   `json:"yParity,omitempty"`
}

// transaction describes tx in the block of header at index, or in the pool if
// header is nil.
func (e encoder) transaction(tx *types.Transaction, header *types.Header, index uint64) *transaction {
	from, _ := types.Sender(e.signer, tx) // was recovered before the transaction was accepted
	v, r, s := tx.RawSignatureValues()
	out := &transaction{
		From: from, Gas: hexutil.Uint64(tx.Gas()), GasPrice: (*hexutil.Big)(tx.GasPrice()), Hash: tx.Hash(),
		Input: tx.Data(), Nonce: hexutil.Uint64(tx.Nonce()), To: tx.To(), Value: (*hexutil.Big)(tx.Value()),
		Type: hexutil.Uint64(tx.Type()), ChainID: (*hexutil.Big)(tx.ChainId()),
		V: (*hexutil.Big)(v), R: (*hexutil.Big)(r), S: (*hexutil.Big)(s),
	}
	if tx.Type() != types.LegacyTxType {
		list := tx.AccessList()
		parity := hexutil.Uint64(v.Sign())
		out.AccessList, out.YParity = &list, &parity
	}
	if tx.Type() == types.DynamicFeeTxType {
		out.GasFeeCap, out.GasTipCap = (*hexutil.Big)(tx.GasFeeCap()), (*hexutil.Big)(tx.GasTipCap())
	}
	if header == nil {
		return out
	}
	hash, i, at := header.Hash(), hexutil.Uint64(index), hexutil.Uint64(header.Time)
	out.BlockHash, out.BlockNumber, out.TransactionIndex, out.BlockTimestamp = &hash, (*hexutil.Big)(header.Number), &i, &at
	if tx.Type() == types.DynamicFeeTxType {
		out.GasPrice = (*hexutil.Big)(chain.EffectiveGasPrice(e.rules, tx, header.BaseFee))
	}
	return out
}

func (e encoder) receipt(r *types.Receipt, tx *types.Transaction) map[string]any {
	from, _ := types.Sender(e.signer, tx)
	logs := r.Logs
	if logs == nil {
		logs = []*types.Log{}
	}
	return map[string]any{
		"blockHash":         r.BlockHash,
		"blockNumber":       (*hexutil.Big)(r.BlockNumber),
		"transactionHash":   tx.Hash(),
		"transactionIndex":  hexutil.Uint64(r.TransactionIndex),
		"from":              from,
		"to":                tx.To(),
		"gasUsed":           hexutil.Uint64(r.GasUsed),
		"cumulativeGasUsed": hexutil.Uint64(r.CumulativeGasUsed),
		"contractAddress":   nil,
		"logs":              logs,
		"logsBloom":         r.Bloom,
		"type":              hexutil.Uint(tx.Type()),
		"effectiveGasPrice": (*hexutil.Big)(r.EffectiveGasPrice),
		"status":            hexutil.Uint64(r.Status),
	}
}
