package snapshot

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// Limits of one answer. A Source keeps them, a decoder refuses more.
const (
	// MaxRangeBytes bounds the leaves of a range as they are encoded, but one
	// leaf always fits.
	MaxRangeBytes = 512 << 10
	// MaxProofNodes is two paths from the root to a leaf.
	MaxProofNodes = 2 * 65
	// MaxProofNodeBytes is more than a branch with 16 references.
	MaxProofNodeBytes = 1024
	// MaxLeafBytes is more than the longest account.
	MaxLeafBytes = 128
	// MaxCodeBytes bounds the code of one account (EIP-170 and room).
	MaxCodeBytes = 64 << 10
	// MaxAnswerBytes is more than any encoded answer.
	MaxAnswerBytes = MaxRangeBytes + MaxProofNodes*(MaxProofNodeBytes+4) + 4096
)

// AccountLeaf is one account: what the state trie has at keccak256(Address).
type AccountLeaf struct {
	Address crypto.Address
	Account []byte // RLP, as in the trie
}

// AccountRange is a run of accounts, in the order of keccak256(address), that
// leaves none out. Proof holds the trie nodes on the paths to the start of the
// range and to its last leaf, as trie.Trie.ProveRange has them; none if the
// range is the whole trie.
type AccountRange struct {
	Accounts []AccountLeaf
	Proof    [][]byte
}

// SlotLeaf is one storage slot and its value, which is not zero.
type SlotLeaf struct {
	Slot  crypto.Hash
	Value []byte // 1 to 32 bytes without leading zeros
}

// SlotRange is a run of slots of one account, in the order of keccak256(slot),
// that leaves none out. Proof is as in AccountRange.
type SlotRange struct {
	Slots []SlotLeaf
	Proof [][]byte
}

// Encode is RLP([[[address, account], …], [node, …]]).
func (r *AccountRange) Encode() []byte { return mustEncode(r) }

// Encode is RLP([[[slot, value], …], [node, …]]).
func (r *SlotRange) Encode() []byte { return mustEncode(r) }

func mustEncode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(err) // byte strings always encode
	}
	return b
}

// DecodeAccountRange reads what Encode wrote and nothing else, within the
// limits. It says nothing of whether the range is true. Error: ErrAnswer.
func DecodeAccountRange(b []byte) (*AccountRange, error) {
	r := new(AccountRange)
	if err := decode(b, r); err != nil {
		return nil, err
	}
	for i, l := range r.Accounts {
		if len(l.Account) == 0 || len(l.Account) > MaxLeafBytes {
			return nil, refuse(ErrAnswer, "account %d has %d bytes", i, len(l.Account))
		}
	}
	return r, checkProof(r.Proof)
}

// DecodeSlotRange is DecodeAccountRange for slots.
func DecodeSlotRange(b []byte) (*SlotRange, error) {
	r := new(SlotRange)
	if err := decode(b, r); err != nil {
		return nil, err
	}
	for i, l := range r.Slots {
		if len(l.Value) == 0 || len(l.Value) > crypto.HashLength || l.Value[0] == 0 {
			return nil, refuse(ErrAnswer, "slot %d has no canonical value of 1 to 32 bytes", i)
		}
	}
	return r, checkProof(r.Proof)
}

func decode(b []byte, v any) error {
	if len(b) > MaxAnswerBytes {
		return refuse(ErrAnswer, "%d bytes, at most %d", len(b), MaxAnswerBytes)
	}
	if err := countNodes(b); err != nil {
		return err
	}
	if err := rlp.DecodeBytes(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

// countNodes looks at how many nodes the proof of an encoded range has, before
// they are decoded: an empty one is one byte there and a slice in memory. Leaves
// are of a fixed length at least, so their bytes bound them.
func countNodes(b []byte) error {
	fields, _, err := rlp.SplitList(b)
	if err == nil {
		_, fields, err = rlp.SplitList(fields)
	}
	var nodes []byte
	if err == nil {
		nodes, _, err = rlp.SplitList(fields)
	}
	count := 0
	if err == nil {
		count, err = rlp.CountValues(nodes)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if count > MaxProofNodes {
		return refuse(ErrAnswer, "a proof of %d nodes, at most %d", count, MaxProofNodes)
	}
	return nil
}

func checkProof(proof [][]byte) error {
	if len(proof) > MaxProofNodes {
		return refuse(ErrAnswer, "a proof of %d nodes, at most %d", len(proof), MaxProofNodes)
	}
	for i, n := range proof {
		if len(n) == 0 || len(n) > MaxProofNodeBytes {
			return refuse(ErrAnswer, "proof node %d has %d bytes", i, len(n))
		}
	}
	return nil
}
