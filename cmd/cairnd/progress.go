package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress tells on stderr how far a long command is: a bar with rate and time
// left on a terminal, a line now and then elsewhere.
type progress struct {
	w     io.Writer
	width int // of the terminal; 0 = none

	stage string
	first uint64 // done when the stage began
	begun time.Time
	last  time.Time
	drawn bool // a bar is on the terminal's line
}

// How often progress is told.
const (
	lineEvery = 2 * time.Second
	drawEvery = 100 * time.Millisecond
	barWidth  = 24
)

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, last: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.width = terminalWidth(f)
	}
	return p
}

// tell is called as often as the work likes; total 0 = not known.
func (p *progress) tell(stage string, done, total uint64) {
	now := time.Now()
	if stage != p.stage {
		p.stage, p.first, p.begun = stage, done, now
	}
	every := lineEvery
	if p.width > 0 {
		every = drawEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	text := p.text(done, total, now.Sub(p.begun))
	if p.width == 0 {
		fmt.Fprintln(p.w, text)
		return
	}
	text = text[:min(len(text), p.width-1)]
	fmt.Fprintf(p.w, "\r%-*s", p.width-1, text)
	p.drawn = true
}

// text is "stage [=====     ] 52.1%  done of total  rate/s  time left".
func (p *progress) text(done, total uint64, spent time.Duration) string {
	rate := 0.0
	if spent > 0 && done >= p.first {
		rate = float64(done-p.first) / spent.Seconds()
	}
	if total == 0 {
		return fmt.Sprintf("%s: %d  %.0f/s", p.stage, done, rate)
	}
	part := min(float64(done)/float64(total), 1)
	out := fmt.Sprintf("%s %s  %d of %d  %.0f/s", p.stage, bar(part), done, total, rate)
	if rate > 0 && done < total {
		out += "  " + timeLeft(float64(total-done)/rate)
	}
	return out
}

// bar is "[=====     ] 52.1%" of a part from 0 to 1.
func bar(part float64) string {
	full := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %.1f%%", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*part)
}

func timeLeft(seconds float64) string {
	return time.Duration(seconds*float64(time.Second)).Round(time.Second).String() + " left"
}

// end clears the bar, so that what follows has a line of its own.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprintf(p.w, "\r%-*s\r", p.width-1, "")
		p.drawn = false
	}
}
