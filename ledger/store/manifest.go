package store

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkManifest answers ErrCorrupt when the manifest of the database in dir, the
// list of its tables, is damaged before its last record. It is a log as well, of
// chunks with the plain header (log.go), and Pebble takes the first damaged one
// for its end, too: the tables that the lost records name would be deleted as
// unknown, with votes that are in no log any more. Damage in the very last record
// still looks like a power loss.
func checkManifest(fs vfs.FS, dir string) error {
	found, err := pebble.Peek(dir, fs)
	if err != nil {
		return openError(dir, err)
	}
	if !found.Exists {
		return nil
	}
	path := found.ManifestFilename
	b, err := readFile(fs, path)
	if err != nil {
		return err
	}
	m := logFile{b: b}
	end := m.end()
	if at, ok := m.plainBeyond(end); ok {
		return fmt.Errorf("%w: manifest %s is damaged at byte %d, and goes on at byte %d", ErrCorrupt, path, end, at)
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	b, err := io.ReadAll(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// plainBeyond looks for a whole chunk with the plain header after end.
func (l logFile) plainBeyond(end int) (int, bool) {
	for at := end + 1; at+plainHeader < len(l.b); at++ {
		if kind := l.b[at+6]; kind == 0 || kind > lastPlainKind || binary.LittleEndian.Uint16(l.b[at+4:]) == 0 {
			continue
		}
		if _, _, ok := l.chunk(at); ok {
			return at, true
		}
	}
	return 0, false
}
