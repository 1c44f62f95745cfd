package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// otsLevel is the version of Otterscan's interface that is served.
const otsLevel = 8

// otsAPI answers what the Otterscan explorer asks for beyond eth_.
type otsAPI struct{ b *service }

// blockArgument is a block as Otterscan names it: a number of JSON, too.
type blockArgument struct{ rpc.BlockNumber }

// UnmarshalJSON reads 7, "0x7" and the tags.
func (b *blockArgument) UnmarshalJSON(raw []byte) error {
	if n, err := strconv.ParseUint(string(raw), 10, 63); err == nil {
		b.BlockNumber = rpc.BlockNumber(n)
		return nil
	}
	return b.BlockNumber.UnmarshalJSON(raw)
}

// erigonAPI answers the one erigon_ method that Otterscan uses.
type erigonAPI struct{ b *service }

// GetHeaderByNumber answers a header.
func (a *erigonAPI) GetHeaderByNumber(n blockArgument) (*header, error) {
	return (&ethAPI{b: a.b}).GetHeaderByNumber(n.BlockNumber)
}

// GetApiLevel answers the version of the interface.
func (a *otsAPI) GetApiLevel() int { return otsLevel } //nolint:revive // the name on the wire

// HasCode says whether an account has code: the registry alone.
func (a *otsAPI) HasCode(addr crypto.Address, at *rpc.BlockNumberOrHash) (bool, error) {
	code, err := (&ethAPI{b: a.b}).GetCode(addr, at)
	return len(code) > 0, err
}

// GetContractCreator is null: nobody created a contract.
func (a *otsAPI) GetContractCreator(crypto.Address) *struct{} { return nil }

// GetInternalOperations is empty: a transaction makes no transfers of its own.
func (a *otsAPI) GetInternalOperations(crypto.Hash) []struct{} { return []struct{}{} }

// GetTransactionError is empty: no receipt keeps the reason of a refusal. eth_call
// of the same call at the block before answers it.
func (a *otsAPI) GetTransactionError(crypto.Hash) hexutil.Bytes { return hexutil.Bytes{} }

// otsTrace is one call of ots_traceTransaction.
type otsTrace struct {
	Type   string          `json:"type"`
	Depth  int             `json:"depth"`
	From   crypto.Address  `json:"from"`
	To     *crypto.Address `json:"to"`
	Value  *hexutil.Big    `json:"value"`
	Input  hexutil.Bytes   `json:"input"`
	Output hexutil.Bytes   `json:"output"`
}

// TraceTransaction answers the one call that a final transaction is.
func (a *otsAPI) TraceTransaction(hash crypto.Hash) ([]otsTrace, error) {
	tx, _, _, ok, err := a.b.place(hash)
	if !ok {
		return nil, err
	}
	from, _ := types.Sender(a.b.Signer, tx)
	return []otsTrace{{Type: "CALL", From: from, To: tx.To(), Value: (*hexutil.Big)(tx.Value()), Input: tx.Data(), Output: hexutil.Bytes{}}}, nil
}

// otsBlock is a block without its bloom and, in details, its transactions.
type otsBlock struct {
	header

	Size             hexutil.Uint64 `json:"size"`
	Uncles           []crypto.Hash  `json:"uncles"`
	Transactions     []any          `json:"transactions"`
	TransactionCount hexutil.Uint64 `json:"transactionCount"`
	LogsBloom        *types.Bloom   `json:"logsBloom"` // null, as Otterscan has it
}

// otsIssuance: nothing is issued.
type otsIssuance struct {
	BlockReward hexutil.Uint64 `json:"blockReward"`
	UncleReward hexutil.Uint64 `json:"uncleReward"`
	Issuance    hexutil.Uint64 `json:"issuance"`
}

// otsDetails is the answer of ots_getBlockDetails.
type otsDetails struct {
	Block     *otsBlock    `json:"block"`
	Issuance  otsIssuance  `json:"issuance"`
	TotalFees *hexutil.Big `json:"totalFees"`
}

func (a *otsAPI) blockOf(b *types.Block) *otsBlock {
	e := a.b.encoder().block(b, false)
	return &otsBlock{
		header: e.header, Size: e.Size, Uncles: e.Uncles, Transactions: []any{},
		TransactionCount: hexutil.Uint64(len(b.Transactions())),
	}
}

func (a *otsAPI) details(b *types.Block, err error) (*otsDetails, error) {
	if err != nil {
		return nil, absent(err)
	}
	receipts, err := a.b.Ledger.Receipts(b.NumberU64())
	if err != nil {
		return nil, err
	}
	fees := new(big.Int)
	for _, r := range receipts {
		fees.Add(fees, new(big.Int).Mul(r.EffectiveGasPrice, new(big.Int).SetUint64(r.GasUsed)))
	}
	out := &otsDetails{Block: a.blockOf(b), TotalFees: (*hexutil.Big)(fees)}
	return out, nil
}

// GetBlockDetails answers a block without its transactions, and its fees.
func (a *otsAPI) GetBlockDetails(n blockArgument) (*otsDetails, error) {
	return a.details(a.b.Ledger.BlockByHeight((&ethAPI{b: a.b}).height(n.BlockNumber)))
}

// GetBlockDetailsByHash answers a block without its transactions, and its fees.
func (a *otsAPI) GetBlockDetailsByHash(hash crypto.Hash) (*otsDetails, error) {
	return a.details(a.b.Ledger.BlockByHash(hash))
}

// otsReceipt is a receipt without logs and with its block's time.
type otsReceipt struct {
	receipt

	Logs      *[]types.Log   `json:"logs"`      // null in a page of a block
	LogsBloom *types.Bloom   `json:"logsBloom"` // null, as Otterscan has it
	Timestamp hexutil.Uint64 `json:"timestamp"`
}

func (a *otsAPI) receiptOf(r *types.Receipt, tx *types.Transaction, h *types.Header) *otsReceipt {
	return &otsReceipt{receipt: *a.b.encoder().receipt(r, tx), Timestamp: hexutil.Uint64(h.Time)}
}

// otsPage is a page of a block's transactions, the last page first.
type otsPage struct {
	FullBlock *otsBlock     `json:"fullblock"`
	Receipts  []*otsReceipt `json:"receipts"`
}

// GetBlockTransactions answers a page of a block: page 0 has its last
// transactions.
func (a *otsAPI) GetBlockTransactions(n blockArgument, page, size uint64) (*otsPage, error) {
	b, err := a.b.Ledger.BlockByHeight((&ethAPI{b: a.b}).height(n.BlockNumber))
	if err != nil {
		return nil, absent(err)
	}
	if size == 0 || size > uint64(a.b.limits.HistoryPage) || page > math.MaxUint32 {
		return nil, invalidParams("page size %d is not in 1..%d (rpc.limits.history_page)", size, a.b.limits.HistoryPage)
	}
	receipts, err := a.b.Ledger.Receipts(b.NumberU64())
	if err != nil {
		return nil, err
	}
	txs := b.Transactions()
	end := uint64(len(txs)) - min(uint64(len(txs)), page*size)
	start := end - min(end, size)
	out := &otsPage{FullBlock: a.blockOf(b), Receipts: []*otsReceipt{}}
	for i := start; i < end; i++ {
		out.FullBlock.Transactions = append(out.FullBlock.Transactions, a.b.encoder().transaction(txs[i], b.Header(), b.Hash(), i))
		out.Receipts = append(out.Receipts, a.receiptOf(receipts[i], txs[i], b.Header()))
	}
	return out, nil
}

// otsSearch is a page of an account's transactions, newest first.
type otsSearch struct {
	Txs       []*transaction `json:"txs"`
	Receipts  []*otsReceipt  `json:"receipts"`
	FirstPage bool           `json:"firstPage"` // it has the newest
	LastPage  bool           `json:"lastPage"`  // it has the oldest

	size int64 // bytes of Txs
}

// SearchTransactionsBefore answers at least size transactions, if there are as
// many, of blocks below height that name an account; height 0 is the head. A
// block is never split.
func (a *otsAPI) SearchTransactionsBefore(ctx context.Context, addr crypto.Address, height, size uint64) (*otsSearch, error) {
	if err := a.checkPage(size); err != nil {
		return nil, err
	}
	ctx, cancel := a.b.within(ctx)
	defer cancel()
	out := &otsSearch{Txs: []*transaction{}, Receipts: []*otsReceipt{}, FirstPage: height == 0, LastPage: true}
	from := height - 1 // wraps to the head for 0
	for {
		touches, err := a.b.Ledger.History(addr, from, int(size)+1)
		if err != nil {
			return nil, err
		}
		for _, t := range touches {
			if err := a.b.pause(ctx); err != nil {
				return nil, err
			}
			if uint64(len(out.Txs)) >= size {
				out.LastPage = false
				return out, nil
			}
			if err := a.appendTouch(out, t.Height, t.Transactions); err != nil {
				return nil, err
			}
			from = t.Height - 1
		}
		if uint64(len(touches)) <= size || touches[len(touches)-1].Height == 0 {
			return out, nil
		}
	}
}

// SearchTransactionsAfter answers at least size transactions, if there are as
// many, of the blocks above height that come first and name an account; height 0
// is the oldest. Newest first.
func (a *otsAPI) SearchTransactionsAfter(ctx context.Context, addr crypto.Address, height, size uint64) (*otsSearch, error) {
	if err := a.checkPage(size); err != nil {
		return nil, err
	}
	ctx, cancel := a.b.within(ctx)
	defer cancel()
	touches, err := a.touchesAbove(ctx, addr, height)
	if err != nil {
		return nil, err
	}
	n, first := uint64(0), 0
	for first < len(touches) && n < size {
		first++
		n += uint64(len(touches[len(touches)-first].Transactions))
	}
	page := touches[len(touches)-first:]
	out := &otsSearch{Txs: []*transaction{}, Receipts: []*otsReceipt{}, FirstPage: first == len(touches), LastPage: height == 0}
	for _, t := range page {
		if err := a.b.pause(ctx); err != nil {
			return nil, err
		}
		if err := a.appendTouch(out, t.Height, t.Transactions); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *otsAPI) checkPage(size uint64) error {
	if size == 0 || size > uint64(a.b.limits.HistoryPage) {
		return invalidParams("page size %d is not in 1..%d (rpc.limits.history_page)", size, a.b.limits.HistoryPage)
	}
	return nil
}

// touched is a block that names an account.
type touched struct {
	Height       uint64
	Transactions []uint32
}

// maxOtsWalk bounds the blocks of an account that are walked for a page that
// counts from its oldest: history is read newest first.
const maxOtsWalk = 100_000

func (a *otsAPI) touchesAbove(ctx context.Context, addr crypto.Address, height uint64) ([]touched, error) {
	var out []touched
	for from := uint64(math.MaxUint64); ; {
		page, err := a.b.Ledger.History(addr, from, a.b.limits.HistoryPage)
		if err != nil {
			return nil, err
		}
		if err := a.b.pause(ctx); err != nil {
			return nil, err
		}
		for _, t := range page {
			if t.Height <= height && height != 0 {
				return out, nil
			}
			if len(t.Transactions) > 0 {
				out = append(out, touched{t.Height, t.Transactions})
			}
			from = t.Height - 1
		}
		if len(page) < a.b.limits.HistoryPage || page[len(page)-1].Height == 0 {
			return out, nil
		}
		if len(out) > maxOtsWalk {
			return nil, fmt.Errorf("the account is in more than %d blocks above %d: page from the newest (ots_searchTransactionsBefore)", maxOtsWalk, height)
		}
	}
}

// appendTouch adds an account's transactions of a block, the last first.
func (a *otsAPI) appendTouch(out *otsSearch, height uint64, indexes []uint32) error {
	if len(indexes) == 0 {
		return nil
	}
	b, err := a.b.Ledger.BlockByHeight(height)
	if err != nil {
		return err
	}
	receipts, err := a.b.Ledger.Receipts(height)
	if err != nil {
		return err
	}
	for _, i := range slices.Backward(indexes) {
		tx := b.Transactions()[i]
		if out.size += int64(tx.Size()); a.b.tooLong(out.size) {
			return invalidParams("more than %d bytes on one page (rpc.limits.response_bytes): ask for fewer transactions", a.b.limits.ResponseBytes)
		}
		out.Txs = append(out.Txs, a.b.encoder().transaction(tx, b.Header(), b.Hash(), uint64(i)))
		out.Receipts = append(out.Receipts, a.receiptOf(receipts[i], tx, b.Header()))
	}
	return nil
}

// GetTransactionBySenderAndNonce answers the hash of an account's final
// transaction with a nonce; null if there is none.
func (a *otsAPI) GetTransactionBySenderAndNonce(addr crypto.Address, nonce uint64) (*crypto.Hash, error) {
	after := func(height uint64) (bool, error) {
		acc, err := a.b.Ledger.AccountAt(addr, height)
		return acc != nil && acc.Nonce > nonce, err
	}
	low, high := uint64(0), a.b.heads.height()
	if there, err := after(high); err != nil || !there {
		return nil, err
	}
	for low < high {
		middle := low + (high-low)/2
		there, err := after(middle)
		if err != nil {
			return nil, err
		}
		if there {
			high = middle
		} else {
			low = middle + 1
		}
	}
	b, err := a.b.Ledger.BlockByHeight(low)
	if err != nil {
		return nil, err
	}
	for _, tx := range b.Transactions() {
		if tx.Nonce() != nonce {
			continue
		}
		if from, err := chain.Sender(a.b.Signer, tx); err == nil && from == addr {
			hash := tx.Hash()
			return &hash, nil
		}
	}
	return nil, errors.New("the ledger's history does not hold the transaction")
}
