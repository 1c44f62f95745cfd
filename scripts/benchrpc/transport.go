package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"
)

// figure is what one method did over one transport. Latencies are of requests:
// of a batch as a whole.
type figure struct {
	Method    string  `json:"method"`
	Transport string  `json:"transport"` // http, batch or websocket
	Calls     int     `json:"calls"`
	Refused   int     `json:"refused"` // answered with an error
	PerSecond float64 `json:"perSecond"`
	P50       float64 `json:"p50Millis"`
	P99       float64 `json:"p99Millis"`
}

// transport is a way to ask; batch is how many calls go into one request.
type transport struct {
	name, url string
	batch     int
}

// share is what one worker measured.
type share struct {
	calls, refused int
	times          []time.Duration
}

// measure makes about n calls with workers that have one connection and one
// request at a time each. call answers a worker's i-th call.
func (t transport) measure(ctx context.Context, method string, workers, n int, call func(worker, i int) rpc.BatchElem) (*figure, error) {
	clients := make([]*rpc.Client, workers)
	for w := range clients {
		own := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		defer own.CloseIdleConnections()
		c, err := rpc.DialOptions(ctx, t.url, rpc.WithHTTPClient(own))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		clients[w] = c
	}
	shares := make([]share, workers)
	g, gctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for w := range clients {
		g.Go(func() error {
			return shares[w].work(gctx, clients[w], t.batch, n/workers, func(i int) rpc.BatchElem { return call(w, i) })
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	seconds := time.Since(begun).Seconds()
	out := &figure{Method: method, Transport: t.name}
	var times []time.Duration
	for _, s := range shares {
		out.Calls, out.Refused, times = out.Calls+s.calls, out.Refused+s.refused, append(times, s.times...)
	}
	out.PerSecond = float64(out.Calls) / seconds
	slices.Sort(times)
	if len(times) > 0 {
		out.P50, out.P99 = millis(times[len(times)/2]), millis(times[len(times)*99/100])
	}
	return out, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *share) work(ctx context.Context, c *rpc.Client, batch, n int, call func(int) rpc.BatchElem) error {
	for s.calls < n {
		elems := make([]rpc.BatchElem, min(batch, n-s.calls))
		for i := range elems {
			elems[i] = call(s.calls + i)
			elems[i].Result = new(json.RawMessage)
		}
		at := time.Now()
		if err := ask(ctx, c, batch, elems); err != nil {
			return err
		}
		s.times = append(s.times, time.Since(at))
		s.calls += len(elems)
		for _, e := range elems {
			if e.Error != nil {
				s.refused++
			}
		}
	}
	return nil
}

// ask answers what kept it from an answer; the node's own errors are in elems.
func ask(ctx context.Context, c *rpc.Client, batch int, elems []rpc.BatchElem) error {
	if batch > 1 {
		return c.BatchCallContext(ctx, elems)
	}
	err := c.CallContext(ctx, elems[0].Result, elems[0].Method, elems[0].Args...)
	var refused rpc.Error
	if errors.As(err, &refused) {
		elems[0].Error, err = err, nil
	}
	return err
}
