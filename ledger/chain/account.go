package chain

import (
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/trie"
)

// EmptyCodeHash is the code hash of an account without code.
var EmptyCodeHash = types.EmptyCodeHash

// maxAccountBytes is the longest encoding of an account.
const maxAccountBytes = 2 + 9 + 33 + 33 + 33

// Account is one account of the state. Balance is in wei and never nil.
type Account struct {
	Nonce       uint64
	Balance     *uint256.Int
	StorageRoot crypto.Hash // trie.EmptyRoot without storage
	CodeHash    crypto.Hash // EmptyCodeHash without code
}

// NewAccount is an account with a balance and nothing else.
func NewAccount(balance *uint256.Int) *Account {
	return &Account{Balance: balance, StorageRoot: trie.EmptyRoot, CodeHash: EmptyCodeHash}
}

// Empty says whether the account is empty in the sense of EIP-161: nonce 0,
// balance 0, no code. Empty accounts are not kept.
func (a *Account) Empty() bool {
	return a.Nonce == 0 && a.Balance.IsZero() && a.CodeHash == EmptyCodeHash
}

// Encode is RLP([nonce, balance, storageRoot, codeHash]), the leaf of the state
// trie at keccak256(address).
func (a Account) Encode() []byte {
	b := make([]byte, 2, maxAccountBytes)
	b = rlp.AppendUint64(b, a.Nonce)
	b = appendUint256(b, a.Balance)
	b = append(append(b, 0x80+crypto.HashLength), a.StorageRoot[:]...)
	b = append(append(b, 0x80+crypto.HashLength), a.CodeHash[:]...)
	// Two hashes make the payload at least 68 bytes, so the list header always
	// has one length byte.
	b[0], b[1] = 0xf8, byte(len(b)-2)
	return b
}

func appendUint256(b []byte, v *uint256.Int) []byte {
	if v.IsUint64() {
		return rlp.AppendUint64(b, v.Uint64())
	}
	n := v.ByteLen()
	full := v.Bytes32()
	return append(append(b, 0x80+byte(n)), full[32-n:]...)
}

// DecodeAccount reads what Encode wrote and nothing else.
// Errors: ErrAccountEncoding.
func DecodeAccount(b []byte) (*Account, error) {
	list, rest, err := rlp.SplitList(b)
	if err != nil {
		return nil, invalid(ErrAccountEncoding, "%v", err)
	}
	if len(rest) != 0 {
		return nil, invalid(ErrAccountEncoding, "%d bytes after the end", len(rest))
	}
	a := &Account{Balance: new(uint256.Int)}
	if a.Nonce, list, err = rlp.SplitUint64(list); err != nil {
		return nil, invalid(ErrAccountEncoding, "nonce: %v", err)
	}
	var balance []byte
	if balance, list, err = rlp.SplitString(list); err != nil {
		return nil, invalid(ErrAccountEncoding, "balance: %v", err)
	}
	if len(balance) > 32 || len(balance) > 0 && balance[0] == 0 {
		return nil, invalid(ErrAccountEncoding, "balance is no canonical 256-bit number")
	}
	a.Balance.SetBytes(balance)
	for _, h := range []*crypto.Hash{&a.StorageRoot, &a.CodeHash} {
		var s []byte
		if s, list, err = rlp.SplitString(list); err != nil {
			return nil, invalid(ErrAccountEncoding, "hash: %v", err)
		}
		if len(s) != crypto.HashLength {
			return nil, invalid(ErrAccountEncoding, "hash of %d bytes", len(s))
		}
		*h = crypto.Hash(s)
	}
	if len(list) != 0 {
		return nil, invalid(ErrAccountEncoding, "more than four fields")
	}
	return a, nil
}

// EncodeSlot is the leaf of a storage trie at keccak256(slot): RLP of the value
// without leading zeros, nil (= no leaf) for zero.
func EncodeSlot(value crypto.Hash) []byte {
	if value == (crypto.Hash{}) {
		return nil
	}
	return appendUint256(nil, new(uint256.Int).SetBytes32(value[:]))
}

// DecodeSlot reads what EncodeSlot wrote; empty bytes are the zero value.
// Errors: ErrSlotEncoding.
func DecodeSlot(b []byte) (crypto.Hash, error) {
	if len(b) == 0 {
		return crypto.Hash{}, nil
	}
	s, rest, err := rlp.SplitString(b)
	if err != nil {
		return crypto.Hash{}, invalid(ErrSlotEncoding, "%v", err)
	}
	if len(rest) != 0 || len(s) == 0 || len(s) > crypto.HashLength || s[0] == 0 {
		return crypto.Hash{}, invalid(ErrSlotEncoding, "no canonical value of 1 to 32 bytes")
	}
	return crypto.Hash(new(uint256.Int).SetBytes(s).Bytes32()), nil
}
