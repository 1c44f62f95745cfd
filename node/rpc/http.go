package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// busyWait is how long a request waits for its turn before it is told to come
// back later.
const busyWait = 2 * time.Second

// serveHTTP reads one body within its limits and has it answered.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		s.rpc.ServeHTTP(w, r) // 200 for an empty GET, as load balancers ask; else 405 or 415
		return
	}
	limits := &s.service.limits
	if !s.enter(r.Context()) {
		s.service.meters.refused("busy")
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("too many requests at once (rpc.limits.concurrent = %d)", limits.Concurrent), http.StatusTooManyRequests)
		return
	}
	defer func() { <-s.busy }()

	// A body that trickles in, or a reader that does not read, holds its place
	// for this long only.
	control := http.NewResponseController(w)
	end := time.Now().Add(time.Duration(limits.RequestTime))
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end.Add(time.Second))
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limits.BodyBytes)))
	if err != nil {
		s.refuseBody(w, err)
		return
	}
	f := readFrame(body)
	if f.err != nil {
		s.service.meters.refused("malformed")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(parseError(f.err))
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	// go-ethereum's server takes the time limit of a request from here. Its answer
	// then is an error for what was not done in time, in a batch too.
	ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: time.Duration(limits.RequestTime)}) //nolint:gosec // it only carries the limit
	start, out := time.Now(), &answerWatch{ResponseWriter: w}
	s.rpc.ServeHTTP(out, r.WithContext(ctx))
	s.service.meters.answered(&f, time.Since(start), out.head)
}

// enter takes a place among the requests that are served.
func (s *Server) enter(ctx context.Context) bool {
	select {
	case s.busy <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(busyWait)
	defer wait.Stop()
	select {
	case s.busy <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

func (s *Server) refuseBody(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		s.service.meters.refused("body too large")
		http.Error(w, fmt.Sprintf("content length too large (more than %d)", large.Limit), http.StatusRequestEntityTooLarge)
		return
	}
	s.service.meters.refused("body not read")
	http.Error(w, "the body did not come in time", http.StatusRequestTimeout)
}

// answerWatch keeps the first bytes of an answer, which tell whether it is an
// error.
type answerWatch struct {
	http.ResponseWriter

	head []byte
}

func (a *answerWatch) Write(p []byte) (int, error) {
	if n := headBytes - len(a.head); n > 0 {
		a.head = append(a.head, p[:min(n, len(p))]...)
	}
	return a.ResponseWriter.Write(p)
}

// Flush is what go-ethereum's server asks for after an error.
func (a *answerWatch) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }
