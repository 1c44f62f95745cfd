package rpc

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels of calls that have no method of their own.
const (
	labelUnknown = "unknown"
	labelBatch   = "batch"
)

// methodMeter are the metrics of one method, ready to be counted.
type methodMeter struct {
	name    string
	calls   prometheus.Counter
	seconds prometheus.Observer
}

// meters are the metrics of the listener. Methods of batches are counted one by
// one; their time is that of the batch as a whole.
type meters struct {
	known    map[string]*methodMeter
	unknown  *methodMeter
	batch    *methodMeter
	calls    *prometheus.CounterVec
	errors   *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refusals *prometheus.CounterVec

	cacheHits, cacheMisses prometheus.Counter
}

func newMeters(r prometheus.Registerer, methods []method, s *service) (*meters, error) {
	m := &meters{
		known:    make(map[string]*methodMeter, len(methods)),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_calls_total", Help: "JSON-RPC calls by method."}, []string{"method"}),
		errors:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_errors_total", Help: "JSON-RPC calls that were answered with an error, by method and code."}, []string{"method", "code"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cairn_rpc_seconds", Help: "Time to answer a JSON-RPC call that came alone, or a batch.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}, []string{"method"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_rpc_refused_total", Help: "Requests and connections that a limit refused, by limit."}, []string{"limit"}),

		cacheHits:   prometheus.NewCounter(prometheus.CounterOpts{Name: "cairn_rpc_cache_hits_total", Help: "Answers about final blocks that were encoded already."}),
		cacheMisses: prometheus.NewCounter(prometheus.CounterOpts{Name: "cairn_rpc_cache_misses_total", Help: "Answers about final blocks that had to be encoded."}),
	}
	m.unknown, m.batch = m.of(labelUnknown), m.of(labelBatch)
	for _, name := range namesOf(methods) {
		m.known[name] = m.of(name)
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.calls, m.errors, m.seconds, m.refusals, m.cacheHits, m.cacheMisses,
		gauge("cairn_rpc_sockets", "Open WebSocket connections.", s.sockets.count),
		gauge("cairn_rpc_subscriptions", "Open subscriptions.", s.sockets.subscriptionCount),
		gauge("cairn_rpc_filters", "Open filters.", s.filters.count),
	} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *meters) of(label string) *methodMeter {
	return &methodMeter{name: label, calls: m.calls.WithLabelValues(label), seconds: m.seconds.WithLabelValues(label)}
}

// method keeps names that a caller invents out of the metrics.
func (m *meters) method(name []byte) *methodMeter {
	if x, ok := m.known[string(name)]; ok {
		return x
	}
	return m.unknown
}

func (m *meters) refused(limit string) { m.refusals.WithLabelValues(limit).Inc() }

// arrived counts the calls of a request and answers what its time is put under.
func (m *meters) arrived(f *frame) *methodMeter {
	for i := range f.calls {
		m.method(f.calls[i].name()).calls.Inc()
	}
	if f.batch || len(f.calls) != 1 {
		return m.batch
	}
	return m.method(f.calls[0].name())
}

// answered counts an answer that is an error.
func (m *meters) answered(x *methodMeter, answer []byte) {
	if _, code, ok := outcome(answer[:min(len(answer), headBytes)]); ok && code != 0 {
		m.errors.WithLabelValues(x.name, strconv.Itoa(code)).Inc()
	}
}
