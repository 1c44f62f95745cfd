package snapshot

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/store"
)

// Epoch is the end of one epoch, as the light walk verified it.
type Epoch struct {
	Header      *types.Header // of the closing block
	Certificate []byte        // finalization of exactly that block
	Next        []genesis.Validator
}

// Target is the final block whose state is fetched. The caller has verified it;
// the package trusts it.
type Target struct {
	Header      *types.Header
	Certificate []byte      // of exactly this block; empty: final through a descendant
	Floor       store.Floor // epoch and view of the block: the vote log signs nothing at or below
	Epochs      []Epoch     // every epoch that ended at or below the block, from epoch 0 on
}

// Kind is what a Segment asks for.
type Kind uint8

// The kinds of segments.
const (
	Accounts Kind = iota + 1
	Slots
	Code
)

func (k Kind) String() string {
	switch k {
	case Accounts:
		return "accounts"
	case Slots:
		return "slots"
	case Code:
		return "code"
	default:
		return "unknown"
	}
}

// Segment is one thing to ask a peer for. It can be compared.
type Segment struct {
	Kind  Kind
	Owner crypto.Address // Slots: whose
	From  crypto.Hash    // Accounts, Slots: the first key (a keccak256) that is wanted
	To    crypto.Hash    // Accounts, Slots: the last key that is
	Code  crypto.Hash    // Code: its hash
}

// Progress is how far a join is.
type Progress struct {
	Done     float64 // of the key space of accounts, 0 to 1
	Accounts uint64
	Slots    uint64
	Codes    uint64
	Pending  int    // storage tries and codes that are known and not here
	Bytes    uint64 // of leaves and code kept
}
