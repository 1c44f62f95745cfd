// Package genesis holds what a network fixes before its first block: the
// chain's rules, the first validators and the first balances.
package genesis

import (
	"github.com/holiman/uint256"

	"cairn/crypto"
)

// Spec is one network. Its file is strict JSON; block 0, made from it by
// ledger/chain, commits to every field, and the hash of block 0 is the
// network's identity.
type Spec struct {
	ChainID    uint64       // 1 to 2^53−1, EIP-155
	Name       string       // 1 to 64 printable ASCII characters
	Timestamp  uint64       // milliseconds since 1970, of block 0
	Rules      Rules        //
	Validators []Validator  // epoch 0, in any order in the file, sorted by address in memory
	Alloc      []Allocation // sorted by address in memory
}

// Rules are the chain's rules, the same on every node. All durations are in
// milliseconds.
type Rules struct {
	GasLimit           uint64   // gas of a block
	BlockBytes         uint64   // RLP size of a block
	BlockTransactions  uint64   // transactions of a block
	Fees               FeeRules //
	MinBlockInterval   uint64   // least distance of two block timestamps
	Heartbeat          uint64   // longest time without a block; 0 = idle networks make none
	Delta              uint64   // Δ: covers delay + execution + fsync
	DeltaMax           uint64   // cap of Δ' after failed views
	CheckpointInterval uint64   // heights between state checkpoints
	RemoveEquivocators bool     // who is proven to contradict itself leaves the set at the next change
}

// FeeRules say what a transaction pays. Amounts are wei per gas.
type FeeRules struct {
	Free                     bool            // base fee 0, nothing charged, whatever the fee fields say
	InitialBaseFee           *uint256.Int    // of block 0
	MinBaseFee               *uint256.Int    // the base fee never falls below it
	BaseFeeChangeDenominator uint64          // EIP-1559: 8
	GasTarget                uint64          // gas of a block at which the base fee stays
	BaseFeeRecipient         *crypto.Address // nil = burned
}

// Validator is one member of the first epoch.
type Validator struct {
	Address crypto.Address
	PeerID  string // libp2p peer id, text form
	Name    string // for people: 1 to 32 characters [a-z0-9-]
}

// Allocation is the balance of one account in block 0, in wei.
type Allocation struct {
	Address crypto.Address
	Balance *uint256.Int
}
