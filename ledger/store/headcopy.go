package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// A copy of the database at exactly one height is made beside its use: what was
// written up to there is moved to tables, which never change; then the tables are
// linked, and the logs, which hold only what came later, are left out.

// copying is a CheckpointHead under way.
type copying struct {
	room    int64
	written atomic.Int64  // bytes since
	divided chan struct{} // closed when what is written goes to another log
	done    chan struct{} // closed when the copy is made, or is not
}

// beside lets a writer go on once its bytes can no longer come into the copy. So
// many that they might be moved to tables too, before those are linked, wait for
// the copy.
func (c *copying) beside(bytes int64) {
	<-c.divided
	if c.written.Add(bytes) > c.room {
		<-c.done
	}
}

// CheckpointHead copies the database to a directory that does not exist yet, as
// Checkpoint does, with the head as it is now: what is committed after the call
// is not in it. It does not wait for that: done is told how it went, in another
// goroutine. Writes go on meanwhile, after a moment in which the log is changed.
// It is for the goroutine that commits, once at a time.
func (s *Store) CheckpointHead(dir string, done func(error)) {
	head := s.head.Load()
	if head == nil {
		done(fmt.Errorf("copy the database to %s: head: %w", dir, ErrNotFound))
		return
	}
	if !s.guard.enter() {
		done(ErrClosed)
		return
	}
	c := &copying{room: s.roomBeside, divided: make(chan struct{}), done: make(chan struct{})}
	s.copying.Store(c)
	go func() {
		err := s.copyHead(dir, head.Height, c)
		s.copying.Store(nil)
		close(c.done)
		s.guard.leave()
		done(err)
	}()
}

func (s *Store) copyHead(dir string, height uint64, c *copying) (err error) {
	if err := s.divide(c); err != nil {
		return fmt.Errorf("copy the database to %s: %w", dir, err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = s.failure("the copy "+dir, r)
		}
	}()
	return s.copyTo(dir, func(unfinished string) error {
		if err := s.dropLogs(unfinished); err != nil {
			return err
		}
		return s.holds(unfinished, height)
	})
}

// divide has all that is written moved to tables, and what follows written to
// another log.
func (s *Store) divide(c *copying) (err error) {
	var moved <-chan struct{}
	func() {
		defer close(c.divided)
		defer func() {
			if r := recover(); r != nil {
				err = s.failure("the log", r)
			}
		}()
		s.flushing.Lock()
		defer s.flushing.Unlock()
		moved, err = s.db.AsyncFlush()
	}()
	if err != nil {
		return err
	}
	select {
	case <-moved:
		return nil
	case <-s.quit:
		return ErrClosed
	}
}

// dropLogs removes the logs of a copy.
func (s *Store) dropLogs(dir string) error {
	names, err := s.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			err = errors.Join(err, s.fs.Remove(s.fs.PathJoin(dir, name)))
		}
	}
	return errors.Join(err, syncDirectory(s.fs, dir))
}

// holds says whether the head of a copy has a height.
func (s *Store) holds(dir string, height uint64) error {
	r, err := OpenReader(dir, Options{FS: s.fs, CacheBytes: 1 << 20})
	if err != nil {
		return err
	}
	head, err := r.Head()
	if err == nil && head.Height != height {
		err = fmt.Errorf("%w: the copy is of height %d, height %d was wanted", ErrOutOfOrder, head.Height, height)
	}
	return errors.Join(err, r.Close())
}
