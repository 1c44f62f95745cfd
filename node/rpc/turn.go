package rpc

import (
	"context"
	"runtime"
	"time"
)

// turnSlice is how long a request works before another that waits has its turn.
const turnSlice = 2 * time.Millisecond

// turn is the place of a request whose answer costs much, among the few that are
// worked on. It is passed on between two pieces of work, so that a long request
// holds up nobody, and left while the request waits for something else. Nil is the
// turn of what needs no place.
type turn struct {
	service *service
	places  *places
	who     string
	began   time.Time // of this slice
	held    bool
}

type turnKey struct{}

// takeTurn waits for a place. Errors: that of ctx; errStopping.
func (s *service) takeTurn(ctx context.Context) (context.Context, *turn, error) {
	t := &turn{service: s, places: s.heavy, who: callerOf(ctx).share()}
	if err := t.take(ctx); err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, turnKey{}, t), t, nil
}

// turnOf is the turn of the request that ctx is of.
func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

func (t *turn) take(ctx context.Context) error {
	if err := t.places.enter(ctx, t.service.stopping, t.who); err != nil {
		return err
	}
	t.held, t.began = true, time.Now()
	return nil
}

// pause is to be called between two pieces of work: whoever else is ready,
// consensus first of all, need not wait for the end of a time slice, and whoever
// waits for the place gets it. Errors: that of ctx; errStopping.
func (t *turn) pause(ctx context.Context) error {
	runtime.Gosched()
	switch {
	case t == nil:
		return nil
	case !t.held:
		return t.take(ctx)
	case time.Since(t.began) < turnSlice:
		return nil
	}
	err := t.places.pass(ctx, t.service.stopping, t.who)
	t.held, t.began = err == nil, time.Now()
	return err
}

// leave gives the place back, until the next pause.
func (t *turn) leave() {
	if t != nil && t.held {
		t.held = false
		t.places.leave(t.who)
	}
}
