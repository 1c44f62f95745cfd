package rpc

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// The subscriptions of a connection are served by one goroutine, when it has a
// place: however many there are, a block is told in a few pieces of work, callers
// take turns, and consensus keeps a processor.

// notifier is what a connection has for its subscriptions, behind socket.mu.
type notifier struct {
	subs  []*subscription
	runs  bool          // the goroutine
	ended bool          // it does not take any more
	poke  chan struct{} // length 1: a subscription is told of, or ended
}

// addSubscription has a subscription served. Nothing is sent before the caller
// knows its id.
func (c *socket) addSubscription(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notifier.ended || c.closed {
		go sub.release() // takes locks
		return
	}
	c.notifier.subs = append(c.notifier.subs, sub)
	if !c.notifier.runs {
		c.notifier.runs = true
		go c.notifyAll()
	}
}

// saidLocked lets the subscription begin whose id an answer tells.
func (c *socket) saidLocked(answer []byte) {
	i := slices.IndexFunc(c.notifier.subs, func(s *subscription) bool { return !s.told })
	if i < 0 {
		return
	}
	var a struct{ Result rpc.ID }
	if json.Unmarshal(answer, &a) != nil {
		return
	}
	for _, sub := range c.notifier.subs[i:] {
		if sub.ID == a.Result {
			sub.told = true
		}
	}
}

// pokeNotifier has the subscriptions looked at.
func (c *socket) pokeNotifier() {
	select {
	case c.notifier.poke <- struct{}{}:
	default:
	}
}

// present are the subscriptions whose callers know them, without those that are
// over, whose places are given back.
func (c *socket) present() (subs []*subscription, from source) {
	c.mu.Lock()
	var over []*subscription
	c.notifier.subs = slices.DeleteFunc(c.notifier.subs, func(s *subscription) bool {
		left := s.over()
		if left {
			over = append(over, s)
		}
		return left
	})
	for _, s := range c.notifier.subs {
		if s.told {
			subs, from = append(subs, s), from|s.source
		}
	}
	c.mu.Unlock()
	for _, s := range over {
		s.release()
	}
	return subs, from
}

// notifyAll serves the subscriptions until the connection ends.
func (c *socket) notifyAll() {
	defer c.endSubscriptions()
	svc := c.server.service
	ticks := time.NewTicker(syncingPoll)
	defer ticks.Stop()
	subs, from := c.present()
	for {
		w := svc.wakes(from)
		if err := c.stepAll(subs); err != nil {
			if !errors.Is(err, errSocketClosed) {
				c.end(endOf(err))
			}
			return
		}
		tick := ticks.C
		if from&fromTicks == 0 {
			tick = nil
		}
		select {
		case <-w.heads:
		case <-w.added:
		case <-w.dropped:
		case <-tick:
		case <-c.notifier.poke:
			subs, from = c.present()
		case <-c.done:
			return
		case <-svc.stopping:
			return
		}
	}
}

// wakes are closed when there is more of each source; nil = it is not asked for.
type wakes struct{ heads, added, dropped <-chan struct{} }

// wakes are to be taken before the subscriptions step.
func (s *service) wakes(from source) (w wakes) {
	if from&fromHeads != 0 {
		w.heads = s.heads.next()
	}
	if from&fromAdded != 0 {
		w.added = s.Events.added.more()
	}
	if from&fromDropped != 0 {
		w.dropped = s.Events.dropped.more()
	}
	return w
}

// stepAll has each subscription send what there is.
func (c *socket) stepAll(subs []*subscription) error {
	if len(subs) == 0 {
		return nil
	}
	ctx := c.request.Context()
	t := &turn{service: c.server.service, places: c.server.service.tellers, who: callerOf(ctx).share()}
	if t.take(ctx) != nil {
		return errSocketClosed
	}
	defer t.leave()
	defer c.wakeWriter()
	c.telling = t
	for _, sub := range subs {
		if err := sub.step(sub); err != nil {
			return err
		}
		if t.pause(ctx) != nil {
			return errSocketClosed
		}
	}
	return nil
}

// notify enqueues a notification. The writer is woken for many at once. While this
// waits for the reader others have the place.
func (c *socket) notify(o outgoing) error {
	size := o.size()
	c.waiting.Add(int64(size))
	c.mu.Lock()
	full := c.fullLocked(size)
	if !full && !c.closed {
		c.putLocked(o, size)
		many := c.bytes >= corkBytes
		c.mu.Unlock()
		if many {
			c.wakeWriter()
		}
		return nil
	}
	c.mu.Unlock()
	if full {
		c.wakeWriter()
		c.telling.leave()
	}
	return c.enqueueCounted(o)
}

// endSubscriptions gives back what the subscriptions of a connection have.
func (c *socket) endSubscriptions() {
	c.mu.Lock()
	subs := c.notifier.subs
	c.notifier.subs, c.notifier.ended = nil, true
	c.mu.Unlock()
	for _, s := range subs {
		s.release()
	}
}
