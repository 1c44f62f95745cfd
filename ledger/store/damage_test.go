package store

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/randtest"
)

var places = flag.Int("places", 50, "random places at which TestFlippedBits damages the database")

// lived is a database after a life of a few hundred blocks: tables on several
// levels, a manifest with many records, a log with synced votes that no table
// has; and what must be in it.
func lived(t *testing.T) (*vfs.MemFS, *script, moment) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	st := open(t, small(mem))
	s := newScript(151)
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	for view := s.records + 2; view < s.records+40; view += 2 { // votes above the head
		if err := st.PutRecords([]Record{{recordKey(view), noise(int(view), 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	m := moment{fs: mem.CrashClone(vfs.CrashCloneCfg{}), records: s.records, started: s.started, committed: s.committed}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return m.fs, s, m
}

// contents are all rows of a database, or why they cannot be read.
func contents(fs *vfs.MemFS) (rows map[string]string, err error) {
	st, err := Open("/home/node/ledger", small(fs))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	rows = map[string]string{}
	for _, t := range tables {
		if err := st.scan(t.name, []byte{t.prefix}, []byte{t.prefix + 1}, func(k, v []byte) error {
			rows[string(k)] = string(v)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// TestFlippedBits: a bit flipped anywhere in the files of a database is noticed
// and named, or changes nothing: no row, and above all no vote, is another one or
// gone. The very last write of a log and of the manifest is the one thing that looks
// like a power loss: it is spared here.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/store")
	fs, s, m := lived(t)
	if err := s.checkVotes(m); err != nil {
		t.Fatal(err)
	}
	want, err := contents(fs.CrashClone(vfs.CrashCloneCfg{}))
	if err != nil {
		t.Fatal(err)
	}
	files := dataFiles(t, fs)
	noticed, harmless := map[string]int{}, map[string]int{}
	for i := range *places {
		name := files[i%len(files)] // every file in turn: most bytes are in one table
		damaged := fs.CrashClone(vfs.CrashCloneCfg{})
		at := flipAt(t, damaged, name, r)
		got, err := contents(damaged)
		kind := kindOf(name)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt) && !strings.Contains(err.Error(), "OPTIONS"):
			t.Errorf("%s, bit %d: not named: %v", name, at, err)
		case err != nil:
			noticed[kind]++
		case len(got) != len(want):
			t.Errorf("%s, bit %d: %d rows instead of %d, and no error", name, at, len(got), len(want))
		default:
			harmless[kind]++
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s, bit %d: row %x is %x, was %x, and no error", name, at, k, got[k], v)
				}
			}
		}
	}
	t.Logf("noticed: %v; without effect: %v", noticed, harmless)
}

// checkVotes is check with the head's history left to the caller.
func (s *script) checkVotes(m moment) error {
	st, err := Open("/home/node/ledger", small(m.fs.CrashClone(vfs.CrashCloneCfg{})))
	if err != nil {
		return err
	}
	n := 0
	err = st.Records(func(_, _ []byte) error { n++; return nil })
	if err == nil && n < 19 {
		err = fmt.Errorf("%d records", n)
	}
	return errors.Join(err, st.Close())
}

func kindOf(name string) string {
	for _, kind := range []string{".sst", ".log", "MANIFEST", "OPTIONS"} {
		if strings.Contains(name, kind) {
			return kind
		}
	}
	return "other"
}

// dataFiles are the files that have bytes.
func dataFiles(t *testing.T, fs *vfs.MemFS) (out []string) {
	t.Helper()
	names, err := fs.List("/home/node/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := fs.Stat("/home/node/ledger/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 0 && kindOf(name) != "OPTIONS" { // comments and settings that this program sets itself
			out = append(out, name)
		}
	}
	slices.Sort(out)
	for _, kind := range []string{".sst", ".log", "MANIFEST"} {
		if !slices.ContainsFunc(out, func(n string) bool { return kindOf(n) == kind }) {
			t.Fatalf("no %s among %v", kind, out)
		}
	}
	return out
}

// flipAt flips a bit of a file and answers which. Of a log and of the manifest the
// last record is spared.
func flipAt(t *testing.T, fs *vfs.MemFS, name string, r *rand.Rand) int64 {
	t.Helper()
	path := "/home/node/ledger/" + name
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := info.Size()
	if kind := kindOf(name); kind == ".log" || kind == "MANIFEST" {
		b := make([]byte, size)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		size = int64(logFile{b: b, number: logNumberOf(name)}.lastChunk())
	}
	if size == 0 {
		size = 1
	}
	at, b := r.Int64N(size), make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	bit := r.IntN(8)
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return 8*at + int64(bit)
}

func logNumberOf(name string) (n uint32) {
	_, _ = fmt.Sscanf(name, "%d.log", &n)
	return n
}

// lastChunk is where the last whole chunk begins.
func (l logFile) lastChunk() (last int) {
	end := l.end()
	for at := 0; at < end; {
		size, _, ok := l.chunk(at)
		if !ok {
			at = (at/logBlock + 1) * logBlock
			continue
		}
		last, at = at, at+size
	}
	return last
}

// TestCopy: a copy of a closed database is one of its own.
func TestCopy(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir()+"/from", t.TempDir()+"/to"
	st, err := Open(from, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(31)
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	if err := Copy(from, to); !errors.Is(err, ErrLocked) {
		t.Fatalf("of an open one: %v", err)
	}
	if err := st.Compact(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Copy(from, to); err != nil {
		t.Fatal(err)
	}
	if err := Copy(from, to); err == nil {
		t.Error("over an existing one")
	}
	for _, dir := range []string{to, from, to} {
		st, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		at, err := st.Head()
		if err != nil || at.Height != 30 {
			t.Errorf("%s: head %+v, %v", dir, at, err)
		}
		if err := errors.Join(st.PutMeta("x", []byte(dir)), st.Compact(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
