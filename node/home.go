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
	h := &Home{Dir: dir}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	if h.Spec, err = readSpec(dir); err != nil {
		return nil, err
	}
	if data == "" {
		data = filepath.Join(dir, DataDir)
		if h.lock, err = lockHome(dir); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", data, ErrNoData)
	}
	if h.Store, err = store.Open(data, store.Options{}); err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	return h, nil
}

// Close frees the directory.
func (h *Home) Close() error {
	var errs []error
	if h.Store != nil {
		errs = append(errs, h.Store.Close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Unlock())
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
