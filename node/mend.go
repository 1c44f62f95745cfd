package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/ledger"
	"cairn/ledger/store"
)

// mend makes a database in part from the one in data, whose damage hides rows of
// blocks or indexes only: what other rows tell is put back, and the blocks that are
// then not whole are left to be fetched by the node. ok is false where more is
// damaged, or nothing that reading every row would show; then part is gone. No
// database is open.
func (h *Home) mend(ctx context.Context, data, part string, tell Progress) (head store.Head, awaited int, ok bool, err error) {
	defer func() {
		if err == nil && !ok {
			err = remove(part)
		}
	}()
	if err := errors.Join(remove(part), store.Copy(data, part)); err != nil {
		return head, 0, false, err
	}
	st, err := store.Open(part, store.Options{})
	if err != nil {
		return head, 0, false, exceptCorrupt(err)
	}
	h.Store = st
	head, awaited, err = h.mendOpen(ctx, tell)
	h.Store = nil
	if err = errors.Join(err, st.Close()); err != nil || awaited < 0 {
		return head, 0, false, exceptCorrupt(err)
	}
	findings := 0
	if _, err := checkData(ctx, h, part, CheckOptions{Finding: func(string) { findings++ }, Note: func(string) {}, Progress: tell}); err != nil {
		return head, 0, false, exceptCorrupt(err)
	}
	return head, awaited, findings == 0, nil
}

// mendOpen mends the open database. awaited is below 0 if that is not the way.
func (h *Home) mendOpen(ctx context.Context, tell Progress) (head store.Head, awaited int, err error) {
	if err := h.mayObserve(); err != nil {
		return head, 0, err
	}
	tell("rows", 0, 0)
	gaps, err := h.Store.Gaps(ctx)
	if err != nil || len(gaps) == 0 {
		return head, -1, err
	}
	if head, err = h.Store.Head(); err != nil {
		return head, 0, err
	}
	if awaited, err = h.Store.Mend(ctx, gaps); err != nil {
		return head, 0, err
	}
	can, err := h.canStart(head)
	if err == nil && !can {
		awaited = -1
	}
	return head, awaited, err
}

// canStart says whether a node can run before the awaited blocks are here: those
// that end an epoch, and those above the newest finalization, must be.
func (h *Home) canStart(head store.Head) (bool, error) {
	awaited, err := h.Store.Awaited()
	if err != nil {
		return false, err
	}
	live, err := ledger.Open(h.Store, h.Spec)
	if err != nil {
		return false, fmt.Errorf("open the mended database: %w", err)
	}
	for _, epoch := live.Validators(); epoch > 0; epoch-- {
		height, err := live.ClosingHeight(epoch)
		if err != nil || slices.Contains(awaited, height) {
			return false, err
		}
	}
	for height := head.Height; height > 0; height-- {
		_, err := h.Store.Certificate(height)
		if err == nil || errors.Is(err, store.ErrAwaited) {
			return err == nil, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

// exceptCorrupt leaves out what says that there is more damage.
func exceptCorrupt(err error) error {
	if isDamage(err) || errors.Is(err, store.ErrAwaited) {
		return nil
	}
	return err
}
