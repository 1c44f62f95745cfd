package rpc

import (
	"context"
	"sync"
)

// places bounds what is done at once, and shares it fairly: callers who wait get
// a place in turn, however many of one caller's requests wait, and no caller has
// more than three quarters of them. So one that sends more than the node can do
// slows down itself.
type places struct {
	mu    sync.Mutex
	free  int
	most  int // of one caller that is not exempt
	held  map[string]int
	lines map[string][]*waiter // of those who wait, first come first
	turns []string             // whose turn it is, of lines
}

// waiter is a request that waits for its place.
type waiter struct {
	granted chan struct{} // closed when it has its place
	given   bool
	gone    bool
}

func newPlaces(n int) *places {
	return &places{free: n, most: max(1, n-n/4), held: make(map[string]int), lines: make(map[string][]*waiter)}
}

// enter takes a place for a caller. Errors: that of ctx; errStopping.
func (p *places) enter(ctx context.Context, stopping <-chan struct{}, who string) error {
	if p.tryEnter(who) {
		return nil
	}
	p.mu.Lock()
	w := p.queueLocked(who)
	p.grantLocked() // one may have come free meanwhile
	p.mu.Unlock()
	return p.wait(ctx, stopping, who, w)
}

// pass gives a place to whoever waits and comes back for one, behind them. Without
// anybody who waits it does nothing. With an error the place is given back.
func (p *places) pass(ctx context.Context, stopping <-chan struct{}, who string) error {
	p.mu.Lock()
	if len(p.turns) == 0 {
		p.mu.Unlock()
		return nil
	}
	w := p.queueLocked(who)
	p.leaveLocked(who)
	p.mu.Unlock()
	return p.wait(ctx, stopping, who, w)
}

// queueLocked puts a request at the end of its caller's line.
func (p *places) queueLocked(who string) *waiter {
	w := &waiter{granted: make(chan struct{})}
	if len(p.lines[who]) == 0 {
		p.turns = append(p.turns, who)
	}
	p.lines[who] = append(p.lines[who], w)
	return w
}

// wait waits for the place of a request in line.
func (p *places) wait(ctx context.Context, stopping <-chan struct{}, who string, w *waiter) error {
	var err error
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-stopping:
		err = errStopping
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.gone = true
	if w.given { // both happened
		p.leaveLocked(who)
	}
	return err
}

// tryEnter takes a place if there is one now.
func (p *places) tryEnter(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ok := p.mayLocked(who)
	if ok {
		p.takeLocked(who)
	}
	return ok
}

// leave gives a place back.
func (p *places) leave(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(who)
}

func (p *places) mayLocked(who string) bool {
	return p.free > 0 && (p.held[who] < p.most || exempt(who))
}

func (p *places) takeLocked(who string) {
	p.free--
	p.held[who]++
}

func (p *places) leaveLocked(who string) {
	p.free++
	if p.held[who]--; p.held[who] == 0 {
		delete(p.held, who)
	}
	p.grantLocked()
}

// grantLocked gives free places to those who wait, one to each in turn.
func (p *places) grantLocked() {
	for passed := 0; p.free > 0 && passed < len(p.turns); {
		who := p.turns[0]
		line := p.lines[who]
		for len(line) > 0 && line[0].gone {
			line = line[1:]
		}
		if len(line) == 0 {
			delete(p.lines, who)
			p.turns = p.turns[1:]
			continue
		}
		p.turns = append(p.turns[1:], who)
		if passed++; !p.mayLocked(who) {
			p.lines[who] = line
			continue
		}
		p.takeLocked(who)
		line[0].given = true
		close(line[0].granted)
		line, passed = line[1:], 0
		if p.lines[who] = line; len(line) == 0 {
			delete(p.lines, who)
			p.turns = p.turns[:len(p.turns)-1]
		}
	}
}

// taken is how many places are held.
func (p *places) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, held := range p.held {
		n += held
	}
	return n
}
