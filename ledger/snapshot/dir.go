package snapshot

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"cairn/ledger/store"
)

// Keep is how many checkpoints a Dir holds.
const Keep = 2

// flushAhead is how many blocks before a checkpoint the database is told to
// empty its memory, so that little of it has to be moved then.
const flushAhead = 4

// Dir is the directory in which a node keeps the checkpoints that it serves:
// one a height, named by it, the newest Keep of them; an older one stays while it
// is open. Take is for one goroutine, everything else for any.
type Dir struct {
	path string
	o    store.Options

	mu       sync.Mutex
	heights  []uint64        // complete ones, rising
	open     map[uint64]bool // those that a Source reads
	removing sync.WaitGroup
	taking   sync.WaitGroup // of at most one
}

// OpenDir opens the directory of a database whose head is at a height, and makes
// it if there is none. It removes what an interrupted run left, checkpoints above
// the head, which are of another database, and all but the newest Keep of the
// others. Of o only the file system counts, and what Open is given.
func OpenDir(path string, o store.Options, head uint64) (*Dir, error) {
	names, err := store.ListCheckpoints(path, o)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, o: o, open: make(map[uint64]bool)}
	var above []uint64
	for _, name := range names {
		switch height, ok := parseName(name); {
		case ok && height > head:
			above = append(above, height)
		case ok:
			d.heights = append(d.heights, height)
		}
	}
	slices.Sort(d.heights)
	for _, height := range append(above, d.surplus()...) {
		if err := store.RemoveCheckpoint(d.Path(height), o); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parseName reads the height in a name; only the form that Path writes counts.
func parseName(name string) (uint64, bool) {
	height, err := strconv.ParseUint(name, 10, 64)
	return height, err == nil && strconv.FormatUint(height, 10) == name
}

// Path is where the checkpoint of a height is, or would be.
func (d *Dir) Path(height uint64) string {
	return filepath.Join(d.path, strconv.FormatUint(height, 10))
}

// Heights are the checkpoints that are complete, in rising order.
func (d *Dir) Heights() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]uint64(nil), d.heights...)
}

// Open opens the checkpoint of a height, once at a time.
// Errors: store.ErrNotFound (there is none, or no more), store.ErrLocked (it is
// open), and those of Open.
func (d *Dir) Open(height uint64) (*Source, error) {
	if err := d.reserve(height); err != nil {
		return nil, err
	}
	s, err := Open(d.Path(height), d.o) // takes its time: nobody else must wait for that
	if err != nil {
		d.release(height)
		return nil, err
	}
	s.closed = func() { d.release(height) }
	return s, nil
}

// reserve notes that a checkpoint is open.
func (d *Dir) reserve(height uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !slices.Contains(d.heights, height):
		return fmt.Errorf("checkpoint of height %d: %w", height, store.ErrNotFound)
	case d.open[height]:
		return fmt.Errorf("checkpoint of height %d: %w", height, store.ErrLocked)
	}
	d.open[height] = true
	return nil
}

// release is called when a Source is closed, or could not be opened.
func (d *Dir) release(height uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, height)
	if !slices.Contains(d.heights, height) {
		d.remove(height)
	}
}

// remove deletes a checkpoint in the background. What stays because of an error
// goes at the next start.
func (d *Dir) remove(height uint64) {
	d.removing.Go(func() { _ = store.RemoveCheckpoint(d.Path(height), d.o) })
}

// Take makes the checkpoint of the database at its head, whose height it is, and
// lets the oldest go, both beside what else happens to the database; told hears
// how the checkpoint went, in another goroutine. One that is there already stays,
// and nothing is told. Where one is still being made, Take waits for that.
func (d *Dir) Take(st *store.Store, height uint64, told func(took time.Duration, err error)) {
	d.taking.Wait()
	d.mu.Lock()
	n := len(d.heights)
	there := n > 0 && d.heights[n-1] >= height
	d.mu.Unlock()
	if there {
		return
	}
	began := time.Now()
	d.taking.Add(1)
	st.CheckpointHead(d.Path(height), func(err error) {
		defer d.taking.Done()
		if err == nil {
			d.add(height)
		}
		told(time.Since(began), err)
	})
}

// add notes a checkpoint that is complete.
func (d *Dir) add(height uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heights = append(d.heights, height)
	for _, old := range d.surplus() {
		if !d.open[old] {
			d.remove(old)
		}
	}
}

// surplus takes all but the newest Keep heights from the list.
func (d *Dir) surplus() []uint64 {
	n := max(0, len(d.heights)-Keep)
	old := d.heights[:n:n]
	d.heights = d.heights[n:]
	return old
}

// Ahead says whether the database should empty its memory at a height because a
// checkpoint comes soon.
func Ahead(height, interval uint64) bool {
	return interval > 2*flushAhead && height%interval == interval-flushAhead
}

// Close waits for what is under way: a checkpoint being made, which ends early
// when the database is closed, and removals.
func (d *Dir) Close() {
	d.taking.Wait()
	d.removing.Wait()
}
