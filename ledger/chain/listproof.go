package chain

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// ProveTransaction is the Merkle proof that txs[index] is in the block whose
// transactionsRoot is that of txs: the nodes from the root to the leaf, for
// trie.VerifyProof with ListKey(index), whose value is EncodeTransaction of it.
// 0 ≤ index < len(txs).
func ProveTransaction(txs types.Transactions, index int) [][]byte { return proveEntry(txs, index) }

// ProveReceipt is ProveTransaction of a receipt against receiptsRoot; the value
// is the receipt's consensus encoding.
func ProveReceipt(receipts types.Receipts, index int) [][]byte {
	return proveEntry(receiptList(receipts), index)
}

// ListKey is the key of entry index in the trie of a transaction or receipt
// list: RLP of the number.
func ListKey(index uint64) []byte { return rlp.AppendUint64(nil, index) }

func proveEntry(list types.DerivableList, index int) [][]byte {
	l := &listRoot{}
	types.DeriveSha(list, l)
	return l.prove(ListKey(uint64(index)))
}

// prove collects the nodes on the way to key that are not a part of their
// parent. key must be in the list.
func (l *listRoot) prove(key []byte) [][]byte {
	var digits [maxListKey]byte
	for i, b := range key {
		digits[2*i], digits[2*i+1] = b>>4, b&15
	}
	var proof [][]byte
	from, to, depth := 0, len(l.items), 0
	for {
		l.scratch = l.scratch[:0]
		l.encode(from, to, depth)
		if len(proof) == 0 || len(l.scratch) >= crypto.HashLength {
			proof = append(proof, bytes.Clone(l.scratch))
		}
		if to-from == 1 {
			return proof
		}
		// As in encode: a run of digits that all share is an extension.
		first, last, end := &l.items[from], &l.items[to-1], depth
		for first.key[end] == last.key[end] {
			end++
		}
		if end > depth {
			depth = end
			continue
		}
		for l.items[from].key[depth] != digits[depth] {
			from++
		}
		end = from
		for end < to && l.items[end].key[depth] == digits[depth] {
			end++
		}
		to, depth = end, depth+1
	}
}
