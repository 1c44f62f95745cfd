package chain

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// BuildParams is what consensus says of a block that is to be built.
type BuildParams struct {
	Epoch           uint32
	View            uint64
	TimestampMillis uint64 // at least MinTimestamp of the parent
	Proposer        crypto.Address
}

// blockOverhead bounds the bytes of a block besides its transactions: the
// header and four list headers.
const blockOverhead = MaxHeaderBytes + 4*5

// maxMisfits is after how many transactions in a row that do not fit into what
// is left of the block Build stops looking for a smaller one.
const maxMisfits = 64

// Build chooses from c what fits into a block on parent, executes it on st,
// which must be the state after parent, and answers the block and what it
// changes. An *InvalidError concerns p or parent; those of transactions go to
// c.Skip.
func Build(cfg *Config, parent *types.Header, st State, p BuildParams, c Candidates) (*types.Block, *Output, error) {
	header := &types.Header{
		ParentHash: parent.Hash(),
		UncleHash:  types.EmptyUncleHash,
		Coinbase:   p.Proposer,
		Difficulty: new(big.Int),
		Number:     new(big.Int).SetUint64(parent.Number.Uint64() + 1),
		GasLimit:   cfg.Rules.GasLimit,
		Time:       p.TimestampMillis / 1000,
		Extra: Extra{
			Version: ExtraVersion, Epoch: p.Epoch, View: p.View, TimestampMillis: p.TimestampMillis,
		}.Encode(),
	}
	baseFee := NextBaseFee(&cfg.Rules, parent)
	header.BaseFee = baseFee.ToBig()
	if err := CheckHeader(cfg, parent, header); err != nil {
		return nil, nil, err
	}
	x := newExecution(cfg, st.Reader, header)
	txs, err := x.fill(c)
	if err != nil {
		return nil, nil, err
	}
	if err := x.close(); err != nil {
		return nil, nil, err
	}
	out, err := x.finish(st)
	if err != nil {
		return nil, nil, err
	}
	header.MixDigest = x.mixHash()
	header.Root, header.GasUsed, header.Bloom = out.Accounts.Hash(), x.gasUsed, x.bloom()
	header.TxHash = transactionsRoot(txs)
	header.ReceiptHash = receiptsRoot(out.Receipts)
	DeriveReceipts(cfg, header, txs, out.Receipts)
	return types.NewBlockWithHeader(header).WithBody(types.Body{Transactions: txs}), out, nil
}

// fill applies candidates until the block is full or there are no more.
func (x *execution) fill(c Candidates) (types.Transactions, error) {
	rules := &x.cfg.Rules
	if rules.BlockBytes < blockOverhead {
		return nil, nil // only an empty block fits
	}
	var txs types.Transactions
	room, misfits := rules.BlockBytes-blockOverhead, 0
	for uint64(len(txs)) < rules.BlockTransactions && x.gasLeft >= gasTransaction && misfits < maxMisfits {
		tx := c.Next()
		if tx == nil {
			break
		}
		size := sizeInBlock(tx)
		if size > room {
			c.Skip(invalid(ErrBlockBytes, "%d bytes left, transaction has %d", room, size))
			misfits++
			continue
		}
		err := x.apply(tx)
		var inv *InvalidError
		switch {
		case err == nil:
			c.Accept()
			txs = append(txs, tx)
			room, misfits = room-size, 0
		case errors.As(err, &inv):
			c.Skip(inv)
			if inv.Kind == ErrGasLimitReached {
				misfits++
			}
		default:
			return nil, fmt.Errorf("build on transaction %s: %w", tx.Hash(), err)
		}
	}
	return txs, nil
}

// sizeInBlock bounds the bytes of tx in a block: a typed transaction is wrapped
// in a string.
func sizeInBlock(tx *types.Transaction) uint64 { return tx.Size() + 4 }
