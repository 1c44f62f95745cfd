package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/node/rpc"
)

// terminal is a terminal of 100 columns and what is drawn on it.
func terminal(t *testing.T) (screen *os.File, drawn func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this machine gives no terminal: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100})
	}
	if err != nil {
		t.Skipf("this machine gives no terminal: %v", err)
	}
	if screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skipf("this machine gives no terminal: %v", err)
	}
	var mu sync.Mutex
	var all bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		part := make([]byte, 4096)
		for {
			n, err := master.Read(part)
			mu.Lock()
			all.Write(part[:n])
			mu.Unlock()
			if err != nil {
				return // the other end was closed
			}
		}
	}()
	t.Cleanup(func() {
		if err := screen.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		<-ended
	})
	return screen, func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// TestSyncBar: on a terminal a sync has a bar with rate and time left as the last
// line, the log goes on above it, and nothing of it is left at the end. Elsewhere
// there is none.
func TestSyncBar(t *testing.T) {
	t.Parallel()
	screen, drawn := terminal(t)
	b := newSyncBar(screen)
	if b == nil {
		t.Fatal("a terminal gets no bar")
	}
	shows := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(drawn(), what); {
			if time.Now().After(deadline) {
				t.Fatalf("the terminal does not show %q but %q", what, drawn())
			}
			time.Sleep(time.Millisecond) // between two looks at a state, with a deadline
		}
	}
	const replay = "replay [============            ] 50.0%  5120 of 10240  412 blocks/s  12s left"
	b.tell(&rpc.Sync{Mode: rpc.SyncReplay, Unit: "blocks", Current: 5120, Target: 10240, Done: 0.5, Rate: 412, ETA: 12.4})
	shows(clearLine + replay)
	slog.New(slog.NewTextHandler(b, nil)).Info("a record")
	shows("msg=\"a record\"\r\n" + replay)
	b.last = time.Time{} // as after a while
	b.tell(&rpc.Sync{Mode: rpc.SyncSnapshot, Unit: "bytes", Target: 10240, Done: 1, Rate: 7.5 * (1 << 20)})
	shows(clearLine + "snapshot [========================] 100.0%  of block 10240  7.5 MiB/s")
	b.tell(nil)
	if _, err := b.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	shows(clearLine + "the end\r\n")
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	if newSyncBar(file) != nil {
		t.Error("a file gets a bar")
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
