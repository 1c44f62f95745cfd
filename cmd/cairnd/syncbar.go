package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"cairn/node/rpc"
)

// syncBar is the last line of a terminal while the node catches up. The log goes
// through it: a record takes the line, and the bar is drawn again below it.
type syncBar struct {
	w     io.Writer
	width func() int // of the terminal, which may change

	mu   sync.Mutex
	text string // on the line; "" = nothing
	last time.Time
}

// newSyncBar is the bar of a terminal; nil if f is none.
func newSyncBar(f *os.File) *syncBar {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &syncBar{w: f, width: func() int { return terminalWidth(f) }}
}

// terminalWidth is in columns; 80 where the terminal does not say.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		return 80
	}
	return width
}

// clearLine goes to the first column and clears to the right.
const clearLine = "\r\x1b[K"

// Write is one record of the log.
func (b *syncBar) Write(record []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text == "" {
		return b.w.Write(record)
	}
	_, err := io.WriteString(b.w, clearLine)
	if err != nil {
		return 0, err
	}
	n, err := b.w.Write(record)
	if err != nil {
		return n, err
	}
	_, err = io.WriteString(b.w, b.text)
	return n, err
}

// tell draws how far the sync is; nil = it is over. It is a node.Config.Progress.
func (b *syncBar) tell(s *rpc.Sync) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == nil {
		if b.text != "" {
			fmt.Fprint(b.w, clearLine)
		}
		b.text = ""
		return
	}
	if now := time.Now(); now.Sub(b.last) >= drawEvery {
		text := syncText(s)
		b.text, b.last = text[:min(len(text), b.width()-1)], now
		fmt.Fprint(b.w, clearLine, b.text)
	}
}

// syncText is "replay [=====     ] 52.1%  5230 of 10040  412 blocks/s  12s left",
// or "snapshot [=====     ] 52.1%  of block 10040  7.5 MiB/s  12s left".
func syncText(s *rpc.Sync) string {
	out := s.Mode + " " + bar(s.Done)
	if s.Unit == "bytes" {
		out += fmt.Sprintf("  of block %d  %.1f MiB/s", uint64(s.Target), s.Rate/(1<<20))
	} else {
		out += fmt.Sprintf("  %d of %d  %.0f %s/s", uint64(s.Current), uint64(s.Target), s.Rate, s.Unit)
	}
	if s.ETA > 0 {
		out += "  " + timeLeft(s.ETA)
	}
	return out
}
