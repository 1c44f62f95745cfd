package ledger

import (
	"fmt"
	"sort"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// Validators is the set that agrees on the block after the head, and its epoch,
// as the registry in the state of the head has it.
func (l *Ledger) Validators() (*genesis.ValidatorSet, uint32, error) {
	set, epoch, err := chain.ReadRegistry(l)
	if err != nil {
		return nil, 0, fmt.Errorf("read the validator registry: %w", err)
	}
	return set, epoch, nil
}

// ValidatorsAt is the set that agrees on the block after a height, and its
// epoch. Errors: ErrFuture, store.ErrNotFound without history, or a failure.
func (l *Ledger) ValidatorsAt(height uint64) (*genesis.ValidatorSet, uint32, error) {
	if err := l.atMost(height); err != nil {
		return nil, 0, err
	}
	set, epoch, err := chain.ReadRegistry(at{l, height})
	if err != nil {
		return nil, 0, fmt.Errorf("read the validator registry at height %d: %w", height, err)
	}
	return set, epoch, nil
}

// at reads the state after a final block.
type at struct {
	l      *Ledger
	height uint64
}

func (r at) Account(a crypto.Address) (*chain.Account, error) { return r.l.AccountAt(a, r.height) }

func (r at) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	return r.l.SlotAt(a, slot, r.height)
}

// EpochEnd is the height of the closing block of a past epoch. Headers carry
// their epoch, which never falls, so it is found by bisection.
// Errors: ErrNotFound for an epoch that has not ended, or a failure.
func (l *Ledger) EpochEnd(epoch uint32) (uint64, error) {
	head := l.HeadInfo()
	if head.Epoch <= epoch {
		return 0, fmt.Errorf("epoch %d has not ended: %w", epoch, ErrNotFound)
	}
	var failure error
	after := sort.Search(int(head.Height), func(i int) bool {
		header, err := l.HeaderByHeight(uint64(i) + 1)
		if err != nil {
			failure = err
			return true
		}
		extra, err := chain.DecodeExtra(header)
		if err != nil {
			failure = err
		}
		return extra.Epoch > epoch
	})
	return uint64(after), failure
}
