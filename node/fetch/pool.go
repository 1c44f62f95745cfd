package fetch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Limits of a Pool.
const (
	perPeer     = 3                // questions put to one peer at once by Ask, and one more by Gather; a server answers 8
	answerWait  = 20 * time.Second // for one answer, after which the peer is slow
	hedgeAfter  = 3 * time.Second  // without an answer, another peer is asked too, and so on
	atOnce      = 3                // peers asked the same
	patience    = 10 * time.Second // for a peer to become free, after which there is nobody
	restFirst   = time.Second      // a peer that failed is left alone, twice as long each time
	restLast    = time.Minute
	liarFor     = time.Hour // a peer that lied is left alone
	lookAgain   = 250 * time.Millisecond
	maxKnown    = 1024 // peers remembered
	rateWeight  = 0.3  // of the newest answer in a peer's mean rate
	minMeasured = 16 << 10
	farBehind   = 16 // times slower than the best, a peer is not asked while the best is only busy, for hedgeAfter at most
)

// ErrorKind names why a question has no answer. Match it with errors.Is.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of error.
const (
	// ErrNobody: every peer was asked, or none could be for some time.
	ErrNobody = ErrorKind("no peer has answered")
	// ErrAbsent is for a check: an honest answer that the peer does not have it.
	// Another is asked, and this one is not held to have lied.
	ErrAbsent = ErrorKind("the peer does not have it")
	// ErrOwn is for a check: this node failed, not the peer. Ask ends with it.
	ErrOwn = ErrorKind("the answer could not be taken")
)

// Network is how a Pool reaches peers.
type Network interface {
	// Peers are those that may be asked now, in any order.
	Peers() []peer.ID
	// Request asks one and waits for its answer.
	Request(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error)
	// Lied hears of an answer that proves its sender wrong.
	Lied(p peer.ID, name string, err error)
	// Failed hears of a peer that gave no answer.
	Failed(p peer.ID, name string, err error)
}

// Pool is a set of peers and what is known of how they answer. It is safe for
// concurrent use.
type Pool struct {
	net Network

	mu    sync.Mutex
	known map[peer.ID]*standing
	freed chan struct{} // closed when a peer may have become free
}

// standing is how one peer did so far.
type standing struct {
	active   int
	rate     float64 // bytes per second, 0 = not measured
	failures int     // in a row
	restTo   time.Time
	lied     bool
}

// New makes a pool of the peers of a network.
func New(net Network) *Pool {
	return &Pool{net: net, known: make(map[peer.ID]*standing), freed: make(chan struct{})}
}

// Question is what to ask and how to look at an answer.
type Question[T any] struct {
	Name    string // of the request
	Request []byte
	// Check makes a value of an answer or says what is wrong with it. An error
	// that is neither ErrAbsent nor ErrOwn is a lie. It may be called for two
	// peers at once and may take its time.
	Check func(p peer.ID, answer []byte) (T, error)
	// May says whether to ask a peer at all; nil = anybody.
	May func(p peer.ID) bool
	// Short says of a value that passed that its answer left out what an honest
	// peer would have sent with it. nil = none does.
	Short func(T) bool
	// Worth is the part of what one could hope for that a value which passed has,
	// above 0 and up to 1: who sends half of it is as good as one who takes twice
	// as long. nil = 1.
	Worth func(T) float64
}

// attempt is the outcome of asking one peer.
type attempt[T any] struct {
	peer  peer.ID
	value T
	err   error
}

// Ask puts a question to peers until an answer passes. It answers the value and
// who gave it. Errors: ErrNobody with the last reason, ErrOwn, those of ctx.
func Ask[T any](ctx context.Context, pool *Pool, q Question[T]) (T, peer.ID, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what still waits for the slower peer
	var zero T
	var last error
	tried := make(map[peer.ID]bool)
	answers := make(chan attempt[T], atOnce)
	arrived := make(chan struct{}, atOnce) // an answer that is being checked now
	var waiting int
	var hedge <-chan time.Time
	for {
		if waiting == 0 {
			p, err := pool.take(ctx, q.May, tried)
			if err != nil {
				if last != nil && errors.Is(err, ErrNobody) {
					err = fmt.Errorf("%w: %w", err, last)
				}
				return zero, "", err
			}
			waiting, hedge = 1, time.After(hedgeAfter)
			tried[p] = true
			go askOne(ctx, pool, p, q, arrived, answers)
		}
		select {
		case <-ctx.Done():
			return zero, "", ctx.Err()
		case <-arrived:
			hedge = nil // what takes time now is the check: another answer would need it too
		case <-hedge:
			hedge = nil
			if waiting < atOnce {
				hedge = time.After(hedgeAfter)
				if p, ok := pool.tryTake(q.May, tried, perPeer); ok {
					waiting++
					tried[p] = true
					go askOne(ctx, pool, p, q, arrived, answers)
				}
			}
		case a := <-answers:
			waiting--
			switch {
			case a.err == nil:
				return a.value, a.peer, nil
			case ctx.Err() != nil:
				return zero, "", ctx.Err()
			case errors.Is(a.err, ErrOwn):
				return zero, "", a.err
			}
			last = fmt.Errorf("%s: %w", a.peer, a.err)
			hedge = time.After(hedgeAfter)
		}
	}
}

// askOne asks a peer that was taken, gives it back and judges it.
func askOne[T any](ctx context.Context, pool *Pool, p peer.ID, q Question[T], arrived chan<- struct{}, out chan<- attempt[T]) {
	a := attempt[T]{peer: p}
	rctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	begun := time.Now()
	raw, err := pool.net.Request(rctx, p, q.Name, q.Request)
	took := time.Since(begun)
	pool.release(p)
	switch {
	case err != nil && ctx.Err() != nil:
		pool.overtaken(p, took)
		a.err = err
	case err != nil:
		pool.failed(p)
		pool.net.Failed(p, q.Name, err)
		a.err = err
	default:
		select {
		case arrived <- struct{}{}:
		default: // nobody waits for it
		}
		a.value, a.err = q.Check(p, raw)
		switch {
		case a.err == nil:
			worth := 1.0
			if q.Worth != nil {
				worth = q.Worth(a.value)
			}
			pool.answered(p, len(raw), took, worth, q.Short != nil && q.Short(a.value))
		case errors.Is(a.err, ErrAbsent), errors.Is(a.err, ErrOwn), ctx.Err() != nil:
		default:
			pool.lied(p)
			pool.net.Lied(p, q.Name, a.err)
		}
	}
	out <- a
}

// take waits for a peer that may be asked. Error: ErrNobody once all were asked
// or none was free for a time; those of ctx.
func (l *Pool) take(ctx context.Context, may func(peer.ID) bool, tried map[peer.ID]bool) (peer.ID, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	begun, slower := time.Now(), float64(farBehind)
	for {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if time.Since(begun) >= hedgeAfter {
			slower = math.Inf(1) // the fast ones hold what they were asked: a slow one is better than none
		}
		l.mu.Lock()
		p, left := l.choose(may, tried, perPeer, slower)
		freed := l.freed
		l.mu.Unlock()
		if p != "" {
			return p, nil
		}
		if !left && len(tried) > 0 {
			return "", fmt.Errorf("%w: %d were asked", ErrNobody, len(tried))
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-freed:
		case <-again.C: // peers come and go, and rests end
		case <-deadline.C:
			return "", fmt.Errorf("%w: none was free for %s", ErrNobody, patience)
		}
	}
}

func (l *Pool) tryTake(may func(peer.ID) bool, tried map[peer.ID]bool, most int) (peer.ID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, _ := l.choose(may, tried, most, math.Inf(1))
	return p, p != ""
}

// choose takes the best free peer: the least busy, of those the fastest; one
// that was never measured counts as fast, so that it is. One that is so many times
// slower than one who is only busy is not worth it: the other will be free sooner.
// left says whether one that is busy, with most questions, or rests now may be
// asked later. mu is held.
func (l *Pool) choose(may func(peer.ID) bool, tried map[peer.ID]bool, most int, slower float64) (best peer.ID, left bool) {
	now := time.Now()
	var of *standing
	fastest := 0.0 // of those who are busy
	for _, p := range l.net.Peers() {
		s := l.standing(p, now)
		if s.lied || tried[p] || may != nil && !may(p) {
			continue
		}
		if s.active >= most || now.Before(s.restTo) {
			left = true
			if !now.Before(s.restTo) {
				fastest = max(fastest, s.rate)
			}
			continue
		}
		if of == nil || s.before(of) {
			best, of = p, s
		}
	}
	if of == nil || of.rate > 0 && of.rate*slower < fastest {
		return "", left
	}
	of.active++
	return best, left
}

// before says whether s is asked before t: who is done first with one question
// more.
func (s *standing) before(t *standing) bool {
	if s.rate == 0 || t.rate == 0 {
		return s.active < t.active || s.active == t.active && s.rate == 0 && t.rate != 0
	}
	return float64(s.active+1)/s.rate < float64(t.active+1)/t.rate
}

// standing answers a peer's, with a lie forgotten after its time; mu is held.
func (l *Pool) standing(p peer.ID, now time.Time) *standing {
	s := l.known[p]
	if s == nil {
		if len(l.known) >= maxKnown {
			l.forget()
		}
		s = &standing{}
		l.known[p] = s
	}
	if s.lied && now.After(s.restTo) {
		*s = standing{active: s.active}
	}
	return s
}

// forget makes room, of those first that did nothing wrong.
func (l *Pool) forget() {
	for p, s := range l.known {
		if s.active == 0 && !s.lied {
			delete(l.known, p)
		}
	}
	for p, s := range l.known {
		if len(l.known) < maxKnown {
			return
		}
		if s.active == 0 {
			delete(l.known, p)
		}
	}
}

func (l *Pool) release(p peer.ID) {
	l.change(p, func(s *standing) { s.active-- })
}

// change changes what is known of a peer and wakes who waits for one.
func (l *Pool) change(p peer.ID, change func(*standing)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.known[p]; s != nil {
		change(s)
	}
	close(l.freed)
	l.freed = make(chan struct{})
}

// answered measures a peer. Small answers say little of how fast it is, unless
// they are small because it gives little: else a peer that gives a crumb at a
// time would never be measured, and be asked first for ever.
func (l *Pool) answered(p peer.ID, size int, took time.Duration, worth float64, short bool) {
	l.change(p, func(s *standing) {
		s.failures = 0
		if size >= minMeasured || short || worth < 1 {
			s.measure(worth * float64(size) / max(took.Seconds(), 1e-4))
		}
	})
}

func (s *standing) measure(rate float64) {
	if s.rate > 0 {
		rate = rateWeight*rate + (1-rateWeight)*s.rate
	}
	s.rate = rate
}

// overtaken is for a peer whose answer was not needed any more: if it was slow
// it is asked later than others.
func (l *Pool) overtaken(p peer.ID, took time.Duration) {
	if took >= hedgeAfter {
		l.change(p, func(s *standing) { s.measure(max(s.rate/4, 1)) })
	}
}

func (l *Pool) failed(p peer.ID) {
	l.change(p, func(s *standing) {
		s.restTo = time.Now().Add(min(restFirst<<min(s.failures, 10), restLast))
		s.failures++
	})
}

func (l *Pool) lied(p peer.ID) {
	l.change(p, func(s *standing) { s.lied, s.restTo = true, time.Now().Add(liarFor) })
}

// Gather puts one question to up to most peers at once, each of them by itself,
// and answers what passed, by peer. It waits for the slowest, at most answerWait.
func Gather[T any](ctx context.Context, pool *Pool, most int, q Question[T]) map[peer.ID]T {
	tried := make(map[peer.ID]bool)
	answers := make(chan attempt[T], most)
	asked := 0
	for ; asked < most; asked++ {
		p, ok := pool.tryTake(q.May, tried, perPeer+1)
		if !ok {
			break
		}
		tried[p] = true
		go askOne(ctx, pool, p, q, nil, answers)
	}
	out := make(map[peer.ID]T)
	for range asked {
		if a := <-answers; a.err == nil {
			out[a.peer] = a.value
		}
	}
	return out
}
