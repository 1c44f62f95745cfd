package store

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestOutOfFiles: where the operating system gives no more files, a database goes on
// when it does again, or refuses every later write and says why; nothing that had
// returned is lost, and what is there is whole.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	for _, file := range []string{".sst", ".log"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			refused, told := new(atomic.Int64), make(chan error, 1)
			st := openFailing(t, told, func(op errorfs.Op) error {
				switch op.Kind {
				case errorfs.OpCreate, errorfs.OpOpen, errorfs.OpReuseForWrite:
					if strings.HasSuffix(op.Path, file) {
						refused.Add(1)
						return syscall.EMFILE
					}
				}
				return nil
			})
			s := newScript(151)
			st.on.On()
			done := make(chan error, 1)
			go func() { done <- s.run(st.Store) }()
			deadline := time.After(30 * time.Second)
			for refused.Load() == 0 {
				select {
				case <-time.After(time.Millisecond): // between two looks, with a deadline
				case <-deadline:
					t.Fatal("no file was asked for")
				}
			}
			st.on.Off() // others have closed theirs
			var err error
			select {
			case err = <-done:
			case err = <-told:
			case <-deadline:
				t.Fatal("neither goes on nor says why not")
			}
			if err != nil && !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			t.Logf("after %d refused files: %v", refused.Load(), err)
			if err := s.check(s.lose(st.mem)); err != nil {
				t.Error(err)
			}
			if err == nil {
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			} else if next := st.PutMeta("x", nil); !errors.Is(next, ErrFailed) {
				t.Errorf("a write after %v: %v, want ErrFailed", err, next)
			}
		})
	}
}
