package rpc

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// maxEpochs bounds the epochs of one answer; package light walks as many at
// once.
const maxEpochs = 64

// maxEpochBytes is after how many bytes an answer takes no further epoch. One of
// 256 validators has less than a hundredth of it.
const maxEpochBytes = 4 << 20

// epochEnd is all that leads somebody who knows the set of an epoch to the next
// set.
type epochEnd struct {
	Epoch        hexutil.Uint64 `json:"epoch"`            // that the block ends
	Header       *header        `json:"header"`           // of the closing block
	HeaderRLP    hexutil.Bytes  `json:"headerRlp"`        // its keccak256 is the block's hash
	Finalization hexutil.Bytes  `json:"finalization"`     // of that very block, by the epoch's set
	Validators   []validator    `json:"validators"`       // of the next epoch
	SetHash      crypto.Hash    `json:"validatorSetHash"` // of the next epoch: the header's mixHash
}

// Epochs answers the ends of the epochs from one on, in order: as many as are
// over, at most maxEpochs. Empty = the epoch is not over yet.
func (a *cairnAPI) Epochs(from hexutil.Uint64) ([]epochEnd, error) {
	out, size := []epochEnd{}, 0
	_, now := a.b.Ledger.Validators()
	for epoch := uint64(from); epoch < uint64(now) && len(out) < maxEpochs && size < maxEpochBytes; epoch++ {
		e, err := a.epochEnd(uint32(epoch))
		if err != nil {
			return nil, fmt.Errorf("end of epoch %d: %w", epoch, err)
		}
		size += len(e.HeaderRLP) + len(e.Finalization) + len(e.Validators)*150
		out = append(out, *e)
	}
	return out, nil
}

func (a *cairnAPI) epochEnd(epoch uint32) (*epochEnd, error) {
	height, err := a.b.Ledger.EpochEnd(epoch)
	if err != nil {
		return nil, err
	}
	h, err := a.b.Ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	// A closing block is directly final: it has a finalization of its own.
	cert, at, err := a.b.Ledger.CertificateAtOrAbove(height)
	if err == nil && at != height {
		err = ledger.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("finalization of height %d: %w", height, err)
	}
	set, _, err := a.b.Ledger.ValidatorsAt(height)
	if err != nil {
		return nil, err
	}
	return &epochEnd{
		Epoch: hexutil.Uint64(epoch), Header: headerOf(h), HeaderRLP: chain.EncodeHeader(h),
		Finalization: cert, Validators: membersOf(set), SetHash: set.Hash(),
	}, nil
}

// receiptProof is the answer of cairn_receiptProof: everything that proves what
// a transaction did to someone who knows the validator set.
type receiptProof struct {
	Height      hexutil.Uint64  `json:"height"`
	Index       hexutil.Uint64  `json:"transactionIndex"`
	Transaction []hexutil.Bytes `json:"transactionProof"` // nodes of the transaction trie, root first; the key is RLP(index)
	Receipt     []hexutil.Bytes `json:"receiptProof"`     // likewise, of the receipt trie
	// Previous proves the receipt at index−1, whose cumulative gas is to be taken
	// off; empty at index 0.
	Previous []hexutil.Bytes `json:"previousReceiptProof"`
	Finality *finality       `json:"finality"`
}

// ReceiptProof answers the proofs of a transaction and of its receipt against
// the header's roots, that header and its finalization; null until it is final.
func (a *cairnAPI) ReceiptProof(hash crypto.Hash) (*receiptProof, error) {
	_, height, index, ok, err := a.b.place(hash)
	if !ok {
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
	f, err := a.finalityOf(height)
	if err != nil {
		return nil, err
	}
	out := &receiptProof{
		Height: hexutil.Uint64(height), Index: hexutil.Uint64(index), Finality: f, Previous: []hexutil.Bytes{},
		Transaction: hexes(chain.ProveTransaction(b.Transactions(), int(index))), Receipt: proveReceipt(receipts, int(index)),
	}
	if index > 0 {
		out.Previous = proveReceipt(receipts, int(index)-1)
	}
	return out, nil
}

func proveReceipt(receipts types.Receipts, index int) []hexutil.Bytes {
	return hexes(chain.ProveReceipt(receipts, index))
}
