package rpc

import (
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// header is a London header exactly: the fields of later forks are absent, not
// null, and keccak256(RLP) of what is served is the hash that is served.
type header struct {
	Number           *hexutil.Big     `json:"number"`
	Hash             crypto.Hash      `json:"hash"`
	ParentHash       crypto.Hash      `json:"parentHash"`
	Nonce            types.BlockNonce `json:"nonce"`
	MixHash          crypto.Hash      `json:"mixHash"`
	Sha3Uncles       crypto.Hash      `json:"sha3Uncles"`
	LogsBloom        types.Bloom      `json:"logsBloom"`
	StateRoot        crypto.Hash      `json:"stateRoot"`
	Miner            crypto.Address   `json:"miner"`
	Difficulty       *hexutil.Big     `json:"difficulty"`
	ExtraData        hexutil.Bytes    `json:"extraData"`
	GasLimit         hexutil.Uint64   `json:"gasLimit"`
	GasUsed          hexutil.Uint64   `json:"gasUsed"`
	Timestamp        hexutil.Uint64   `json:"timestamp"`
	TransactionsRoot crypto.Hash      `json:"transactionsRoot"`
	ReceiptsRoot     crypto.Hash      `json:"receiptsRoot"`
	BaseFeePerGas    *hexutil.Big     `json:"baseFeePerGas"`
}

func headerOf(h *types.Header) *header { return headerWith(h, h.Hash()) }

func headerWith(h *types.Header, hash crypto.Hash) *header {
	return &header{
		Number: (*hexutil.Big)(h.Number), Hash: hash, ParentHash: h.ParentHash, Nonce: h.Nonce, MixHash: h.MixDigest,
		Sha3Uncles: h.UncleHash, LogsBloom: h.Bloom, StateRoot: h.Root, Miner: h.Coinbase,
		Difficulty: (*hexutil.Big)(h.Difficulty), ExtraData: h.Extra, GasLimit: hexutil.Uint64(h.GasLimit),
		GasUsed: hexutil.Uint64(h.GasUsed), Timestamp: hexutil.Uint64(h.Time), TransactionsRoot: h.TxHash,
		ReceiptsRoot: h.ReceiptHash, BaseFeePerGas: (*hexutil.Big)(h.BaseFee),
	}
}

// block is a header with the rest of a block. Transactions holds hashes or
// transactions, as the caller asked.
type block struct {
	header

	Size         hexutil.Uint64 `json:"size"`
	Uncles       []crypto.Hash  `json:"uncles"`
	Transactions []any          `json:"transactions"`
}

// encoder turns blocks and transactions into what is answered.
type encoder struct {
	signer types.Signer
	rules  *genesis.Rules
}

func (e encoder) block(b *types.Block, full bool) *block {
	h := b.Header()
	out := &block{header: *headerWith(h, b.Hash()), Size: hexutil.Uint64(b.Size()), Uncles: []crypto.Hash{}}
	out.Transactions = make([]any, len(b.Transactions()))
	for i, tx := range b.Transactions() {
		if full {
			out.Transactions[i] = e.transaction(tx, h, b.Hash(), uint64(i))
		} else {
			out.Transactions[i] = tx.Hash()
		}
	}
	return out
}

// transaction is the answer of eth_getTransactionBy…; the block fields are null
// while it waits in the pool.
type transaction struct {
	BlockHash        *crypto.Hash      `json:"blockHash"`
	BlockNumber      *hexutil.Big      `json:"blockNumber"`
	BlockTimestamp   *hexutil.Uint64   `json:"blockTimestamp"`
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

// waiting describes a transaction of the pool.
func (e encoder) waiting(tx *types.Transaction) *transaction {
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
		if list == nil {
			list = types.AccessList{}
		}
		parity := hexutil.Uint64(v.Sign())
		out.AccessList, out.YParity = &list, &parity
	}
	if tx.Type() == types.DynamicFeeTxType {
		out.GasFeeCap, out.GasTipCap = (*hexutil.Big)(tx.GasFeeCap()), (*hexutil.Big)(tx.GasTipCap())
	}
	return out
}

// transaction describes tx at index of the block with the header h.
func (e encoder) transaction(tx *types.Transaction, h *types.Header, hash crypto.Hash, index uint64) *transaction {
	out := e.waiting(tx)
	i, at := hexutil.Uint64(index), hexutil.Uint64(h.Time)
	out.BlockHash, out.BlockNumber, out.TransactionIndex, out.BlockTimestamp = &hash, (*hexutil.Big)(h.Number), &i, &at
	if tx.Type() == types.DynamicFeeTxType {
		out.GasPrice = (*hexutil.Big)(chain.EffectiveGasPrice(e.rules, tx, h.BaseFee))
	}
	return out
}

// receipt is the answer of eth_getTransactionReceipt.
type receipt struct {
	BlockHash         crypto.Hash     `json:"blockHash"`
	BlockNumber       *hexutil.Big    `json:"blockNumber"`
	TransactionHash   crypto.Hash     `json:"transactionHash"`
	TransactionIndex  hexutil.Uint64  `json:"transactionIndex"`
	From              crypto.Address  `json:"from"`
	To                *crypto.Address `json:"to"`
	GasUsed           hexutil.Uint64  `json:"gasUsed"`
	CumulativeGasUsed hexutil.Uint64  `json:"cumulativeGasUsed"`
	ContractAddress   *crypto.Address `json:"contractAddress"` // null: there are no contracts
	Logs              []*types.Log    `json:"logs"`
	LogsBloom         types.Bloom     `json:"logsBloom"`
	Type              hexutil.Uint    `json:"type"`
	EffectiveGasPrice *hexutil.Big    `json:"effectiveGasPrice"`
	Status            hexutil.Uint64  `json:"status"`
}

func (e encoder) receipt(r *types.Receipt, tx *types.Transaction) *receipt {
	from, _ := types.Sender(e.signer, tx)
	logs := r.Logs
	if logs == nil {
		logs = []*types.Log{}
	}
	return &receipt{
		BlockHash: r.BlockHash, BlockNumber: (*hexutil.Big)(r.BlockNumber), TransactionHash: tx.Hash(),
		TransactionIndex: hexutil.Uint64(r.TransactionIndex), From: from, To: tx.To(),
		GasUsed: hexutil.Uint64(r.GasUsed), CumulativeGasUsed: hexutil.Uint64(r.CumulativeGasUsed),
		Logs: logs, LogsBloom: r.Bloom, Type: hexutil.Uint(tx.Type()),
		EffectiveGasPrice: (*hexutil.Big)(r.EffectiveGasPrice), Status: hexutil.Uint64(r.Status),
	}
}
