package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// busyWait is how long a request waits for its turn before it is told to come
// back later.
const busyWait = 2 * time.Second

// serveHTTP reads one body within its limits and has it answered.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		serveOther(w, r)
		return
	}
	limits := &s.service.limits

	// A body that trickles in, or a reader that does not read, holds its connection
	// for this long only.
	control := http.NewResponseController(w)
	end := time.Now().Add(time.Duration(limits.RequestTime))
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end.Add(time.Second))
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()

	if !jsonContent(r) {
		s.refuseContent(w, r)
		return
	}
	in := s.service.intake(new(atomic.Int64))
	defer in.release()
	body, err := readBody(w, r, limits.BodyBytes, in)
	if err != nil {
		s.refuseBody(w, r, body, err)
		return
	}
	out, err := s.served(r, body, in)
	if err != nil {
		s.refuseForNow(w, err)
		return
	}
	defer s.service.waiting.Add(-int64(out.size))
	h := w.Header()
	h["Content-Type"] = jsonType
	if out.status != http.StatusOK {
		h["Content-Type"] = textType
	}
	h["Content-Length"] = []string{strconv.Itoa(out.size)}
	w.WriteHeader(out.status)
	for _, part := range out.parts {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

// served answers a request that has come, at one of the places. These are for work
// alone: a body that trickles in and a reader that does not read take nobody's.
// Errors: errBusy; those of answer.
func (s *Server) served(r *http.Request, body []byte, in *intake) (*reply, error) {
	who := callerOf(r.Context()).share()
	if !s.enter(r.Context(), who) {
		return nil, errBusy
	}
	defer s.busy.leave(who)
	f := firstLook(body, &in.scan)
	return s.answer(r, body, &f)
}

// refuseForNow refuses what may pass later.
func (s *Server) refuseForNow(w http.ResponseWriter, err error) {
	limit, text := "busy", err.Error()
	switch {
	case errors.Is(err, errTooMuchWaits), errors.Is(err, errTooMuchComes):
		limit = "memory"
	case errors.Is(err, errBusy):
		text = fmt.Sprintf("%s (rpc.limits.concurrent = %d)", text, s.service.limits.Concurrent)
	case errors.Is(err, context.Canceled): // its time is up, or nobody reads this
		text = errTimeout.text
	}
	s.service.meters.refused(limit)
	w.Header().Set("Retry-After", "1")
	http.Error(w, text, http.StatusTooManyRequests)
}

// serveOther answers what is no POST: 200 for an empty GET, as load balancers ask.
// Nothing of it goes to go-ethereum's server, which would make calls for it,
// whatever the token and the limits say.
func serveOther(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "method not allowed: calls come in a POST", http.StatusMethodNotAllowed)
	case r.URL.Path != "/":
		http.NotFound(w, r)
	case r.ContentLength != 0 || r.URL.RawQuery != "":
		http.Error(w, "calls come in a POST", http.StatusUnsupportedMediaType)
	}
}

// Values of Content-Type, as the headers of an answer hold them.
var (
	jsonType = []string{"application/json"}
	textType = []string{"text/plain; charset=utf-8"}
)

// answer has one request answered. What costs much is done for a few requests at
// a time, and an answer counts as waiting until the caller has taken its size
// off again: so that neither many large requests at once nor readers that do not
// read fill the memory. Errors: errTooMuchWaits; that of the request's context;
// errStopping.
func (s *Server) answer(r *http.Request, body []byte, f *frame) (*reply, error) {
	svc := s.service
	if f.heavy() || len(body) > smallAnswer {
		ctx, turn, err := svc.takeTurn(r.Context())
		if err != nil {
			return nil, err
		}
		defer turn.leave()
		r = r.WithContext(ctx)
	}
	if f.batch {
		*f = readFrame(body, svc.limits.Batch)
	}
	meter, start := svc.meters.arrived(f), time.Now()
	out := s.dispatch(r, body, f)
	meter.seconds.Observe(time.Since(start).Seconds())
	if out.counted {
		return out, nil
	}
	if n := svc.waiting.Add(int64(out.size)); n > int64(svc.limits.WaitingBytes) && out.size > smallAnswer {
		svc.waiting.Add(-int64(out.size))
		return nil, errTooMuchWaits
	}
	return out, nil
}

// smallAnswer is given even when too much waits to be read: there are as many of
// them as there are connections.
const smallAnswer = 16 << 10

// enter takes a place among the requests that are served.
func (s *Server) enter(ctx context.Context, who string) bool {
	if s.busy.tryEnter(who) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, busyWait)
	defer cancel()
	return s.busy.enter(ctx, s.service.stopping, who) == nil
}

// refuseBody answers a request that is refused before it is read, or while it is.
// body is what was read of one that is refused for what it says.
func (s *Server) refuseBody(w http.ResponseWriter, r *http.Request, body []byte, err error) {
	svc, who := s.service, callerOf(r.Context())
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		svc.refuse(who, "body too large")
		w.Header().Set("Connection", "close") // instead of reading what nobody wants
		http.Error(w, fmt.Sprintf("content length too large (more than %d)", large.Limit), http.StatusRequestEntityTooLarge)
	case errors.Is(err, errTooDeep), errors.Is(err, errBatchTooLarge):
		w.Header()["Content-Type"] = jsonType
		_, _ = w.Write(svc.refused(who, body, err))
	case errors.Is(err, errTooMuchComes):
		s.refuseForNow(w, err)
	default:
		svc.meters.refused("body not read")
		http.Error(w, "the body did not come in time", http.StatusRequestTimeout)
	}
}

// refuseContent answers what does not say of itself that it is JSON.
func (s *Server) refuseContent(w http.ResponseWriter, r *http.Request) {
	s.service.refuse(callerOf(r.Context()), "malformed")
	status, answer := s.foreign(r, nil, time.Time{}) // runs no method
	http.Error(w, string(answer), status)
}

// turnedAway is how long who has sent too much that was refused waits for the next
// answer.
const turnedAway = time.Second

// turnAway refuses whatever an address asks that has sent too much which was
// refused: unread, after a wait, and for the last time on this connection.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request) {
	s.service.meters.refused("refusals")
	wait := time.NewTimer(turnedAway)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
	case <-s.service.stopping:
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", "1")
	http.Error(w, errTooMuchRefused.Error(), http.StatusTooManyRequests)
}

// refuse counts what is refused for what it is, against its sender too.
func (s *service) refuse(who *caller, limit string) {
	s.meters.refused(limit)
	if !exempt(who.host) {
		s.refusals.allow(who.sender())
	}
}

// refused is the whole answer to a request that is refused for what it says: begun
// is what was read of it.
func (s *service) refused(who *caller, begun []byte, err error) []byte {
	s.refuse(who, "malformed")
	if errors.Is(err, errBatchTooLarge) {
		f := readFrame(begun, s.limits.Batch)
		return tooLarge(&f)
	}
	return parseError(err)
}

// collector is a ResponseWriter that keeps what is written.
type collector struct {
	header http.Header
	status int
	body   []byte
}

// Header is not sent: the answer's own is made from what it is.
func (c *collector) Header() http.Header { return c.header }

// WriteHeader notes the status.
func (c *collector) WriteHeader(status int) { c.status = status }

// Write keeps the bytes. go-ethereum's server writes each answer once and uses
// its buffer no more.
func (c *collector) Write(p []byte) (int, error) {
	if c.body == nil {
		c.body = p
	} else {
		c.body = append(c.body, p...)
	}
	return len(p), nil
}
