package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cairn/ledger/store"
)

// backup copies a running database to a directory that does not exist yet, and
// marks the copy: whoever starts a validator from it observes first, because the
// votes cast after the copy are not in it. What fails leaves no directory that
// looks like a whole copy.
func backup(st *store.Store, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = os.ErrExist
		}
		return fmt.Errorf("%s: %w: a backup goes to a new directory", dir, err)
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("remove what an earlier backup left: %w", err)
	}
	err := st.Checkpoint(part)
	if err == nil {
		err = markCopy(part)
	}
	if err == nil {
		err = errors.Join(os.Rename(part, dir), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return nil
}

// markCopy writes into a copied database that it is one.
func markCopy(dir string) error {
	st, err := store.Open(dir, store.Options{CacheBytes: 8 << 20})
	if err != nil {
		return fmt.Errorf("open the copy: %w", err)
	}
	held, err := readInstance(st)
	if err == nil {
		if held == nil {
			held = new(storedInstance)
		}
		held.Doubt = "the data directory was restored from a backup"
		err = writeInstance(st, *held)
	}
	return errors.Join(err, st.Close())
}
