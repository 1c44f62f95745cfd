package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// meters are the node's own metrics; docs/operating.md lists them.
type meters struct {
	registry      *prometheus.Registry
	height        prometheus.Gauge
	view          prometheus.Gauge
	free          prometheus.Gauge
	epoch         prometheus.Gauge
	voting        prometheus.Gauge
	lost          prometheus.Gauge
	witness       prometheus.Counter
	transactions  prometheus.Counter
	proposed      prometheus.Counter
	equivocations *prometheus.CounterVec
	execution     prometheus.Histogram
	commit        prometheus.Histogram
	refused       *prometheus.CounterVec
}

func newMeters() *meters {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 14)
	m := &meters{
		registry:      prometheus.NewRegistry(),
		height:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_height", Help: "Height of the last final block."}),
		view:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_view", Help: "Current consensus view."}),
		epoch:         prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_epoch", Help: "Epoch: number of changes of the validator set."}),
		voting:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_voting", Help: "1 while this node signs votes, else 0."}),
		lost:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_lost_vote_writes", Help: "Synced writes of votes that the database lacked at the start of the process."}),
		witness:       prometheus.NewCounter(prometheus.CounterOpts{Name: "cairn_witness_failures_total", Help: "Failed writes and syncs of the witness of the vote log."}),
		free:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "cairn_disk_free_bytes", Help: "Free space of the data directory's disk."}),
		transactions:  prometheus.NewCounter(prometheus.CounterOpts{Name: "cairn_final_transactions_total", Help: "Transactions in final blocks since the start of the process."}),
		proposed:      prometheus.NewCounter(prometheus.CounterOpts{Name: "cairn_proposed_blocks_total", Help: "Blocks built by this node as leader."}),
		equivocations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_equivocations_total", Help: "Proven contradictions of a validator with itself, those kept from earlier runs included."}, []string{"validator"}),
		execution:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "cairn_execution_seconds", Help: "Time to execute a proposed block.", Buckets: seconds}),
		commit:        prometheus.NewHistogram(prometheus.HistogramOpts{Name: "cairn_commit_seconds", Help: "Time to commit a final block.", Buckets: seconds}),
		refused:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cairn_refused_total", Help: "Messages from peers that were refused, by what they were."}, []string{"what"}),
	}
	m.registry.MustRegister(m.height, m.view, m.epoch, m.voting, m.lost, m.witness, m.free, m.transactions, m.proposed, m.equivocations, m.execution, m.commit, m.refused,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}
