package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A database that was made beside the home's own (restored, rolled back, repaired
// or joined from a snapshot) takes its place by renames, so that a crash between
// any two of them leaves one that the next start finishes in the same way:
//
//	data.part     being made; whatever is found there was not finished
//	data.new      complete: it will be data
//	data.old      was data, and goes
//	data.check    of CheckExecution, and goes
//	data.KEPT     was data, and stays for the operator
//
// The first rename, of data.part to data.new, decides.
const (
	partDir = DataDir + ".part"
	newDir  = DataDir + ".new"
	oldDir  = DataDir + ".old"
	keepTo  = DataDir + ".keep" // names the directory that the old database is kept as
)

// ErrKept says that the place for a database that is to be kept is taken.
const ErrKept = ErrorKind("an earlier database is still kept here: look whether you need it, and remove it")

// switchData puts part, a complete and durable database in home, in the place of
// data, which is removed or, with keep, stays as data.KEEP. The home's lock is the
// caller's, and neither database is open.
// Error: ErrKept, or a failure.
func switchData(home, part, keep string) error {
	if keep != "" {
		kept := filepath.Join(home, DataDir+"."+keep)
		if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrKept, kept)
		}
		if err := writeDurably(filepath.Join(home, keepTo), keep); err != nil {
			return err
		}
	}
	if err := rename(part, filepath.Join(home, newDir)); err != nil {
		return err
	}
	return finishSwitch(home)
}

// finishSwitch does what is left of a switch that was decided, and clears away
// what was not. It is called with the home's lock held, before the database is
// opened.
func finishSwitch(home string) error {
	data, next, old := filepath.Join(home, DataDir), filepath.Join(home, newDir), filepath.Join(home, oldDir)
	if !exists(next) {
		return errors.Join(remove(old), remove(filepath.Join(home, partDir)), remove(filepath.Join(home, checkDir)), remove(filepath.Join(home, keepTo)))
	}
	keep, err := os.ReadFile(filepath.Join(home, keepTo))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("finish the change of the database: %w", err)
	}
	if exists(data) {
		away := old
		if len(keep) > 0 {
			away = filepath.Join(home, DataDir+"."+string(keep))
		} else if err := remove(old); err != nil {
			return err
		}
		if err := rename(data, away); err != nil {
			return err
		}
	}
	if err := rename(next, data); err != nil {
		return err
	}
	return errors.Join(remove(old), remove(filepath.Join(home, keepTo)))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// rename moves a directory, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move the database: %w", err)
	}
	return syncDir(filepath.Dir(to))
}

func remove(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("clear away %s: %w", path, err)
	}
	return nil
}

// writeDurably makes or replaces a small file.
func writeDurably(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}
