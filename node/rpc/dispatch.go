package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// callable is a method of an API, ready to be called. go-ethereum's server has
// the same methods and decides about everything that is not a plain call of one:
// what is answered here is answered there alike, only slower.
type callable struct {
	name     string
	fn       reflect.Value // bound to its receiver
	context  bool          // takes one first
	params   []reflect.Type
	optional int // params from here on may be absent
	fails    bool
}

// callables are the methods that are no subscriptions, by name.
func callables(apis map[string][]any) map[string]*callable {
	out := make(map[string]*callable)
	for namespace, receivers := range apis {
		for _, r := range receivers {
			for i := range reflect.TypeOf(r).NumMethod() {
				m := methodOf(namespace, reflect.TypeOf(r).Method(i))
				if m.subscription {
					continue
				}
				c := &callable{name: m.name, fn: reflect.ValueOf(r).Method(i), params: m.params, optional: len(m.params)}
				t := c.fn.Type()
				c.context = t.NumIn() > 0 && t.In(0) == typeContext
				c.fails = t.NumOut() > 0 && t.Out(t.NumOut()-1) == typeError
				for c.optional > 0 && m.params[c.optional-1].Kind() == reflect.Pointer {
					c.optional--
				}
				out[m.name] = c
			}
		}
	}
	return out
}

// arguments decodes the parameters of a plain call. It is false if anything is
// wrong with them: go-ethereum's server then says what.
func (c *callable) arguments(ctx context.Context, params []byte) ([]reflect.Value, bool) {
	args, ok := make([]reflect.Value, 0, 4), true
	if c.context {
		args = append(args, reflect.ValueOf(ctx))
	}
	if string(params) == "null" {
		params = nil
	}
	n := 0
	members(params, func(raw []byte) bool {
		if n == len(c.params) {
			ok = false
			return false
		}
		v := reflect.New(c.params[n])
		ok = decodeArgument(raw, v.Interface(), c.params[n].Kind() == reflect.Pointer)
		args = append(args, v.Elem())
		n++
		return ok
	})
	if !ok || n < c.optional {
		return nil, false
	}
	for ; n < len(c.params); n++ {
		args = append(args, reflect.Zero(c.params[n]))
	}
	return args, true
}

func decodeArgument(raw []byte, into any, nullable bool) bool {
	if string(raw) == "null" {
		return nullable
	}
	switch v := into.(type) {
	case **rpc.BlockNumberOrHash: // nearly always a tag
		if n, ok := blockTags[string(raw)]; ok {
			at := rpc.BlockNumberOrHashWithNumber(n)
			*v = &at
			return true
		}
	case json.Unmarshaler:
		return v.UnmarshalJSON(raw) == nil
	}
	return json.Unmarshal(raw, into) == nil
}

var blockTags = map[string]rpc.BlockNumber{
	`"latest"`: rpc.LatestBlockNumber, `"pending"`: rpc.PendingBlockNumber, `"safe"`: rpc.SafeBlockNumber,
	`"finalized"`: rpc.FinalizedBlockNumber, `"earliest"`: rpc.EarliestBlockNumber,
}

// encodedAnswer is an answer that is JSON already.
type encodedAnswer interface{ encoded() []byte }

// call runs the method and answers its result as JSON.
func (s *service) call(ctx context.Context, c *callable, args []reflect.Value) (result []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("a JSON-RPC method crashed; report this with the lines below", "method", c.name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			result, err = nil, &callError{code: codeDefault, text: "method handler crashed"}
		}
	}()
	out := c.fn.Call(args)
	if n := len(out); c.fails && !out[n-1].IsNil() {
		err := out[n-1].Interface().(error)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = overtime(ctx)
		}
		return nil, s.explained(err)
	}
	if len(out) == 0 || out[0].Type() == typeError {
		return []byte("null"), nil
	}
	switch v := out[0].Interface().(type) {
	case encodedAnswer:
		if raw := v.encoded(); raw != nil {
			return raw, nil
		}
		return []byte("null"), nil
	case json.RawMessage:
		return v, nil
	default:
		return json.Marshal(v)
	}
}

// dispatch answers a request within its time: plain calls here, anything else by
// go-ethereum's server. r carries the caller in its context.
func (s *Server) dispatch(r *http.Request, body []byte, f *frame) *reply {
	switch {
	case f.large:
		s.service.refuse(callerOf(r.Context()), "malformed")
		out := newReply()
		out.add(tooLarge(f))
		return out
	case len(f.calls) == 0 || !json.Valid(body):
		s.service.refuse(callerOf(r.Context()), "malformed")
		status, answer := s.foreign(r, body, time.Time{}) // runs no method
		out := &reply{status: status}
		out.add(answer)
		return out
	case f.batch:
		return s.batch(r, f)
	}
	out := newReply()
	a := s.one(r, &f.calls[0], time.Now().Add(time.Duration(s.service.limits.RequestTime)))
	a.to(out)
	return out
}

// tooLarge refuses a batch as go-ethereum's server does: one error, with the id of
// the first call that has one. Not by that server, which would read it all.
func tooLarge(f *frame) []byte {
	var id []byte
	for i := range f.calls {
		if c := &f.calls[i]; string(c.version) == `"2.0"` && len(c.name()) > 0 && plainID(c.id) {
			id = c.id
			break
		}
	}
	a := errorAnswer(id, errBatchTooLarge)
	return slices.Concat([]byte{'['}, a.body, []byte{']'})
}

// batch answers calls one after the other. What does not fit, in time or in
// bytes, is an error in its place.
func (s *Server) batch(r *http.Request, f *frame) *reply {
	svc := s.service
	end := time.Now().Add(time.Duration(svc.limits.RequestTime))
	ctx, cancel := context.WithDeadline(r.Context(), end)
	defer cancel()
	r = r.WithContext(ctx)
	turn := turnOf(ctx)
	out := newReply()
	out.counted = true
	var over *callError // of the rest of the batch
	for i := range f.calls {
		c := &f.calls[i]
		if over == nil && (turn.pause(ctx) != nil || ctx.Err() != nil) {
			over = errTimeout
		}
		var a answered
		switch {
		case over == nil:
			a = s.one(r, c, end)
		case c.id == nil && !c.odd:
			continue // a notification
		}
		if over == nil && a.size() > 0 {
			over = svc.room(out, &a)
		}
		if over != nil {
			a = errorAnswer(c.id, over)
		}
		if a.size() == 0 {
			continue // a notification is not answered
		}
		before := out.size
		if before == 0 {
			out.addText("[")
		} else {
			out.addText(",")
		}
		a.to(out)
		svc.waiting.Add(int64(out.size - before))
	}
	if out.size > 0 {
		out.addText("]")
		svc.waiting.Add(1)
	}
	return out
}

// room says why an answer does not fit into a batch any more. The first of a
// batch always does.
func (s *service) room(out *reply, a *answered) *callError {
	switch {
	case out.size > 0 && out.size+a.size() > s.limits.ResponseBytes:
		return errResponseTooLarge
	case out.size+a.size() > smallAnswer && s.waiting.Load()+int64(a.size()) > int64(s.limits.WaitingBytes):
		s.meters.refused("memory")
		return errTooMuchWaits
	}
	return nil
}

// one answers one call, if it wants an answer.
func (s *Server) one(r *http.Request, c *call, end time.Time) answered {
	a := s.answerCall(r, c, end)
	if a.id == nil {
		s.service.meters.answered(s.service.meters.method(c.name()), a.body)
	}
	return a
}

func (s *Server) answerCall(r *http.Request, c *call, end time.Time) answered {
	svc := s.service
	if err := svc.allowed(r.Context(), c); err != nil {
		return errorAnswer(c.id, err)
	}
	m := svc.methods[string(c.name())]
	if m == nil || !c.plain() {
		_, body := s.foreign(r, c.raw, end)
		return answered{body: body}
	}
	ctx := r.Context()
	if _, ok := ctx.Deadline(); m.context && !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	args, ok := m.arguments(ctx, c.params)
	if !ok {
		_, body := s.foreign(r, c.raw, end)
		return answered{body: body}
	}
	result, err := svc.call(ctx, m, args)
	if err != nil {
		return errorAnswer(c.id, err)
	}
	return answered{id: c.id, body: result}
}

// foreign has bytes answered by go-ethereum's server.
func (s *Server) foreign(r *http.Request, body []byte, end time.Time) (status int, answer []byte) {
	left := time.Duration(s.service.limits.RequestTime)
	if !end.IsZero() {
		left = max(time.Until(end), time.Second)
	}
	// go-ethereum's server takes the time limit of a request from here. Its answer
	// then is an error for what was not done in time.
	ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: left}) //nolint:gosec // it only carries the limit
	r = r.WithContext(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	out := &collector{header: make(http.Header), status: http.StatusOK}
	s.rpc.ServeHTTP(out, r)
	return out.status, bytes.TrimSuffix(out.body, []byte("\n"))
}

// jsonContent says whether a body says of itself that it is JSON, as
// go-ethereum's server wants it.
func jsonContent(r *http.Request) bool {
	v := r.Header.Get("Content-Type")
	if v == "application/json" {
		return true
	}
	v, _, err := mime.ParseMediaType(v)
	return err == nil && (strings.EqualFold(v, "application/json") || v == "application/json-rpc" || v == "application/jsonrequest")
}
