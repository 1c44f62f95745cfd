package chain

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/genesis"
)

// Limits in bytes on what the decoders read.
const (
	// MaxTransactionBytes is geth's limit of one transaction.
	MaxTransactionBytes = 128 * 1024
	// MaxHeaderBytes is more than the longest header there can be.
	MaxHeaderBytes = 640
)

// londonHeader has exactly the fields of a London header: rlp refuses one field
// less or more.
type londonHeader struct {
	ParentHash  crypto.Hash
	UncleHash   crypto.Hash
	Coinbase    crypto.Address
	Root        crypto.Hash
	TxHash      crypto.Hash
	ReceiptHash crypto.Hash
	Bloom       types.Bloom
	Difficulty  *big.Int
	Number      uint64
	GasLimit    uint64
	GasUsed     uint64
	Time        uint64
	Extra       []byte
	MixDigest   crypto.Hash
	Nonce       types.BlockNonce
	BaseFee     *big.Int
}

// DecodeHeader reads a London header and nothing else: 16 fields, canonical
// RLP, extraData of the right form. Errors: ErrHeaderEncoding, ErrExtra.
func DecodeHeader(raw []byte) (*types.Header, error) {
	if len(raw) > MaxHeaderBytes {
		return nil, invalid(ErrHeaderEncoding, "%d bytes, at most %d", len(raw), MaxHeaderBytes)
	}
	var l londonHeader
	if err := rlp.DecodeBytes(raw, &l); err != nil {
		return nil, invalid(ErrHeaderEncoding, "%v", err)
	}
	if l.BaseFee.BitLen() > 256 || l.Difficulty.BitLen() > 256 {
		return nil, invalid(ErrHeaderEncoding, "number of more than 256 bits")
	}
	h := &types.Header{
		ParentHash: l.ParentHash, UncleHash: l.UncleHash, Coinbase: l.Coinbase,
		Root: l.Root, TxHash: l.TxHash, ReceiptHash: l.ReceiptHash, Bloom: l.Bloom,
		Difficulty: l.Difficulty, Number: new(big.Int).SetUint64(l.Number),
		GasLimit: l.GasLimit, GasUsed: l.GasUsed, Time: l.Time, Extra: l.Extra,
		MixDigest: l.MixDigest, Nonce: l.Nonce, BaseFee: l.BaseFee,
	}
	if _, err := DecodeExtra(h); err != nil {
		return nil, err
	}
	return h, nil
}

// EncodeHeader is the RLP whose keccak256 is the block hash.
func EncodeHeader(h *types.Header) []byte { return mustEncode(h) }

// EncodeBlock is RLP([header, transactions, []]).
func EncodeBlock(b *types.Block) []byte { return mustEncode(b) }

// mustEncode encodes values of which rlp knows every field: it can only fail on
// a negative number, which no decoder and no builder makes.
func mustEncode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// DecodeTransaction reads the canonical form of one transaction: RLP of a
// legacy one, type byte and RLP of types 1 and 2. It checks no signature and no
// chain id. Errors: ErrOversizedData, ErrTypeNotSupported,
// ErrTransactionEncoding.
func DecodeTransaction(raw []byte) (*types.Transaction, error) {
	switch {
	case len(raw) == 0:
		return nil, invalid(ErrTransactionEncoding, "no bytes")
	case len(raw) > MaxTransactionBytes:
		return nil, invalid(ErrOversizedData, "transaction size %d, limit %d", len(raw), MaxTransactionBytes)
	case raw[0] >= 0xc0: // an RLP list: legacy
	case raw[0] == types.AccessListTxType, raw[0] == types.DynamicFeeTxType:
	case raw[0] < 0x80:
		return nil, invalid(ErrTypeNotSupported, "type %d", raw[0])
	default:
		return nil, invalid(ErrTransactionEncoding, "an RLP string instead of a transaction")
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return nil, invalid(ErrTransactionEncoding, "%v", err)
	}
	return tx, nil
}

// EncodeTransaction is what DecodeTransaction reads.
func EncodeTransaction(tx *types.Transaction) []byte {
	b, err := tx.MarshalBinary()
	if err != nil {
		panic(fmt.Sprintf("encode transaction %s: %v", tx.Hash(), err))
	}
	return b
}

// DecodeBlock reads RLP([header, transactions, []]) within the limits of the
// rules: no uncles, no withdrawals, canonical RLP, nothing after the end, and the
// transactions that the header names. A block with other transactions is the
// fault of who sent it, never of the leader, who signed the header's hash alone.
// Execute checks what the block says. Errors: ErrBlockBytes,
// ErrBlockTransactions, ErrBlockEncoding, ErrUncles, ErrTransactionsRoot and
// those of DecodeHeader and DecodeTransaction.
func DecodeBlock(raw []byte, rules *genesis.Rules) (*types.Block, error) {
	if uint64(len(raw)) > rules.BlockBytes {
		return nil, invalid(ErrBlockBytes, "%d bytes, at most %d", len(raw), rules.BlockBytes)
	}
	header, txs, err := splitBlock(raw)
	if err != nil {
		return nil, err
	}
	h, err := DecodeHeader(header)
	if err != nil {
		return nil, err
	}
	body, err := decodeTransactions(txs, rules.BlockTransactions)
	if err != nil {
		return nil, err
	}
	if root := transactionsRoot(body); root != h.TxHash {
		return nil, invalid(ErrTransactionsRoot, "%s, want %s", h.TxHash, root)
	}
	return types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: body}), nil
}

// splitBlock answers the header's RLP and the content of the transaction list.
func splitBlock(raw []byte) (header, txs []byte, err error) {
	list, rest, err := rlp.SplitList(raw)
	if err != nil {
		return nil, nil, invalid(ErrBlockEncoding, "%v", err)
	}
	if len(rest) != 0 {
		return nil, nil, invalid(ErrBlockEncoding, "%d bytes after the end", len(rest))
	}
	_, rest, err = rlp.SplitList(list)
	if err != nil {
		return nil, nil, invalid(ErrBlockEncoding, "header: %v", err)
	}
	header = list[:len(list)-len(rest)]
	txs, rest, err = rlp.SplitList(rest)
	if err != nil {
		return nil, nil, invalid(ErrBlockEncoding, "transactions: %v", err)
	}
	uncles, rest, err := rlp.SplitList(rest)
	if err != nil {
		return nil, nil, invalid(ErrBlockEncoding, "uncles: %v", err)
	}
	if len(uncles) != 0 {
		return nil, nil, invalid(ErrUncles, "%d bytes of them", len(uncles))
	}
	if len(rest) != 0 {
		return nil, nil, invalid(ErrBlockEncoding, "a field after the uncles")
	}
	return header, txs, nil
}

func decodeTransactions(list []byte, limit uint64) ([]*types.Transaction, error) {
	// Counted first: the slice below is never larger than the rules allow.
	n, err := rlp.CountValues(list)
	if err != nil {
		return nil, invalid(ErrBlockEncoding, "transactions: %v", err)
	}
	if uint64(n) > limit {
		return nil, invalid(ErrBlockTransactions, "%d, at most %d", n, limit)
	}
	txs := make([]*types.Transaction, 0, n)
	for i := range n {
		tx, rest, err := nextTransaction(list)
		if err != nil {
			return nil, inTransaction(i, err)
		}
		txs = append(txs, tx)
		list = rest
	}
	return txs, nil
}

// nextTransaction reads the first transaction of a list's content, and answers
// what comes after it.
func nextTransaction(list []byte) (tx *types.Transaction, rest []byte, err error) {
	kind, content, rest, err := rlp.Split(list)
	if err != nil {
		return nil, nil, invalid(ErrBlockEncoding, "%v", err)
	}
	raw := content
	if kind == rlp.List {
		raw = list[:len(list)-len(rest)]
	} else if len(content) > 0 && content[0] >= 0x80 {
		return nil, nil, invalid(ErrTransactionEncoding, "a string that holds no typed transaction")
	}
	tx, err = DecodeTransaction(raw)
	return tx, rest, err
}

// TransactionOf reads one transaction of a block that DecodeBlock has accepted
// before, without decoding the others; nil = the block has not that many.
// Errors: ErrBlockEncoding, ErrUncles and those of DecodeTransaction.
func TransactionOf(raw []byte, index uint64) (*types.Transaction, error) {
	_, list, err := splitBlock(raw)
	if err != nil {
		return nil, err
	}
	for i := uint64(0); len(list) > 0; i++ {
		if i == index {
			tx, _, err := nextTransaction(list)
			if err != nil {
				return nil, inTransaction(int(i), err)
			}
			return tx, nil
		}
		if _, _, list, err = rlp.Split(list); err != nil {
			return nil, invalid(ErrBlockEncoding, "transaction %d: %v", i, err)
		}
	}
	return nil, nil
}
