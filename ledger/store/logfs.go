package store

import (
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS names what keeps an open database from making its next log: no file, no
// room. Pebble panics then, with a lock in a state that the runtime ends the
// process for, and nothing would say why.
type logFS struct {
	vfs.FS
	s *Store
}

// Create makes a file.
func (f logFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	f.look(name, err)
	return file, err
}

// ReuseForWrite makes a file of an old one.
func (f logFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, category)
	f.look(to, err)
	return file, err
}

// Unwrap is the file system without this.
func (f logFS) Unwrap() vfs.FS { return f.FS }

// look ends the process over a log that cannot be made. While the database is being
// opened Pebble answers with the error.
func (f logFS) look(name string, err error) {
	if err != nil && f.s.opened.Load() && f.PathDir(name) == f.PathDir(f.PathJoin(f.s.dir, "x")) && strings.HasSuffix(name, ".log") {
		f.s.end(f.s.fail(fmt.Errorf("%w: make the log %s: %w", ErrFailed, name, err)))
	}
}

// end tells of a failure after which the process must not go on, and ends it.
func (s *Store) end(err error) {
	if s.onFailure != nil {
		s.onFailure(err)
	}
	fmt.Fprintf(os.Stderr, "cairn: database in %s: %v\n", s.dir, err)
	os.Exit(ExitFailure)
}
