package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// figure is what one method did over one transport. Latencies are of requests:
// of a batch as a whole.
type figure struct {
	Method      string  `json:"method"`
	Transport   string  `json:"transport"` // http, batch or websocket
	PerSecond   float64 `json:"perSecond"` // calls; the median of the rounds, as all below
	Least       float64 `json:"leastPerSecond"`
	Most        float64 `json:"mostPerSecond"`
	P50         float64 `json:"p50Millis"`
	P99         float64 `json:"p99Millis"`
	Calls       int     `json:"calls"`          // of all rounds
	Refused     int     `json:"refused"`        // of them, answered with an error
	AnswerBytes int     `json:"answerBytes"`    // of one request, the last
	NodeMicros  float64 `json:"nodeCPUMicros"`  // processor time of the node, a call
	OtherMicros float64 `json:"otherCPUMicros"` // of the other nodes
	LoadMicros  float64 `json:"loadCPUMicros"`  // of this program
}

// subject is what a figure is of.
type subject struct {
	method, transport string
	calls             int // in one request
	dial              func(context.Context) (link, error)
	request           func(connection, i int) []byte // nil = no more
	limit             int                            // requests of a connection and round; 0 = as many as the time allows
	prepare, settle   func(context.Context) error    // before and after a round; may be nil

	rounds []round
}

// round is what was measured in one.
type round struct {
	calls, refused, answer int
	perSecond              float64
	times                  []time.Duration
	node, others, load     float64 // processor microseconds a call
}

// share is what one connection measured.
type share struct {
	requests, refused, answer int
	times                     []time.Duration
}

// refusal stands in every error of JSON-RPC and in no result that is asked for.
var refusal = []byte(`"error":`)

// measure makes one round on fresh connections. pids are of the node that is
// asked and of the others.
func (s *subject) measure(ctx context.Context, connections int, long time.Duration, pids []int) error {
	if s.prepare != nil {
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	links := make([]link, connections)
	for i := range links {
		l, err := s.dial(ctx)
		if err != nil {
			return err
		}
		defer l.Close()
		links[i] = l
	}
	shares := make([]share, connections)
	node, others, load := processorTime(pids[:1]), processorTime(pids[1:]), ownTime()
	begun := time.Now()
	var g errgroup.Group
	for i, l := range links {
		g.Go(func() error { return s.work(&shares[i], l, i, begun.Add(long)) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%s over %s: %w", s.method, s.transport, err)
	}
	seconds := time.Since(begun).Seconds()
	r := round{node: processorTime(pids[:1]) - node, others: processorTime(pids[1:]) - others, load: ownTime() - load}
	for i := range shares {
		r.calls, r.refused = r.calls+shares[i].requests*s.calls, r.refused+shares[i].refused
		r.times, r.answer = append(r.times, shares[i].times...), shares[i].answer
	}
	if r.calls == 0 {
		return fmt.Errorf("%s over %s: nothing was asked", s.method, s.transport)
	}
	n := float64(r.calls)
	r.perSecond, r.node, r.others, r.load = n/seconds, r.node/n, r.others/n, r.load/n
	s.rounds = append(s.rounds, r)
	if s.settle != nil {
		return s.settle(ctx)
	}
	return nil
}

// work asks until the time is over or there is nothing more to ask.
func (s *subject) work(out *share, l link, connection int, until time.Time) error {
	for i := 0; s.limit == 0 || i < s.limit; i++ {
		at := time.Now()
		if s.limit == 0 && at.After(until) {
			return nil
		}
		answer, err := l.ask(s.request(connection, i))
		if err != nil {
			return err
		}
		out.times = append(out.times, time.Since(at))
		out.requests++
		out.refused += bytes.Count(answer, refusal)
		out.answer = len(answer)
	}
	return nil
}

// figure sums the rounds up.
func (s *subject) figure() *figure {
	of := func(value func(*round) float64) (out []float64) {
		for i := range s.rounds {
			out = append(out, value(&s.rounds[i]))
		}
		slices.Sort(out)
		return out
	}
	middle := func(value func(*round) float64) float64 {
		all := of(value)
		return all[len(all)/2]
	}
	speed := of(func(r *round) float64 { return r.perSecond })
	out := &figure{
		Method: s.method, Transport: s.transport, PerSecond: speed[len(speed)/2], Least: speed[0], Most: speed[len(speed)-1],
		P50:        middle(func(r *round) float64 { return latency(r.times, 0.5) }),
		P99:        middle(func(r *round) float64 { return latency(r.times, 0.99) }),
		NodeMicros: middle(func(r *round) float64 { return r.node }), OtherMicros: middle(func(r *round) float64 { return r.others }),
		LoadMicros: middle(func(r *round) float64 { return r.load }),
	}
	for _, r := range s.rounds {
		out.Calls, out.Refused, out.AnswerBytes = out.Calls+r.calls, out.Refused+r.refused, r.answer
	}
	return out
}

// latency is a quantile of some times in milliseconds; it sorts them.
func latency(times []time.Duration, quantile float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	at := times[min(len(times)-1, int(quantile*float64(len(times))))]
	return float64(at.Microseconds()) / 1000
}

// clockTick is the unit of /proc/PID/stat: 100 a second on every Linux that Go
// runs on.
const clockTick = 10_000 // microseconds

// processorTime is what processes have used, in microseconds; one that is gone
// counts nothing.
func processorTime(pids []int) (micros float64) {
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		for _, ticks := range fields[11:13] { // in user mode, in the kernel
			n, err := strconv.ParseFloat(ticks, 64)
			if err == nil {
				micros += n * clockTick
			}
		}
	}
	return micros
}

// ownTime is what this program has used, in microseconds.
func ownTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}
