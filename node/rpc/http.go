package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	who := callerOf(r.Context()).share()
	if !s.enter(r.Context(), who) {
		s.service.meters.refused("busy")
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("too many requests at once (rpc.limits.concurrent = %d)", limits.Concurrent), http.StatusTooManyRequests)
		return
	}
	defer s.busy.leave(who)

	// A body that trickles in, or a reader that does not read, holds its place
	// for this long only.
	control := http.NewResponseController(w)
	end := time.Now().Add(time.Duration(limits.RequestTime))
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end.Add(time.Second))
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()

	in := s.service.intake(new(atomic.Int64))
	defer in.release()
	body, err := readBody(w, r, limits.BodyBytes, in)
	if err != nil {
		s.refuseBody(w, err)
		return
	}
	f := readFrame(body, limits.Batch)
	if f.err != nil {
		s.service.meters.refused("malformed")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(parseError(f.err))
		return
	}
	out, err := s.answer(r, body, &f)
	if err != nil {
		s.service.meters.refused("memory")
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
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

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int, in *intake) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= smallBody {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	in.from = http.MaxBytesReader(w, r.Body, int64(limit))
	return io.ReadAll(in)
}

// smallBody is the length that is taken at its word, and is not counted.
const smallBody = 1 << 10

// intake reads one request. Its bytes count from when they come until it is
// answered: who sends much and never ends, or more than is worked on, must not
// fill the memory.
type intake struct {
	from  io.Reader
	total *atomic.Int64 // of all requests
	own   *atomic.Int64 // of those of the same connection
	most  int64         // of all
	n     int64
}

// intake counts with what one connection has sent so far.
func (s *service) intake(own *atomic.Int64) *intake {
	return &intake{total: &s.bodies, own: own, most: int64(s.limits.WaitingBytes)}
}

// Read fails when all requests together are too much, unless the connection has
// little of it.
func (i *intake) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	i.n += int64(n)
	own := i.own.Add(int64(n))
	if i.total.Add(int64(n)) > i.most && own > smallAnswer {
		return n, errTooMuchComes
	}
	return n, err
}

// release is to be called once the request is not needed any more; again, it does
// nothing.
func (i *intake) release() {
	i.total.Add(-i.n)
	i.own.Add(-i.n)
	i.n = 0
}

// answer has one request answered. What costs much is done for a few requests at
// a time, and an answer counts as waiting until the caller has taken its size
// off again: so that neither many large requests at once nor readers that do not
// read fill the memory.
func (s *Server) answer(r *http.Request, body []byte, f *frame) (*reply, error) {
	svc := s.service
	if f.heavy() {
		who := callerOf(r.Context()).share()
		if err := svc.heavy.enter(r.Context(), svc.stopping, who); err != nil {
			return nil, err
		}
		defer svc.heavy.leave(who)
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
// them as there are places.
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

func (s *Server) refuseBody(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		s.service.meters.refused("body too large")
		http.Error(w, fmt.Sprintf("content length too large (more than %d)", large.Limit), http.StatusRequestEntityTooLarge)
		return
	}
	if errors.Is(err, errTooMuchComes) {
		s.service.meters.refused("memory")
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	}
	s.service.meters.refused("body not read")
	http.Error(w, "the body did not come in time", http.StatusRequestTimeout)
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
