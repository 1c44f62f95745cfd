package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/store"
)

// The commands of this file put another database in the place of a home's own.
// A validator that starts from it observes before it votes.

// The kinds of refusal of these commands.
const (
	ErrDamagedCopy = ErrorKind("the copy is damaged: nothing was changed")
	ErrHasData     = ErrorKind("this home has a database")
	ErrHeight      = ErrorKind("there is no such height to go back to")
	ErrAlone       = ErrorKind("this home has a validator's key, and too few others can tell the validator what it may have signed: it would observe for ever")
)

// Replaced is what a command of this file did.
type Replaced struct {
	Height uint64
	Kept   string // the directory of the database that was replaced; empty = there was none
	Why    string // of a repair: the first damage; empty = none was found

	Mended  bool // by a repair: only blocks or indexes were damaged, and all else was kept
	Awaited int  // blocks that the node will fetch
}

// Restore makes a copy, such as a backup, the database of a home, after it was
// checked as by Check. replace keeps the present one beside it; without, a home
// that has one is refused.
// Errors: ErrHasData, ErrKept, ErrDamagedCopy, those of OpenHome, or a failure.
func Restore(ctx context.Context, home, from string, replace bool, o CheckOptions) (r Replaced, err error) {
	h, err := holdHome(home)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	data, part := filepath.Join(home, DataDir), filepath.Join(home, partDir)
	keep := "before-restore"
	if exists(data) && !replace {
		return r, fmt.Errorf("%w: %s", ErrHasData, data)
	}
	if err := h.mayKeep(keep); err != nil {
		return r, err
	}
	if _, err := os.Stat(from); err != nil {
		return r, fmt.Errorf("%s: %w", from, ErrNoData)
	}
	if err := store.Copy(from, part); err != nil {
		return r, err
	}
	result, err := checkData(ctx, h, part, o)
	if err == nil && result.Findings > 0 {
		err = fmt.Errorf("%w: %d findings", ErrDamagedCopy, result.Findings)
	}
	if err == nil {
		err = markData(part, "the data directory was restored from a backup")
	}
	if err != nil {
		return r, errors.Join(err, remove(part))
	}
	r.Height = result.Height
	return r, h.replace(&r, keep)
}

// checkData checks a database that is not open.
func checkData(ctx context.Context, h *Home, dir string, o CheckOptions) (result CheckResult, err error) {
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return result, fmt.Errorf("open the copy: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return Check(ctx, st, h.Spec, o)
}

// Rollback puts a home back to a final height, or to the nearest one below that
// is proven by itself: its blocks are executed again in a new database. It is for
// repair: what is final stays final, and the node fetches it again from others.
// The present database is kept beside the new one. A home with a validator's key
// is refused with ErrAlone where its validator would observe for ever.
// Errors: ErrHeight, ErrAlone, ErrKept, ErrNoOrigin, those of OpenHome, or a
// failure.
func Rollback(ctx context.Context, home string, to uint64, tell Progress) (r Replaced, err error) {
	h, err := OpenHome(home, "")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	const keep = "before-rollback"
	if err := errors.Join(h.mayKeep(keep), h.mayObserve()); err != nil {
		return r, err
	}
	head, err := h.Store.Head()
	if err != nil {
		return r, err
	}
	if to >= head.Height {
		return r, fmt.Errorf("%w: %d, the head is %d", ErrHeight, to, head.Height)
	}
	if to, err = proven(h.Store.View, to); err != nil {
		return r, err
	}
	part := filepath.Join(home, partDir)
	reached, damage, err := h.rebuild(ctx, part, to, true, tell)
	if err == nil && damage != nil {
		err = fmt.Errorf("the blocks up to height %d are damaged; see 'cairnd db repair': %w", to, damage)
	}
	if err == nil {
		err = markData(part, "the database was rolled back")
	}
	if err != nil {
		return r, errors.Join(err, remove(part))
	}
	r.Height = reached
	return r, h.replace(&r, keep)
}

// proven is the nearest height at or below one that has a certificate of its own,
// or 0.
func proven(v store.View, height uint64) (uint64, error) {
	for ; height > 0; height-- {
		if _, err := v.Certificate(height); err == nil {
			break
		} else if !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
	}
	return height, nil
}

// Repair makes a sound database from a damaged one. Where table files hide rows of
// blocks or of their indexes only, all else is kept, and the node fetches just
// these blocks. Otherwise it is made anew from the blocks, as far as they are sound,
// each verified and executed again; what follows the node fetches from others when
// it starts. A database that cannot even be opened is set aside,
// and the node joins anew.
// Errors: ErrAlone, ErrKept, those of OpenHome, or a failure.
func Repair(ctx context.Context, home string, tell Progress) (r Replaced, err error) {
	h, err := holdHome(home)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	const keep = "damaged"
	if err := h.mayKeep(keep); err != nil {
		return r, err
	}
	data, part := filepath.Join(home, DataDir), filepath.Join(home, partDir)
	if !exists(data) {
		return r, fmt.Errorf("%s: %w", data, ErrNoData)
	}
	var head store.Head
	head, r.Awaited, r.Mended, err = h.mend(ctx, data, part, tell)
	if r.Height = head.Height; err == nil && !r.Mended {
		r.Height, r.Why, err = h.salvage(ctx, data, part, tell)
	}
	if err != nil {
		return r, errors.Join(err, remove(part))
	}
	if err := markData(part, "the database was repaired"); err != nil {
		return r, errors.Join(err, remove(part))
	}
	return r, h.replace(&r, keep)
}

// salvage rebuilds what is sound of a database in part; if it cannot be opened or
// nothing can be executed, part begins with block 0.
func (h *Home) salvage(ctx context.Context, data, part string, tell Progress) (reached uint64, why string, err error) {
	st, err := store.Open(data, store.Options{})
	if err == nil {
		h.Store = st
		if err := h.mayObserve(); err != nil {
			return 0, "", err
		}
		head, err := st.Head()
		if err == nil {
			var damage error
			if reached, damage, err = h.rebuild(ctx, part, head.Height, false, tell); err == nil && damage != nil {
				why = damage.Error()
			}
		}
		if err == nil && st.FirstBody() > 1 {
			err = h.checkShared(ctx, part)
		}
		if err == nil {
			return reached, why, nil
		}
		if !isDamage(err) && !errors.Is(err, ErrNoOrigin) {
			return 0, "", err
		}
		why = err.Error()
	} else if !errors.Is(err, store.ErrCorrupt) {
		return 0, "", fmt.Errorf("open the ledger: %w", err)
	} else {
		why = err.Error()
		if err := h.mayObserve(); err != nil {
			return 0, "", err
		}
	}
	return 0, why, h.blank(part)
}

// checkShared checks a database that began with a checkpoint, whose tables are
// files of the damaged one. Error: store.ErrCorrupt, or a failure.
func (h *Home) checkShared(ctx context.Context, part string) error {
	first := ""
	result, err := checkData(ctx, h, part, CheckOptions{
		Finding: func(text string) {
			if first == "" {
				first = text
			}
		},
		Note:     func(string) {},
		Progress: func(string, uint64, uint64) {},
	})
	if err == nil && result.Findings > 0 {
		err = fmt.Errorf("%w: the checkpoint, too: %s", store.ErrCorrupt, first)
	}
	return err
}

// blank makes a database of block 0.
func (h *Home) blank(dir string) error {
	if err := remove(dir); err != nil {
		return err
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return fmt.Errorf("make the new database: %w", err)
	}
	_, err = ledger.Open(st, h.Spec)
	return errors.Join(err, st.Close())
}

// mayObserve refuses a home whose validator could never vote again. The set is
// that of the head or, if it cannot be read, that of genesis.
func (h *Home) mayObserve() error {
	key, err := ReadKeyFile(filepath.Join(h.Dir, ValidatorKeyFile))
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	set := h.Spec.ValidatorSet()
	if h.Store != nil {
		if live, err := ledger.Open(h.Store, h.Spec); err == nil {
			set, _ = live.Validators()
		}
	}
	others := set.Len()
	if _, member := set.Index(key.Address); !member {
		return nil
	}
	if quorum := genesis.Quorum(set.Len()); others-1 < quorum {
		return fmt.Errorf("%w (there are %d others, %d are needed)", ErrAlone, others-1, quorum)
	}
	return nil
}

// mayKeep refuses early what switchData would refuse late.
func (h *Home) mayKeep(name string) error {
	kept := filepath.Join(h.Dir, DataDir+"."+name)
	if exists(kept) {
		return fmt.Errorf("%w: %s", ErrKept, kept)
	}
	return nil
}

// replace closes the home's database and puts the part in its place.
func (h *Home) replace(r *Replaced, keep string) error {
	if h.Store != nil {
		err := h.Store.Close()
		h.Store = nil
		if err != nil {
			return err
		}
	}
	if exists(filepath.Join(h.Dir, DataDir)) {
		r.Kept = filepath.Join(h.Dir, DataDir+"."+keep)
	}
	return switchData(h.Dir, filepath.Join(h.Dir, partDir), keep)
}
