package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// partial ends the name of a checkpoint until it is whole.
const partial = ".partial"

// Checkpoint copies the running database, with everything written so far, to a
// directory that does not exist yet; table files are shared by hard links where
// the file system has them. The directory has its name only once it is whole and
// durable: an interrupted copy stays under another (see ListCheckpoints).
func (s *Store) Checkpoint(dir string) (err error) {
	if err := s.Sync(); err != nil {
		return err
	}
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	defer func() {
		if r := recover(); r != nil {
			err = s.failure("the copy "+dir, r)
		}
	}()
	return s.copyTo(dir, func(string) error { return nil })
}

// copyTo makes a checkpoint. finish is given the directory before it has its name.
func (s *Store) copyTo(dir string, finish func(unfinished string) error) error {
	if _, err := s.fs.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("copy the database to %s: %w", dir, errors.Join(os.ErrExist, err))
	}
	unfinished := dir + partial
	err := s.fs.RemoveAll(unfinished)
	if err == nil {
		err = s.db.Checkpoint(unfinished)
	}
	if err == nil {
		err = finish(unfinished)
	}
	if err == nil {
		err = errors.Join(s.fs.Rename(unfinished, dir), syncDirectory(s.fs, s.fs.PathDir(dir)))
	}
	if err != nil {
		return fmt.Errorf("copy the database to %s: %w", dir, err)
	}
	return nil
}

// FlushSoon moves what is in memory to table files in the background, so that a
// copy soon after finds little to move.
func (s *Store) FlushSoon() {
	if s.guard.enter() {
		go func() {
			defer s.guard.leave()
			defer func() {
				if r := recover(); r != nil {
					_ = s.failure("the log", r) // the next write says so
				}
			}()
			_, _ = s.flush() // only to make the copy cheaper
		}()
	}
}

// flush begins to move what is in memory to tables, and answers a channel that is
// closed when it is there. While the head is copied it does nothing, or blocks that
// follow the head would come into the copy: moved is nil then.
func (s *Store) flush() (moved <-chan struct{}, err error) {
	s.flushing.Lock() // so that one that began before the copy is before it
	defer s.flushing.Unlock()
	if s.copying.Load() != nil {
		return nil, nil
	}
	return s.db.AsyncFlush()
}

func syncDirectory(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ListCheckpoints makes the directory that checkpoints are kept in, if there is
// none, removes what an interrupted copy left there, and answers the names of the
// others, sorted.
func ListCheckpoints(dir string, o Options) ([]string, error) {
	fs := o.fileSystem()
	if err := errors.Join(fs.MkdirAll(dir, 0o755), syncDirectory(fs, fs.PathDir(dir))); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	all, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var names []string
	for _, name := range all {
		if !strings.HasSuffix(name, partial) {
			names = append(names, name)
			continue
		}
		if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
			return nil, fmt.Errorf("remove a left-over: %w", err)
		}
	}
	slices.Sort(names)
	return names, nil
}

// RemoveCheckpoint removes a checkpoint. It loses its name first, so that a
// half-removed one is not taken for a whole one.
func RemoveCheckpoint(dir string, o Options) error {
	fs := o.fileSystem()
	dead := dir + partial
	if err := fs.RemoveAll(dead); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if err := fs.Rename(dir, dead); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if err := errors.Join(syncDirectory(fs, fs.PathDir(dir)), fs.RemoveAll(dead)); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

func (o *Options) fileSystem() vfs.FS {
	if o.FS == nil {
		return vfs.Default
	}
	return o.FS
}

// Reader is a database that is only read: a checkpoint. Its methods may be
// called from any goroutine.
type Reader struct {
	View
	s *Store
}

// OpenReader opens a checkpoint of a database that has a head.
// Errors: ErrForeign (no database, or one of another format), ErrNotFound (no
// head), ErrCorrupt, ErrLocked, or a failure of the file system.
func OpenReader(dir string, o Options) (*Reader, error) {
	s := newStore(dir, o)
	s.readOnly = true
	if _, err := s.fs.Stat(dir); err != nil {
		return nil, fmt.Errorf("open the copy in %s: %w", dir, err)
	}
	if err := s.openDir(o); err != nil {
		return nil, err
	}
	if s.head.Load() == nil {
		return nil, errors.Join(fmt.Errorf("head of %s: %w", dir, ErrNotFound), s.Close())
	}
	return &Reader{View: s.View, s: s}, nil
}

// Close waits for reads under way and closes the files.
func (r *Reader) Close() error { return r.s.Close() }
