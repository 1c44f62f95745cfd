package chain

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/trie"
)

// Config is what execution needs to know of the network.
type Config struct {
	ChainID uint64
	Genesis crypto.Hash // of block 0: votes name it
	Rules   genesis.Rules
}

// NewConfig takes chain id and rules from a Spec, whose block 0 has this hash.
func NewConfig(spec *genesis.Spec, block0 crypto.Hash) *Config {
	return &Config{ChainID: spec.ChainID, Genesis: block0, Rules: spec.Rules}
}

// Signer is NewSigner of the chain id.
func (c *Config) Signer() types.Signer { return NewSigner(c.ChainID) }

// Reader is the state before a block. What it returns is shared: it must not be
// changed by either side.
type Reader interface {
	// Account answers nil for an account that does not exist.
	Account(crypto.Address) (*Account, error)
	// Slot answers the zero hash for a slot that was never written.
	Slot(crypto.Address, crypto.Hash) (crypto.Hash, error)
}

// State is the state on which a block is executed: flat values for reading and
// tries for the new root. Both must be of the same block. StorageTrie answers
// the storage trie of an account at its StorageRoot.
type State struct {
	Reader      Reader
	Accounts    *trie.Trie
	StorageTrie func(addr crypto.Address, root crypto.Hash) *trie.Trie
}

// Candidates gives Build transactions, the best first. After each Next exactly
// one of Accept and Skip is called.
type Candidates interface {
	// Next is the transaction to try now, nil when there is none left.
	Next() *types.Transaction
	// Accept says that the last one is in the block: the sender's next nonce may
	// follow.
	Accept()
	// Skip says that the last one is not in the block, and so that its sender is
	// out for this block. err is an *InvalidError.
	Skip(err error)
}

// Output is what a block changes. Slices are sorted by address (and slot).
type Output struct {
	Receipts     types.Receipts  // derived fields filled in
	Accounts     *trie.Trie      // after the block
	AccountNodes *trie.NodeSet   // of Accounts against the parent's
	StorageNodes []StorageNodes  // of each storage trie that changed
	Changes      []AccountChange //
	Slots        []SlotChange    //
	Codes        []CodeChange    // new code, by hash
	Closing      bool            // the block changes the hash of the validator set

	// NextSet decides the children of a closing block, in the next epoch; nil
	// when the block is not closing.
	NextSet *genesis.ValidatorSet
}

// StorageNodes are the trie nodes that changed in the storage of one account.
type StorageNodes struct {
	Address crypto.Address
	Trie    *trie.Trie // after the block
	Nodes   *trie.NodeSet
}

// AccountChange is one account before and after a block; nil = absent.
type AccountChange struct {
	Address  crypto.Address
	Old, New *Account
}

// SlotChange is one storage slot before and after a block; zero = absent.
type SlotChange struct {
	Address  crypto.Address
	Slot     crypto.Hash
	Old, New crypto.Hash
}

// CodeChange is code that a block puts into the state.
type CodeChange struct {
	Hash crypto.Hash
	Code []byte
}
