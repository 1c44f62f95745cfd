package rpc

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels of calls that have no method of their own.
const (
	labelUnknown = "unknown"
	labelBatch   = "batch"
)

// meters are the metrics of the listener. Methods of batches are counted one by
// one; time and errors are those of the batch as a whole.
type meters struct {
	known    map[string]string // each name is its own value
	calls    *prometheus.CounterVec
	errors   *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refusals *prometheus.CounterVec
}

func newMeters(r prometheus.Registerer, methods []method, s *service) (*meters, error) {
	m := &meters{
		known:    make(map[string]string, len(methods)),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_calls_total", Help: "JSON-RPC calls by method."}, []string{"method"}),
		errors:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_errors_total", Help: "JSON-RPC calls that were answered with an error, by method and code."}, []string{"method", "code"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cairn_rpc_seconds", Help: "Time to answer a JSON-RPC call that came alone, or a batch.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}, []string{"method"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_refused_total", Help: "Requests and connections that a limit refused, by limit."}, []string{"limit"}),
	}
	know := func(name string) { m.known[name] = name }
	know("rpc_modules") // go-ethereum's own
	for _, x := range methods {
		if x.subscription {
			know(x.namespace + "_subscribe")
			know(x.namespace + "_unsubscribe")
		} else {
			know(x.name)
		}
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.calls, m.errors, m.seconds, m.refusals,
		gauge("cairn_rpc_sockets", "Open WebSocket connections.", s.sockets.count),
		gauge("cairn_rpc_subscriptions", "Open subscriptions.", s.sockets.subscriptionCount),
		gauge("cairn_rpc_filters", "Open filters.", s.filters.count),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// label keeps names that a caller invents out of the metrics.
func (m *meters) label(method []byte) string {
	if name, ok := m.known[string(method)]; ok {
		return name
	}
	return labelUnknown
}

func (m *meters) refused(limit string) { m.refusals.WithLabelValues(limit).Inc() }

// arrived counts the calls of a request and answers what its time is put under.
func (m *meters) arrived(f *frame) string {
	for i := range f.calls {
		m.calls.WithLabelValues(m.label(f.calls[i].name())).Inc()
	}
	if f.batch || len(f.calls) != 1 {
		return labelBatch
	}
	return m.label(f.calls[0].name())
}

// answered notes one HTTP request.
func (m *meters) answered(f *frame, took time.Duration, head []byte) {
	label := m.arrived(f)
	m.took(label, took, head)
}

func (m *meters) took(label string, took time.Duration, head []byte) {
	m.seconds.WithLabelValues(label).Observe(took.Seconds())
	if _, code, ok := outcome(head); ok && code != 0 {
		m.errors.WithLabelValues(label, strconv.Itoa(code)).Inc()
	}
}
