package light

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/trie"
)

// Account is what the ledger held of an account after the block, proven by the
// nodes of an EIP-1186 accountProof; nil if it proves that there was none.
// Errors: ErrTooMany, ErrProof.
func (b *Block) Account(address crypto.Address, proof [][]byte) (*chain.Account, error) {
	key := crypto.Keccak256(address[:])
	value, err := verify(b.header.Root, key[:], proof)
	if err != nil || value == nil {
		return nil, err
	}
	a, err := chain.DecodeAccount(value)
	if err != nil {
		return nil, because(ErrProof, err)
	}
	return a, nil
}

// Slot is the value of an account's storage slot after the block, proven by the
// nodes of EIP-1186's accountProof and of the slot's storageProof; zero if they
// prove that there is none. Errors: ErrTooMany, ErrProof.
func (b *Block) Slot(address crypto.Address, account [][]byte, slot crypto.Hash, proof [][]byte) (crypto.Hash, error) {
	a, err := b.Account(address, account)
	if err != nil {
		return crypto.Hash{}, err
	}
	root := trie.EmptyRoot
	if a != nil {
		root = a.StorageRoot
	}
	key := crypto.Keccak256(slot[:])
	value, err := verify(root, key[:], proof)
	if err != nil || value == nil {
		return crypto.Hash{}, err
	}
	v, err := chain.DecodeSlot(value)
	if err != nil {
		return crypto.Hash{}, because(ErrProof, err)
	}
	return v, nil
}

// Transaction is the block's transaction at an index, proven by the nodes that
// chain.ProveTransaction answers. Errors: ErrTooMany, ErrProof, ErrAbsent.
func (b *Block) Transaction(index uint64, proof [][]byte) (*types.Transaction, error) {
	value, err := entry(b.header.TxHash, index, proof)
	if err != nil {
		return nil, err
	}
	tx, err := chain.DecodeTransaction(value)
	if err != nil {
		return nil, because(ErrProof, err)
	}
	return tx, nil
}

// Receipt is the receipt of the block's transaction at an index, proven by the
// nodes that chain.ProveReceipt answers. It has the fields that the ledger
// commits to and no others: type, status, cumulative gas, bloom, logs. Which
// transaction it is of, Transaction proves at the same index.
// Errors: ErrTooMany, ErrProof, ErrAbsent.
func (b *Block) Receipt(index uint64, proof [][]byte) (*types.Receipt, error) {
	value, err := entry(b.header.ReceiptHash, index, proof)
	if err != nil {
		return nil, err
	}
	r := new(types.Receipt)
	if err := r.UnmarshalBinary(value); err != nil {
		return nil, because(ErrProof, err)
	}
	if again, err := r.MarshalBinary(); err != nil || !bytes.Equal(again, value) {
		return nil, reject(ErrProof, "a receipt in another than its only encoding")
	}
	return r, nil
}

// entry is a value of a transaction or receipt trie. Absence is an error: the
// index came from who gave the proof.
func entry(root crypto.Hash, index uint64, proof [][]byte) ([]byte, error) {
	value, err := verify(root, chain.ListKey(index), proof)
	if err == nil && value == nil {
		err = reject(ErrAbsent, "the block has no entry %d", index)
	}
	return value, err
}

// verify is trie.VerifyProof within the limit.
func verify(root crypto.Hash, key []byte, proof [][]byte) ([]byte, error) {
	size := 0
	for _, node := range proof {
		if size += len(node); size > MaxProofBytes {
			return nil, reject(ErrTooMany, "a proof of more than %d bytes", MaxProofBytes)
		}
	}
	value, err := trie.VerifyProof(root, key, proof)
	if err != nil {
		return nil, because(ErrProof, err)
	}
	return value, nil
}
