package rpc

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Sizes of the buffers that requests are read into.
const (
	smallBody   = 1 << 10 // the length that is taken at its word, is not counted and has no buffer that is used again
	firstBuffer = 4 << 10 // of what is longer, or of unknown length; then each is twice the one before
)

// intake reads one request. Its bytes count from when they come until it is
// answered: who sends much and never ends, or more than is worked on, must not
// fill the memory. What can only be refused is read no further.
type intake struct {
	total *atomic.Int64 // of all requests
	own   *atomic.Int64 // of those of the same connection
	most  int64         // of all
	n     int64
	scan  scan

	buffer  *[]byte // goes back when the request is answered; nil = none
	doubled int     // how often its size is firstBuffer's, doubled
}

// buffers hold requests while they are read and answered: a flood of large ones
// must not make garbage, whose collection all of the node pays for. They are kept
// apart by size, and none is larger than twice what has come: else few bytes of
// requests that never end could keep every large one, uncounted.
var buffers [48]sync.Pool

// bufferOf is a buffer of firstBuffer bytes, doubled so often.
func bufferOf(doubled int) *[]byte {
	if b, ok := buffers[doubled].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, firstBuffer<<doubled)
	return &b
}

// intake counts with what one connection has sent so far.
func (s *service) intake(own *atomic.Int64) *intake {
	return &intake{total: &s.bodies, own: own, most: int64(s.limits.WaitingBytes), scan: scan{most: s.limits.Batch}}
}

// read reads until the end of from; length is what is said to come, negative =
// unknown. Errors: that of from; errTooMuchComes; errTooDeep and errBatchTooLarge,
// with what was read. What it answers must not be used after release.
func (i *intake) read(from io.Reader, length int64) ([]byte, error) {
	if length >= 0 && length <= smallBody {
		b := make([]byte, length)
		if _, err := io.ReadFull(from, b); err != nil {
			return nil, err
		}
		return b, i.scan.feed(b)
	}
	i.buffer = bufferOf(0)
	b := (*i.buffer)[:0]
	for {
		if len(b) == cap(b) {
			b = i.grow(b)
		}
		n, err := from.Read(b[len(b):cap(b)])
		fresh := b[len(b) : len(b)+n]
		b = b[:len(b)+n]
		if counted := i.count(int64(n)); counted != nil {
			return nil, counted
		}
		if refused := i.scan.feed(fresh); refused != nil {
			return b, refused
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// grow moves what has come to a buffer of twice the size.
func (i *intake) grow(b []byte) []byte {
	small := i.buffer
	i.buffer = bufferOf(i.doubled + 1)
	b = append((*i.buffer)[:0], b...)
	buffers[i.doubled].Put(small)
	i.doubled++
	return b
}

// count fails when all requests together are too much, unless the connection has
// little of it.
func (i *intake) count(n int64) error {
	i.n += n
	own := i.own.Add(n)
	if i.total.Add(n) > i.most && own > smallAnswer {
		return errTooMuchComes
	}
	return nil
}

// release is to be called once the request is not needed any more; again, it does
// nothing.
func (i *intake) release() {
	i.total.Add(-i.n)
	i.own.Add(-i.n)
	i.n = 0
	if i.buffer != nil {
		buffers[i.doubled].Put(i.buffer)
		i.buffer, i.doubled = nil, 0
	}
}

// readBody reads the body of a request of at most limit bytes. Errors: those of
// intake.read; *http.MaxBytesError, of a body that says how long it is before any
// of it is read.
func readBody(w http.ResponseWriter, r *http.Request, limit int, in *intake) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, &http.MaxBytesError{Limit: int64(limit)}
	}
	return in.read(http.MaxBytesReader(w, r.Body, int64(limit)), r.ContentLength)
}
