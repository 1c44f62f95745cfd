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
		err = markData(part, "the data directory was restored from a backup")
	}
	if err == nil {
		err = errors.Join(os.Rename(part, dir), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return nil
}
