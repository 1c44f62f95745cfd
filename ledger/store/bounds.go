package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds say how old the oldest things are that a database holds. Both are 0 in
// one that has the whole chain. Block 0 itself is always held, and the header
// and certificate of every block that ended an epoch.
type Bounds struct {
	// Base is the first height whose state is in the history. At a Base above 0
	// every account and slot has a row, changed there or not.
	Base uint64
	// FirstBody is the height from which on blocks are held with transactions,
	// receipts and index; it may be one above the head.
	FirstBody uint64
}

// Bounds are the present ones; those of a Snapshot never change.
func (v View) Bounds() Bounds { return *v.bounds.Load() }

// Base is Bounds().Base.
func (v View) Base() uint64 { return v.Bounds().Base }

// FirstBody is Bounds().FirstBody.
func (v View) FirstBody() uint64 { return v.Bounds().FirstBody }

func (b Bounds) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, b.Base), b.FirstBody)
}

// readBounds reads them from the database, once.
func (v View) readBounds() error {
	raw, err := v.get("bounds", boundsKey)
	switch {
	case errors.Is(err, ErrNotFound):
		v.bounds.Store(&Bounds{})
		return nil
	case err != nil:
		return err
	case len(raw) != 16:
		return corrupt("bounds", fmt.Sprintf("%x", raw))
	}
	v.bounds.Store(&Bounds{Base: binary.BigEndian.Uint64(raw), FirstBody: binary.BigEndian.Uint64(raw[8:])})
	return nil
}

// hasState is asked after a read of the history: bounds move before what is
// below them goes, so a read that they do not overtake was whole.
func (v View) hasState(height uint64) error {
	if base := v.Base(); height < base {
		return fmt.Errorf("%w: the state at height %d, the first is at %d", ErrPruned, height, base)
	}
	return nil
}

// pruned is ErrPruned instead of an ErrNotFound of a height that is not held.
func (v View) pruned(err error, what string, height uint64) error {
	if first := v.FirstBody(); height < first && errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %s at height %d, the first is at %d", ErrPruned, what, height, first)
	}
	return err
}

// RaiseBounds gives up what is below new bounds, durably, before a caller
// deletes it: from now on it is answered with ErrPruned. Neither may fall. sets
// are the validator sets, RLP, of the epochs that began below the new Base and
// are not kept yet.
// Error: ErrOutOfOrder, or a failure.
func (s *Store) RaiseBounds(b Bounds, sets map[uint32][]byte) error {
	s.boundsMu.Lock()
	defer s.boundsMu.Unlock()
	old := s.Bounds()
	if b.Base < old.Base || b.FirstBody < old.FirstBody {
		return fmt.Errorf("%w: bounds %+v are below %+v", ErrOutOfOrder, b, old)
	}
	batch := s.db.NewBatch()
	for epoch, set := range sets {
		_ = batch.Set(epochKey(epoch), set, nil)
	}
	_ = batch.Set(boundsKey, b.encode(), nil)
	if err := s.apply("the bounds", batch, true); err != nil {
		return err
	}
	s.bounds.Store(&b)
	return nil
}
