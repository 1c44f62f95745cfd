//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	stallTick   = 20 * time.Millisecond
	stallNoted  = 100 * time.Millisecond
	readEvery   = 500 * time.Millisecond
	maxStalls   = 4096
	stallMemory = 2 * giveUp
)

// machine notes what else this machine does: when it kept the program itself
// waiting, and for how much of the time anything waited for a processor or the
// disk. A time that is measured meanwhile says as much about the machine as about
// the network. It excuses nothing; it is told with every time that is too long.
type machine struct {
	mu       sync.Mutex
	stalls   []stall    // oldest first, at most maxStalls of the last stallMemory
	first    *pressure  // of this call; nil = the kernel does not tell
	readings []pressure // of the last stallMemory, oldest first
}

type stall struct {
	end  time.Time
	took time.Duration
}

// pressure is for how long, since the machine was started, some task waited.
type pressure struct {
	at        time.Time
	cpu, disk time.Duration
}

// watch notes every tick that comes late, until ctx ends.
func (m *machine) watch(ctx context.Context) {
	tick := time.NewTicker(stallTick)
	defer tick.Stop()
	var read time.Time
	for last := time.Now(); ; {
		if last.Sub(read) >= readEvery {
			read = last
			if p, ok := readPressure(); ok {
				m.read(p)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		m.stalled(now, now.Sub(last)-stallTick)
		last = now
	}
}

func (m *machine) stalled(end time.Time, took time.Duration) {
	if took < stallNoted {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.stalls) > 0 && (len(m.stalls) >= maxStalls || end.Sub(m.stalls[0].end) > stallMemory) {
		m.stalls = m.stalls[1:]
	}
	m.stalls = append(m.stalls, stall{end, took})
}

// longest is the longest stall that ended after a moment; 0 = none.
func (m *machine) longest(since time.Time) (longest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.stalls {
		if one.end.After(since) {
			longest = max(longest, one.took)
		}
	}
	return longest
}

func (m *machine) read(p pressure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		m.first = &p
	}
	for len(m.readings) > 0 && p.at.Sub(m.readings[0].at) > stallMemory {
		m.readings = m.readings[1:]
	}
	m.readings = append(m.readings, p)
}

// waited is the part of the time, 0 to 1, since the last reading before a moment
// in which some task waited for a processor, and for the disk. The zero moment is
// the beginning of this call.
func (m *machine) waited(since time.Time) (cpu, disk float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		return 0, 0
	}
	from, to := *m.first, m.readings[len(m.readings)-1]
	for _, p := range m.readings {
		if p.at.Before(since) {
			from = p
		}
	}
	took := to.at.Sub(from.at)
	if took <= 0 {
		return 0, 0
	}
	return float64(to.cpu-from.cpu) / float64(took), float64(to.disk-from.disk) / float64(took)
}

// readPressure asks the kernel (PSI, Linux 4.20).
func readPressure() (p pressure, ok bool) {
	p.at = time.Now()
	for path, into := range map[string]*time.Duration{"/proc/pressure/cpu": &p.cpu, "/proc/pressure/io": &p.disk} {
		raw, err := os.ReadFile(path)
		if err != nil {
			return p, false
		}
		var a, b, c float64
		var total int64
		if _, err := fmt.Sscanf(string(raw), "some avg10=%f avg60=%f avg300=%f total=%d", &a, &b, &c, &total); err != nil {
			return p, false
		}
		*into = time.Duration(total) * time.Microsecond
	}
	return p, true
}
