package store

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Copy copies a database that nobody has open to a directory that does not exist
// yet, durably. Tables, which never change, are links where the file system can.
// Error: ErrLocked while somebody has it open.
func Copy(from, to string) error {
	fs := vfs.Default
	lock, err := pebble.LockDirectory(from, fs)
	if err != nil {
		return openError(from, err)
	}
	return errors.Join(copyAll(fs, from, to), lock.Close())
}

func copyAll(fs vfs.FS, from, to string) error {
	names, err := fs.List(from)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		if err := copyFile(fs, fs.PathJoin(from, name), fs.PathJoin(to, name)); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	dir, err := fs.OpenDir(to)
	if err != nil {
		return fmt.Errorf("sync %s: %w", to, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", to, err)
	}
	return nil
}

func copyFile(fs vfs.FS, from, to string) error {
	var err error
	if strings.HasSuffix(from, ".sst") {
		err = vfs.LinkOrCopy(fs, from, to)
	} else {
		err = vfs.Copy(fs, from, to)
	}
	if err != nil {
		return err
	}
	f, err := fs.Open(to)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
