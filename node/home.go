package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"cairn/genesis"
	"cairn/ledger/store"
)

// Home is a stopped node's directory, held so that no node starts in it.
type Home struct {
	Dir   string
	Spec  *genesis.Spec
	Store *store.Store
	lock  *flock.Flock
}

// OpenHome opens the database of a home whose node does not run; data, if not
// empty, is another database of the same network, such as a backup. A home
// without a database is an error: nothing is made.
// Errors: ErrLocked, ErrNoGenesis, ErrNoData, those of the store.
func OpenHome(dir, data string) (_ *Home, err error) {
	if data != "" {
		return openData(&Home{Dir: dir}, data, store.Options{})
	}
	h, err := holdHome(dir)
	if err != nil {
		return nil, err
	}
	return openData(h, filepath.Join(dir, DataDir), store.Options{})
}

// holdHome keeps nodes from starting in a home whose node does not run, and
// finishes a change of its database that was interrupted. No database is open.
// Error: ErrLocked.
func holdHome(dir string) (*Home, error) {
	h := &Home{Dir: dir}
	var err error
	if h.Spec, err = readSpec(dir); err != nil {
		return nil, err
	}
	if h.lock, err = lockHome(dir); err != nil {
		return nil, err
	}
	if err := finishSwitch(dir); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// openData opens a database for a home, which it closes if that fails.
func openData(h *Home, data string, o store.Options) (_ *Home, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.Spec == nil {
		if h.Spec, err = readSpec(h.Dir); err != nil {
			return nil, err
		}
	}
	if !exists(data) {
		return nil, fmt.Errorf("%s: %w", data, ErrNoData)
	}
	if h.Store, err = store.Open(data, o); err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return h, nil
}

// Close frees the directory.
func (h *Home) Close() error {
	var errs []error
	if h.Store != nil {
		errs = append(errs, h.Store.Close())
		h.Store = nil
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Unlock())
		h.lock = nil
	}
	return errors.Join(errs...)
}

// lockHome takes the lock that a running node holds. Error: ErrLocked.
func lockHome(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return lock, nil
}

// readSpec reads the genesis file of a home. Error: ErrNoGenesis.
func readSpec(dir string) (*genesis.Spec, error) {
	path := filepath.Join(dir, GenesisFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoGenesis)
	} else if err != nil {
		return nil, fmt.Errorf("read the genesis file: %w", err)
	}
	spec, err := genesis.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}
