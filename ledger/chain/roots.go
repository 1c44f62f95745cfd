package chain

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// TransactionsRoot is the root of the transaction trie of a block.
func TransactionsRoot(txs types.Transactions) crypto.Hash { return transactionsRoot(txs) }

// ReceiptsRoot is the root of the receipt trie of a block. Type, status,
// cumulative gas, bloom and logs must be filled in.
func ReceiptsRoot(receipts types.Receipts) crypto.Hash { return receiptsRoot(receipts) }
