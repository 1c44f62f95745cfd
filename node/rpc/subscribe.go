package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"

	"cairn/crypto"
)

// syncingPoll is how often subscribers of "syncing" are looked after.
const syncingPoll = time.Second

// errLostEvents is why a subscription ends that is too far behind.
var errLostEvents = errors.New(reasonLost)

// source is where what a subscription sends comes from.
type source uint8

const (
	fromHeads source = 1 << iota
	fromAdded
	fromDropped
	fromTicks
)

// subscription sends to one subscriber.
type subscription struct {
	*rpc.Subscription

	head    []byte // of every message
	socket  *socket
	source  source
	step    func(*subscription) error // sends what has come since the last step
	release func()                    // its place
	told    bool                      // the caller knows its id; behind socket.mu
}

// subscribe makes a subscription; step is called for it whenever its source has
// something, until the caller ends it, the connection ends, the node stops or step
// returns an error.
//
// go-ethereum's server answers who subscribes and knows who unsubscribes. What is
// sent goes past its notifier, which would encode it anew for each subscriber.
func (s *service) subscribe(ctx context.Context, namespace string, from source, step func(*subscription) error) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	c, release, err := s.sockets.subscribe(ctx)
	if err != nil {
		return nil, err
	}
	sub := &subscription{Subscription: notifier.CreateSubscription(), socket: c, source: from, step: step, release: release}
	sub.head = []byte(`{"jsonrpc":"2.0","method":"` + namespace + `_subscription","params":{"subscription":"` + string(sub.ID) + `","result":`)
	c.addSubscription(sub)
	return sub.Subscription, nil
}

// notificationEnd closes what the head of a notification opens.
var notificationEnd = []byte("}}")

// send blocks while the reader is slow, for as long as the connection puts up with
// that.
func (s *subscription) send(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.sendRaw(raw)
}

// sendRaw sends JSON, which may be shared with other subscribers.
func (s *subscription) sendRaw(raw []byte) error {
	return s.socket.notify(message(s.head, raw, notificationEnd))
}

// over says whether the subscriber has left.
func (s *subscription) over() bool {
	select {
	case <-s.Err():
		return true
	case <-s.socket.done:
		return true
	default:
		return false
	}
}

// NewHeads sends the header of every block that becomes final, and skips none.
func (a *ethAPI) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	next := a.b.heads.height() + 1
	return a.b.subscribe(ctx, "eth", fromHeads, func(sub *subscription) error {
		for head := a.b.heads.height(); next <= head && !sub.over(); next++ {
			h, err := a.b.heads.at(next)
			if err != nil {
				return err
			}
			if err := sub.sendRaw(h.raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// Logs sends the logs of every block that becomes final.
func (a *ethAPI) Logs(ctx context.Context, q *logQuery) (*rpc.Subscription, error) {
	if q == nil {
		q = &logQuery{}
	}
	next := a.b.heads.height() + 1
	return a.b.subscribe(ctx, "eth", fromHeads, func(sub *subscription) error {
		for head := a.b.heads.height(); next <= head && !sub.over(); next++ {
			h, err := a.b.heads.at(next)
			if err != nil {
				return err
			}
			if !q.mayMatch(h.Bloom) {
				continue
			}
			logs, _, err := a.newLogs(context.Background(), q, next, next)
			if err != nil {
				return err
			}
			for _, l := range logs {
				if err := sub.send(l); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// NewPendingTransactions sends the hash of every transaction that comes into the
// pool, or the transaction itself if full is set and it is still there.
func (a *ethAPI) NewPendingTransactions(ctx context.Context, full *bool) (*rpc.Subscription, error) {
	if a.b.Events == nil {
		return nil, rpc.ErrNotificationsUnsupported
	}
	events := &a.b.Events.added
	next := events.end()
	return a.b.subscribe(ctx, "eth", fromAdded, func(sub *subscription) error {
		return read(sub, events, &next, func(hash crypto.Hash) error {
			if full == nil || !*full {
				return sub.sendRaw([]byte(`"` + hash.Hex() + `"`))
			}
			raw, err := a.b.arrival(hash)
			if raw == nil || err != nil {
				return err
			}
			return sub.sendRaw(raw)
		})
	})
}

// arrivals are the newest transactions of the pool that are kept encoded for
// subscribers.
const arrivals = 256

// arrival is a transaction of the pool as JSON; nil if it is there no more.
// Subscribers ask for the same one at the same time.
func (s *service) arrival(hash crypto.Hash) ([]byte, error) {
	tx := s.Pool.Get(hash)
	if tx == nil {
		return nil, nil
	}
	if raw, ok := s.arrivals.Get(hash); ok {
		return raw, nil
	}
	raw, err := json.Marshal(s.encoder().waiting(tx))
	if err == nil && len(raw) <= smallAnswer {
		s.arrivals.Add(hash, raw)
	}
	return raw, err
}

// Drops sends every transaction that leaves the pool without being in a block,
// with the reason.
func (a *cairnAPI) Drops(ctx context.Context) (*rpc.Subscription, error) {
	if a.b.Events == nil {
		return nil, rpc.ErrNotificationsUnsupported
	}
	events := &a.b.Events.dropped
	next := events.end()
	return a.b.subscribe(ctx, "cairn", fromDropped, func(sub *subscription) error {
		return read(sub, events, &next, func(d drop) error { return sub.send(d) })
	})
}

// read calls f for every value of a feed from a number on, and moves that on. A
// subscriber that is more than the feed's backlog behind is told that it has lost
// some.
func read[T any](sub *subscription, events *feed[T], next *uint64, f func(T) error) error {
	for {
		values, after, lost := events.since(*next)
		if lost {
			return errLostEvents
		}
		if *next = after; len(values) == 0 {
			return nil
		}
		for _, v := range values {
			if sub.over() {
				return nil
			}
			if err := f(v); err != nil {
				return err
			}
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
	was, first := false, true
	return a.b.subscribe(ctx, "eth", fromTicks, func(sub *subscription) error {
		s := a.b.status()
		if !first && was == s.Syncing {
			return nil
		}
		was, first = s.Syncing, false
		if s.Syncing {
			return sub.send(syncingNotice{Syncing: true, Status: progressOf(&s)})
		}
		return sub.send(false)
	})
}

// syncingSubscription is apart from ethAPI, whose Syncing is the method.
type syncingSubscription struct{ b *service }

// endOf is how a connection ends of which a subscription has failed: a subscriber
// that hears nothing more must not think that nothing happens.
func endOf(err error) (code int, reason string) {
	if errors.Is(err, errLostEvents) {
		return websocket.CloseTryAgainLater, reasonLost
	}
	return websocket.CloseInternalServerErr, "a subscription failed; connect again"
}
