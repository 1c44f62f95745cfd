package rpc

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"

	"cairn/crypto"
)

// syncingPoll is how often subscribers of "syncing" are looked after.
const syncingPoll = time.Second

// subscribe makes a subscription and runs f for it until the caller ends it, the
// connection ends, the node stops or f returns an error.
//
// go-ethereum's server answers who subscribes and knows who unsubscribes. What is
// sent goes past its notifier, which would encode it anew for each subscriber.
func (s *service) subscribe(ctx context.Context, namespace string, f func(sub *subscription) error) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	c, release, err := s.sockets.subscribe(ctx)
	if err != nil {
		return nil, err
	}
	sub := &subscription{Subscription: notifier.CreateSubscription(), socket: c, stopping: s.stopping}
	sub.head = []byte(`{"jsonrpc":"2.0","method":"` + namespace + `_subscription","params":{"subscription":"` + string(sub.ID) + `","result":`)
	answered := c.expect(sub.ID)
	go func() {
		defer release()
		defer c.unexpect(sub.ID)
		// Nothing is sent before the caller knows the subscription.
		if sub.wait(answered) && f(sub) != nil {
			// A subscriber that hears nothing more must not think that nothing happens.
			c.end(websocket.CloseInternalServerErr, "a subscription failed; connect again")
		}
	}()
	return sub.Subscription, nil
}

// subscription sends to one subscriber. Its methods block while the reader is
// slow, for as long as the connection puts up with that.
type subscription struct {
	*rpc.Subscription

	head     []byte // of every message
	socket   *socket
	stopping <-chan struct{}
}

// notificationEnd closes what the head of a notification opens.
var notificationEnd = []byte("}}")

// send answers false when the subscription is over.
func (s *subscription) send(v any) bool {
	raw, err := json.Marshal(v)
	return err == nil && s.sendRaw(raw)
}

// sendRaw sends JSON, which may be shared with other subscribers.
func (s *subscription) sendRaw(raw []byte) bool {
	return s.socket.enqueue(message(s.head, raw, notificationEnd)) == nil
}

// wait answers false when the subscription is over.
func (s *subscription) wait(more <-chan struct{}) bool {
	select {
	case <-more:
		return true
	case <-s.Err():
	case <-s.socket.done:
	case <-s.stopping:
	}
	return false
}

// over says whether the subscriber has left.
func (s *subscription) over() bool {
	select {
	case <-s.Err():
		return true
	case <-s.socket.done:
		return true
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// follow calls f for every height after the present head, in order, as they
// become final. f answers false when the subscription is over.
func (s *service) follow(sub *subscription, after uint64, f func(height uint64) (bool, error)) error {
	for next := after + 1; ; {
		more := s.heads.next()
		for head := s.heads.height(); next <= head; next++ {
			if sub.over() {
				return nil
			}
			if goOn, err := f(next); err != nil || !goOn {
				return err
			}
		}
		if !sub.wait(more) {
			return nil
		}
	}
}

// NewHeads sends the header of every block that becomes final, and skips none.
func (a *ethAPI) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	after := a.b.heads.height()
	return a.b.subscribe(ctx, "eth", func(sub *subscription) error {
		return a.b.follow(sub, after, func(height uint64) (bool, error) {
			h, err := a.b.heads.at(height)
			if err != nil {
				return false, err
			}
			return sub.sendRaw(h.raw), nil
		})
	})
}

// Logs sends the logs of every block that becomes final.
func (a *ethAPI) Logs(ctx context.Context, q *logQuery) (*rpc.Subscription, error) {
	if q == nil {
		q = &logQuery{}
	}
	after := a.b.heads.height()
	return a.b.subscribe(ctx, "eth", func(sub *subscription) error {
		return a.b.follow(sub, after, func(height uint64) (bool, error) {
			if h, err := a.b.heads.at(height); err != nil || !q.mayMatch(h.Bloom) {
				return err == nil, err
			}
			logs, _, err := a.newLogs(context.Background(), q, height, height)
			if err != nil {
				return false, err
			}
			for _, l := range logs {
				if !sub.send(l) {
					return false, nil
				}
			}
			return true, nil
		})
	})
}

// NewPendingTransactions sends the hash of every transaction that comes into the
// pool, or the transaction itself if full is set and it is still there.
func (a *ethAPI) NewPendingTransactions(ctx context.Context, full *bool) (*rpc.Subscription, error) {
	if a.b.Events == nil {
		return nil, rpc.ErrNotificationsUnsupported
	}
	events := &a.b.Events.added
	from := events.end()
	return a.b.subscribe(ctx, "eth", func(sub *subscription) error {
		return read(sub, events, from, func(hash crypto.Hash) bool {
			if full == nil || !*full {
				return sub.sendRaw([]byte(`"` + hash.Hex() + `"`))
			}
			tx := a.b.Pool.Get(hash)
			return tx == nil || sub.send(a.b.encoder().waiting(tx))
		})
	})
}

// Drops sends every transaction that leaves the pool without being in a block,
// with the reason.
func (a *cairnAPI) Drops(ctx context.Context) (*rpc.Subscription, error) {
	if a.b.Events == nil {
		return nil, rpc.ErrNotificationsUnsupported
	}
	events := &a.b.Events.dropped
	from := events.end()
	return a.b.subscribe(ctx, "cairn", func(sub *subscription) error {
		return read(sub, events, from, func(d drop) bool { return sub.send(d) })
	})
}

// read calls f for every value of a feed from a number on. A subscriber that is
// more than the feed's backlog behind is told that it has lost some.
func read[T any](sub *subscription, events *feed[T], next uint64, f func(T) bool) error {
	for {
		values, after, lost, more := events.since(next)
		if lost {
			sub.socket.end(websocket.CloseTryAgainLater, reasonLost)
			return nil
		}
		for _, v := range values {
			if sub.over() || !f(v) {
				return nil
			}
		}
		if next = after; !sub.wait(more) {
			return nil
		}
	}
}

// syncingNotice is geth's notification while a node is behind; false when it has
// caught up.
type syncingNotice struct {
	Syncing bool      `json:"syncing"`
	Status  *progress `json:"status"`
}

// Syncing sends whether the node is behind: at once, and when that changes.
// On the wire it is eth_subscribe("syncing"); eth_syncing is another method.
func (a *syncingSubscription) Syncing(ctx context.Context) (*rpc.Subscription, error) {
	return a.b.subscribe(ctx, "eth", func(sub *subscription) error {
		tick := time.NewTicker(syncingPoll)
		defer tick.Stop()
		for was, first := false, true; ; {
			s := a.b.status()
			if first || was != s.Syncing {
				var notice any = false
				if s.Syncing {
					notice = syncingNotice{Syncing: true, Status: progressOf(&s)}
				}
				if !sub.send(notice) {
					return nil
				}
				was, first = s.Syncing, false
			}
			select {
			case <-tick.C:
			case <-sub.Err():
				return nil
			case <-sub.socket.done:
				return nil
			case <-sub.stopping:
				return nil
			}
		}
	})
}

// syncingSubscription is apart from ethAPI, whose Syncing is the method.
type syncingSubscription struct{ b *service }
