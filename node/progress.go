package node

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/node/rpc"
)

// Limits of what is said of a sync.
const (
	progressEvery  = 5 * time.Second // between two log lines
	progressWindow = 30 * time.Second
	progressMarks  = 64
)

// progress is how far this node is in catching up, or in the fill of its history. It is safe for concurrent
// use; the zero value is a node in step.
type progress struct {
	log    *slog.Logger
	notify func(*rpc.Sync) // nil, or hears of each change; nil value = in step

	mu     sync.Mutex
	now    *rpc.Sync
	marks  []mark // of the last progressWindow
	logged time.Time
}

// mark is how much was done at some time.
type mark struct {
	at     time.Time
	amount float64
	done   float64
}

// begin starts a way to catch up. Unit is what Rate counts.
func (p *progress) begin(mode, unit string, start, target uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = &rpc.Sync{Mode: mode, Unit: unit, Start: hexutil.Uint64(start), Current: hexutil.Uint64(start), Target: hexutil.Uint64(target)}
	p.marks = append(p.marks[:0], mark{at: time.Now()})
	p.logged = time.Now()
	if p.notify != nil {
		p.notify(p.now)
	}
}

// at notes where the node is: the height of its final head, the part of the work
// that is done, and how many units.
func (p *progress) at(height uint64, done, amount float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return
	}
	next := *p.now
	next.Current, next.Done = hexutil.Uint64(height), min(max(done, 0), 1)
	now := time.Now()
	if len(p.marks) == progressMarks || now.Sub(p.marks[0].at) > progressWindow {
		p.marks = append(p.marks[:0], p.marks[max(1, len(p.marks)/2):]...)
	}
	p.marks = append(p.marks, mark{now, amount, done})
	if first := p.marks[0]; now.After(first.at) {
		took := now.Sub(first.at).Seconds()
		next.Rate = (amount - first.amount) / took
		if part := (done - first.done) / took; part > 0 {
			next.ETA = (1 - next.Done) / part
		}
	}
	p.now = &next
	if p.notify != nil {
		p.notify(&next)
	}
	if now.Sub(p.logged) >= progressEvery {
		p.logged = now
		if p.notify == nil {
			p.log.Info("sync", "mode", next.Mode, "height", height, "target", uint64(next.Target),
				"done", percent(next.Done), "rate", int64(next.Rate), "unit", next.Unit+"/s", "eta", eta(next.ETA))
		}
	}
}

// aim moves the target.
func (p *progress) aim(target uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		next := *p.now
		next.Target = hexutil.Uint64(target)
		p.now = &next
	}
}

// end says that the node is in step, or that it stopped trying.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil && p.notify != nil {
		p.notify(nil)
	}
	p.now = nil
}

// get is how far the node is; nil = in step.
func (p *progress) get() *rpc.Sync {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func percent(part float64) int { return int(100 * part) }

func eta(seconds float64) string {
	if seconds <= 0 {
		return "unknown"
	}
	return (time.Duration(seconds) * time.Second).String()
}
