package ledger

import (
	"errors"
	"fmt"
	"math"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// heightReader reads the state after the final block at height.
type heightReader struct {
	l      *Ledger
	height uint64
}

func (r heightReader) Account(a crypto.Address) (*chain.Account, error) {
	return r.l.AccountAt(a, r.height)
}

func (r heightReader) Slot(a crypto.Address, slot crypto.Hash) (crypto.Hash, error) {
	return r.l.SlotAt(a, slot, r.height)
}

// StateAt reads the state after the final block at height, from any goroutine.
// Errors: ErrFuture. Its reads below the head answer ErrNoHistory on a node
// without history.
func (l *Ledger) StateAt(height uint64) (chain.Reader, error) {
	return heightReader{l, height}, l.atMost(height)
}

// Validators is the set that decides the children of the final head, and its
// epoch: right after a closing block, that of the next epoch.
func (l *Ledger) Validators() (*genesis.ValidatorSet, uint32) {
	h := l.head.Load()
	return h.validators, h.epoch
}

// ValidatorsAt is the set that decides the children of the final block at
// height, and its epoch. Errors: ErrFuture; ErrNoHistory below the head on a node
// without history; ErrPruned where no state is kept, unless the block ended an
// epoch.
func (l *Ledger) ValidatorsAt(height uint64) (*genesis.ValidatorSet, uint32, error) {
	if h := l.head.Load(); h.info.Height == height {
		return h.validators, h.epoch, nil
	}
	r, err := l.StateAt(height)
	if err != nil {
		return nil, 0, err
	}
	if height < l.st.Base() {
		return l.validatorsBelowBase(height)
	}
	set, epoch, err := chain.ReadRegistry(r)
	if err != nil {
		return nil, 0, fmt.Errorf("read the validators at height %d: %w", height, err)
	}
	return set, epoch, nil
}

// validatorsBelowBase is the set that a closing block, or block 0, makes: those
// sets are kept.
func (l *Ledger) validatorsBelowBase(height uint64) (*genesis.ValidatorSet, uint32, error) {
	epoch := uint32(0)
	if height > 0 {
		header, err := l.HeaderByHeight(height)
		if err != nil {
			return nil, 0, fmt.Errorf("read the validators at height %d: %w", height, err)
		}
		if !chain.IsClosing(header) {
			return nil, 0, fmt.Errorf("%w: the validators at height %d, the first state is at %d", ErrPruned, height, l.st.Base())
		}
		if epoch, err = chain.NextEpoch(header); err != nil {
			return nil, 0, fmt.Errorf("%w: header %d: %w", store.ErrCorrupt, height, err)
		}
	}
	raw, err := l.st.EpochSet(epoch)
	if err != nil {
		return nil, 0, err
	}
	set, err := genesis.DecodeValidatorSet(raw)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: epoch %d: %w", store.ErrCorrupt, epoch, err)
	}
	return set, epoch, nil
}

// ClosingHeight is the height of the final block that began an epoch, which is
// the closing block of the epoch before; 0 for epoch 0. Error: ErrNotFound for an
// epoch that no final block has begun.
func (l *Ledger) ClosingHeight(epoch uint32) (uint64, error) {
	height, err := chain.ClosingHeight(l, epoch)
	if errors.Is(err, chain.RevertEpoch) {
		return 0, fmt.Errorf("closing block of epoch %d: %w", epoch, ErrNotFound)
	}
	return height, err
}

// EpochEnd is the height of the closing block of an epoch that is over.
// Error: ErrNotFound for one that is not.
func (l *Ledger) EpochEnd(epoch uint32) (uint64, error) {
	if epoch == math.MaxUint32 {
		return 0, fmt.Errorf("closing block of epoch %d: %w", epoch, ErrNotFound)
	}
	height, err := l.ClosingHeight(epoch + 1)
	if err != nil {
		return 0, fmt.Errorf("end of epoch %d: %w", epoch, err)
	}
	return height, nil
}

// NextSet is the validator set after a closing block that is held or the head,
// nil for any other block.
func (l *Ledger) NextSet(hash crypto.Hash) *genesis.ValidatorSet {
	if n, ok := l.layers[hash]; ok {
		return n.nextSet
	}
	if l.Closing(hash) {
		set, _ := l.Validators()
		return set
	}
	return nil
}
