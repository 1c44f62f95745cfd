package snapshot

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/store"
)

// Source reads one checkpoint. Every method may be called from any goroutine.
type Source struct{}

// Open opens a checkpoint to read.
func Open(dir string, o store.Options) (*Source, error) { return nil, ErrNone }

// Header is that of the block whose state this is.
func (s *Source) Header() *types.Header { return nil }

// Accounts answers the accounts from the first whose key is from or above to the
// first whose key is to or above, or fewer if they take more than maxBytes. The
// last may be above to: it proves that there is none between. No account: none
// has the key from or above.
func (s *Source) Accounts(from, to crypto.Hash, maxBytes int) (*AccountRange, error) {
	return nil, ErrNone
}

// Slots is Accounts for the slots of an account. An account without storage has
// no slots and no proof.
func (s *Source) Slots(owner crypto.Address, from, to crypto.Hash, maxBytes int) (*SlotRange, error) {
	return nil, ErrNone
}

// Code is code by its hash. Error: store.ErrNotFound.
func (s *Source) Code(hash crypto.Hash) ([]byte, error) { return nil, ErrNone }

// Close waits for reads under way and closes the checkpoint.
func (s *Source) Close() error { return nil }
