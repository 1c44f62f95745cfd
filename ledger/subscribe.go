package ledger

import "sync"

// subscriptions are those who hear of final blocks.
type subscriptions struct {
	mu   sync.Mutex
	subs map[chan *Final]struct{}
}

// Subscribe answers a channel of the blocks that become final from now on, in
// order, and a function that ends it and closes the channel. The ledger never
// waits for a subscriber: one that is subscriptionBacklog blocks behind misses
// blocks, which it sees by a gap in the heights and reads with BlockByHeight.
func (l *Ledger) Subscribe() (<-chan *Final, func()) {
	ch := make(chan *Final, subscriptionBacklog)
	l.subs.mu.Lock()
	defer l.subs.mu.Unlock()
	if l.subs.subs == nil {
		l.subs.subs = map[chan *Final]struct{}{}
	}
	l.subs.subs[ch] = struct{}{}
	return ch, func() {
		l.subs.mu.Lock()
		defer l.subs.mu.Unlock()
		if _, ok := l.subs.subs[ch]; ok {
			delete(l.subs.subs, ch)
			close(ch)
		}
	}
}

func (s *subscriptions) send(f *Final) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.subs {
		select {
		case ch <- f:
		default:
		}
	}
}
