// Package storetest is for tests that cut the power in the middle of a write.
package storetest

import "github.com/cockroachdb/pebble/v2/vfs"

// FS is a file system whose operations may be observed with copies of a
// vfs.MemFS. Wrap it around all others: MemFS.ReuseForWrite takes a lock twice that
// a copy in between wants alone, and so would stand still for ever. Renaming and
// opening are the same as two operations.
func FS(fs vfs.FS) vfs.FS { return renaming{fs} }

type renaming struct{ vfs.FS }

func (r renaming) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := r.Rename(from, to); err != nil {
		return nil, err
	}
	return r.OpenReadWrite(to, category)
}

// Unwrap is for vfs.Root.
func (r renaming) Unwrap() vfs.FS { return r.FS }
