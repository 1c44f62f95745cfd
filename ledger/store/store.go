package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/crypto"
)

// Options are the operator's choices. The zero value is the default of each.
type Options struct {
	FS            vfs.FS // default: the machine's
	CacheBytes    int64  // block cache; default 64 MiB
	MemTableBytes uint64 // one memtable, of which up to three are held; default 32 MiB
	MaxOpenFiles  int    // default 512
	NoHistory     bool   // keep neither balances at old heights nor transactions by address
	Lazy          bool   // Commit does not wait for the disk: to build a database that can be built again

	// OnFailure is told once of a failure that happened outside any call, in one
	// of Pebble's own goroutines, after which the process must not go on. If it
	// is nil or returns, the process ends with ExitFailure.
	OnFailure func(error)
	// OnCorruption is told of a table that does not match its checksums. Reads
	// that touch it answer ErrCorrupt; nil means that only they tell.
	OnCorruption func(error)
	// Log gets Pebble's own messages; level is "info" or "error". Nil drops them.
	Log func(level, message string)
}

// ExitFailure is the exit code after a storage failure that nobody could be
// told of, EX_IOERR of sysexits.h.
const ExitFailure = 74

// Limits of memory and files.
const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 32 << 20
	defaultMaxOpenFiles  = 512
)

// Head is how far the ledger is, with the floor below which the vote log may
// sign nothing. Both move in the same batch.
type Head struct {
	Height uint64
	Hash   crypto.Hash
	Floor  Floor
}

// Floor is the epoch and view of the last block whose own finalization was
// committed.
type Floor struct {
	Epoch uint32
	View  uint64
}

// Store is the open database. Every method may be called from any goroutine,
// but Commit only from one at a time.
type Store struct {
	View
	db         *pebble.DB
	cache      *pebble.Cache
	fs         vfs.FS
	dir        string
	directory  *pebble.Lock
	joining    bool // a Joining, see there
	readOnly   bool
	noHistory  bool
	lazy       bool
	head       atomic.Pointer[headRow] // nil before block 0
	written    atomic.Uint64           // see Written
	recordsMu  sync.Mutex              // held while forgotten is changed
	forgotten  RecordRange             // of keys of the vote log, which is empty since it was deleted
	boundsMu   sync.Mutex              // held while the bounds are changed
	copying    atomic.Pointer[copying] // a CheckpointHead under way
	flushing   sync.Mutex              // held while a flush is begun
	quit       chan struct{}           // closed by Close
	roomBeside int64                   // bytes that may be written while a copy of the head begins
	opened     atomic.Bool             // by Pebble
	closing    sync.Once
	failed     atomic.Pointer[error]
	onFailure  func(error)
}

// Open opens the database in dir, and creates it, durably, if there is none.
// Errors: ErrNewerFormat, ErrForeign, ErrCorrupt, ErrLocked, ErrUnfinished, or a
// failure of the file system.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, o)
	if err := s.openDir(o); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(dir string, o Options) *Store {
	s := &Store{dir: dir, fs: o.FS, noHistory: o.NoHistory, lazy: o.Lazy, onFailure: o.OnFailure, quit: make(chan struct{})}
	s.roomBeside = int64(orDefault(o.MemTableBytes, defaultMemTableBytes) / 4)
	if s.fs == nil {
		s.fs = vfs.Default
	}
	return s
}

// openDir locks the directory and opens the database in it.
func (s *Store) openDir(o Options) error {
	s.cache = pebble.NewCache(cacheBytes(o))
	defer s.cache.Unref() // Pebble holds its own reference
	if !s.readOnly {
		if err := s.create(o); err != nil {
			return err
		}
	}
	var err error
	if s.directory, err = pebble.LockDirectory(s.dir, s.fs); err != nil {
		return openError(s.dir, err)
	}
	for _, check := range []func(vfs.FS, string) error{checkManifest, checkLog} {
		if err := check(s.fs, s.dir); err != nil {
			return errors.Join(err, s.directory.Close())
		}
	}
	if err := s.open(o); err != nil {
		return errors.Join(err, s.directory.Close())
	}
	return nil
}

// create makes the database, if there is none, and closes it again.
// Pebble makes the directory and everything in it durable, but begins the first
// log before it has raised the format: that log has no synced offsets, and
// damage in it would look like its end. The next one has them.
func (s *Store) create(o Options) error {
	switch found, err := pebble.Peek(s.dir, s.fs); {
	case err == nil && found.Exists:
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return openError(s.dir, err)
	}
	db, err := pebble.Open(s.dir, s.pebbleOptions(o))
	if err != nil {
		return openError(s.dir, err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("create the database in %s: %w", s.dir, err)
	}
	return nil
}

// open opens the database in the locked directory and reads what the store needs
// to know of it.
func (s *Store) open(o Options) error {
	options := s.pebbleOptions(o)
	options.Lock, options.ReadOnly = s.directory, s.readOnly
	var err error
	if s.db, err = pebble.Open(s.dir, options); err != nil {
		return openError(s.dir, err)
	}
	s.View = View{r: s.db, guard: &guard{}, noHistory: o.NoHistory, bounds: new(atomic.Pointer[Bounds])}
	row, err := s.start()
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	s.head.Store(row)
	s.opened.Store(true)
	return nil
}

func (s *Store) start() (*headRow, error) {
	if err := s.checkFormat(); err != nil {
		return nil, err
	}
	if unfinished, err := s.has("a join", targetKey); err != nil {
		return nil, err
	} else if unfinished && !s.joining {
		return nil, fmt.Errorf("%s: %w", s.dir, ErrUnfinished)
	}
	if err := s.checkHistory(); err != nil {
		return nil, err
	}
	if err := s.readBounds(); err != nil {
		return nil, err
	}
	if err := s.readWritten(); err != nil {
		return nil, err
	}
	row, err := s.headRow()
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &row, err
}

func (s *Store) readWritten() error {
	raw, err := s.get("writes of the vote log", writtenKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case len(raw) != 8:
		return corrupt("writes of the vote log", fmt.Sprintf("%x", raw))
	}
	s.written.Store(binary.BigEndian.Uint64(raw))
	return nil
}

func orDefault[T int | int64 | uint64](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

func openError(dir string, err error) error {
	var kind ErrorKind
	switch text := err.Error(); {
	case strings.Contains(text, "unknown format major version"):
		kind = ErrNewerFormat
	case pebble.IsCorruptionError(err), strings.Contains(text, "unknown to the objstorage provider"): // a table is missing
		kind = ErrCorrupt
	case strings.Contains(text, "lock") && strings.Contains(text, "held by") || strings.Contains(text, "resource temporarily unavailable"):
		kind = ErrLocked
	case operatingSystem(err):
		return fmt.Errorf("open the database in %s: %w", dir, err)
	default: // Pebble names few kinds of damage; all else that it says of an existing database is damage, too
		kind = ErrCorrupt
	}
	return fmt.Errorf("open the database in %s: %w: %w", dir, kind, err)
}

// operatingSystem says whether an error is of the operating system, such as a file
// that may not be read, and not of what is in the files. That a file is not there
// is damage: Pebble makes those that it lacks.
func operatingSystem(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number) && number != syscall.ENOENT
}

// cacheBytes is what Pebble's cache is opened with. Pebble takes the memory of
// memtables out of it, also of the one that it keeps to use again; without room for
// two of them no block would stay in a cache of their size.
func cacheBytes(o Options) int64 {
	return orDefault(o.CacheBytes, defaultCacheBytes) + 2*int64(orDefault(o.MemTableBytes, defaultMemTableBytes))
}

func (s *Store) pebbleOptions(o Options) *pebble.Options {
	p := &pebble.Options{
		FS:    logFS{s.fs, s},
		Cache: s.cache,
		// Below FormatWALSyncChunks a flipped bit in the newest log looks like
		// the log's end, and synced votes after it vanish without an error.
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                orDefault(o.MemTableBytes, defaultMemTableBytes),
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                orDefault(o.MaxOpenFiles, defaultMaxOpenFiles),
		L0CompactionThreshold:       4,
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      &logger{s: s, log: o.Log},
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				if o.OnCorruption != nil {
					o.OnCorruption(corrupt(i.Path, i.Details))
				}
			},
		},
	}
	p.TargetFileSizes[0] = 4 << 20
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	p.Levels[len(p.Levels)-1].FilterPolicy = pebble.NoFilterPolicy // Pebble reads no filter there
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionBalanced })
	return p
}

// checkFormat reads the version of the key table, writes it to an empty database,
// and migrates an older one.
func (s *Store) checkFormat() error {
	raw, err := s.get("format version", formatKey)
	switch {
	case errors.Is(err, ErrNotFound) && s.readOnly:
		return fmt.Errorf("%s: %w", s.dir, ErrForeign)
	case errors.Is(err, ErrNotFound):
		it, err := s.db.NewIter(nil)
		if err != nil {
			return readError("first key", err)
		}
		empty := !it.First()
		if err := it.Close(); err != nil {
			return readError("first key", err)
		}
		if !empty {
			return fmt.Errorf("%s: %w", s.dir, ErrForeign)
		}
		b := s.db.NewBatch()
		_ = b.Set(formatKey, binary.BigEndian.AppendUint32(nil, FormatVersion), nil)
		return s.apply("the format version", b, true)
	case err != nil:
		return err
	case len(raw) != 4:
		return corrupt("format version", fmt.Sprintf("%x", raw))
	}
	switch v := binary.BigEndian.Uint32(raw); {
	case s.readOnly && v != FormatVersion:
		return fmt.Errorf("%s: %w: a copy in format %d, which is only read in format %d", s.dir, ErrForeign, v, FormatVersion)
	case v > FormatVersion:
		return fmt.Errorf("%s: %w: format %d, this program knows %d", s.dir, ErrNewerFormat, v, FormatVersion)
	case v == 0:
		return corrupt("format version", v)
	case v < FormatVersion:
		return s.migrate()
	}
	return nil
}

// historyOff marks a database that was open without history at least once: its
// history has a gap, and an answer from it could be wrong.
const historyOff = "history-off"

func (s *Store) checkHistory() error {
	_, err := s.Meta(historyOff)
	switch {
	case err == nil:
		s.noHistory, s.View.noHistory = true, true
		return nil
	case !errors.Is(err, ErrNotFound):
		return err
	case s.noHistory && !s.readOnly:
		return s.PutMeta(historyOff, []byte{1})
	}
	return nil
}

// Close waits for reads under way and closes the database. After a failed write
// it leaves Pebble alone, whose state is then not known, and answers ErrFailed.
func (s *Store) Close() error {
	s.closing.Do(func() { close(s.quit) })
	if !s.guard.close() {
		return nil
	}
	if f := s.failed.Load(); f != nil {
		return *f
	}
	if err := errors.Join(s.db.Close(), s.directory.Close()); err != nil {
		return fmt.Errorf("close the database in %s: %w", s.dir, err)
	}
	return nil
}

// apply writes a batch. Any error is final: see ErrFailed.
func (s *Store) apply(what string, b *pebble.Batch, sync bool) (err error) {
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	if f := s.failed.Load(); f != nil {
		return *f
	}
	defer func() {
		if r := recover(); r != nil {
			err = s.failure(what, r)
		}
	}()
	if c := s.copying.Load(); c != nil {
		c.beside(int64(b.Len()))
	}
	o := pebble.NoSync
	if sync {
		o = pebble.Sync
	}
	if err := b.Commit(o); err != nil {
		return s.fail(fmt.Errorf("write %s: %w: %w", what, ErrFailed, err))
	}
	_ = b.Close()
	return nil
}

// failure is what Pebble panicked with. It has two ways to say that a log could not
// be written or a directory not be synced: a panic with the error, and
// Logger.Fatalf, which must not return. Any other panic goes on.
func (s *Store) failure(what string, panicked any) error {
	var fault runtime.Error
	err, ok := panicked.(error)
	if !ok || errors.As(err, &fault) {
		panic(panicked)
	}
	return s.fail(fmt.Errorf("write %s: %w: %w", what, ErrFailed, err))
}

// fail remembers the first failure and answers it.
func (s *Store) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	return *s.failed.Load()
}

// Failed is the failure after which the store refuses writes, or nil.
func (s *Store) Failed() error {
	if f := s.failed.Load(); f != nil {
		return *f
	}
	return nil
}

// logger gives Pebble's messages a place and its fatal errors a name.
type logger struct {
	s   *Store
	log func(level, message string)
}

// fatalError is what Fatalf panics with.
type fatalError string

func (e fatalError) Error() string { return string(e) }

func (l *logger) Infof(format string, args ...any)  { l.write("info", format, args) }
func (l *logger) Errorf(format string, args ...any) { l.write("error", format, args) }

func (l *logger) write(level, format string, args []any) {
	if l.log != nil {
		l.log(level, fmt.Sprintf(format, args...))
	}
}

// Fatalf never returns: Pebble's code after it relies on that. A failed commit
// becomes an error of the call that made it; anything else happened in a
// goroutine that nobody waits for, so OnFailure hears of it and the process ends.
func (l *logger) Fatalf(format string, args ...any) {
	e := fatalError(fmt.Sprintf(format, args...))
	err := l.s.fail(fmt.Errorf("%w: %w", ErrFailed, e))
	if strings.Contains(format, "fatal commit error") {
		panic(e)
	}
	l.s.end(err)
}

// guard lets Close wait for calls under way: Pebble panics when it is used after
// Close. A call inside a callback of another is answered ErrClosed once Close
// has begun, so that Close never waits for itself.
type guard struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // made by close, closed when the last call has left
}

func (g *guard) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// close waits until nobody is inside. It says whether this was the first call.
func (g *guard) close() bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.closed, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
	return true
}
