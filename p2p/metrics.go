package p2p

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counter is one figure that only grows.
type counter int

const (
	cBatchesPublished counter = iota
	cTransactionsPublished
	cTransactionsDropped
	cBatchesReceived
	cFinalizationsPublished
	cFinalizationsDropped
	cFinalizationsReceived
	cGossipAccepted
	cGossipIgnored
	cGossipRejected
	cGossipOverload
	cConsensusSent
	cConsensusSentBytes
	cConsensusReceived
	cConsensusDropped
	cConsensusStreams
	cConsensusRefused
	cRequestsSent
	cRequestsFailed
	cRequestsServed
	cRequestsRefused
	cRequestsLimited
	cDirectSent
	cDirectReceived
	cFramesMalformed
	cFramesOversize
	cStreamsSlow
	cHandshakes
	cHandshakesFailed
	cWrongGenesis
	cIncompatible
	cPeersRefused
	cDials
	cDialsFailed
	cConnectionsLeft
	cCharges
	cBans
	counterCount
)

var counterInfo = [counterCount]struct{ name, help string }{
	cBatchesPublished:       {"batches_published_total", "Batches of transactions published."},
	cTransactionsPublished:  {"transactions_published_total", "Transactions in published batches."},
	cTransactionsDropped:    {"transactions_dropped_total", "Own transactions not published: too large or the queue was full."},
	cBatchesReceived:        {"batches_received_total", "Batches of transactions handed to the node, gossiped or direct."},
	cFinalizationsPublished: {"finalizations_published_total", "Finalizations published."},
	cFinalizationsDropped:   {"finalizations_dropped_total", "Own finalizations not published."},
	cFinalizationsReceived:  {"finalizations_received_total", "Gossiped finalizations handed to the node."},
	cGossipAccepted:         {"gossip_accepted_total", "Gossiped messages accepted and passed on."},
	cGossipIgnored:          {"gossip_ignored_total", "Gossiped messages ignored."},
	cGossipRejected:         {"gossip_rejected_total", "Gossiped messages rejected."},
	cGossipOverload:         {"gossip_overload_total", "Gossiped batches ignored because the transaction handler was behind."},
	cConsensusSent:          {"consensus_sent_total", "Consensus frames written."},
	cConsensusSentBytes:     {"consensus_sent_bytes_total", "Bytes of consensus frames written."},
	cConsensusReceived:      {"consensus_received_total", "Consensus frames handed to the node."},
	cConsensusDropped:       {"consensus_dropped_total", "Consensus frames dropped: queue full, stale, too large or lost with a stream."},
	cConsensusStreams:       {"consensus_streams_total", "Outgoing consensus streams opened."},
	cConsensusRefused:       {"consensus_refused_total", "Consensus streams of peers that are no validators."},
	cRequestsSent:           {"requests_sent_total", "Requests sent."},
	cRequestsFailed:         {"requests_failed_total", "Requests that got no answer or an error."},
	cRequestsServed:         {"requests_served_total", "Requests answered."},
	cRequestsRefused:        {"requests_refused_total", "Requests that the handler could not answer."},
	cRequestsLimited:        {"requests_limited_total", "Requests refused by a rate or concurrency limit."},
	cDirectSent:             {"direct_batches_sent_total", "Batches of transactions sent to one peer."},
	cDirectReceived:         {"direct_batches_received_total", "Batches of transactions received from one peer directly."},
	cFramesMalformed:        {"frames_malformed_total", "Frames that could not be read."},
	cFramesOversize:         {"frames_oversize_total", "Frames above their limit."},
	cStreamsSlow:            {"streams_slow_total", "Streams reset because the peer let a deadline pass."},
	cHandshakes:             {"handshakes_total", "Handshakes completed."},
	cHandshakesFailed:       {"handshakes_failed_total", "Handshakes that ended in an error or no answer."},
	cWrongGenesis:           {"peers_wrong_genesis_total", "Peers refused for another genesis."},
	cIncompatible:           {"peers_incompatible_total", "Peers refused for their wire version."},
	cPeersRefused:           {"peers_refused_total", "Connections refused: not allowed, banned or too many."},
	cDials:                  {"dials_total", "Dials begun."},
	cDialsFailed:            {"dials_failed_total", "Dials that failed."},
	cConnectionsLeft:        {"connections_left_total", "Connections closed because the peer had left them and come back on another."},
	cCharges:                {"charges_total", "Times a peer was charged for a fault."},
	cBans:                   {"bans_total", "Peers banned."},
}

// counters is a prometheus.Collector of this package's figures.
type counters struct {
	values [counterCount]atomic.Uint64
	descs  [counterCount]*prometheus.Desc
	gauges []gauge
}

type gauge struct {
	name string
	desc *prometheus.Desc
	read func() uint64
}

func newCounters() *counters {
	c := &counters{}
	for i, info := range counterInfo {
		c.descs[i] = prometheus.NewDesc("cairn_p2p_"+info.name, info.help, nil, nil)
	}
	return c
}

func (c *counters) addGauge(name, help string, read func() uint64) {
	c.gauges = append(c.gauges, gauge{name, prometheus.NewDesc("cairn_p2p_"+name, help, nil, nil), read})
}

func (c *counters) add(i counter, n int) { c.values[i].Add(uint64(n)) }

func (c *counters) inc(i counter) { c.values[i].Add(1) }

// Describe implements prometheus.Collector.
func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
	for _, g := range c.gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *counters) Collect(ch chan<- prometheus.Metric) {
	for i, d := range c.descs {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(c.values[i].Load()))
	}
	for _, g := range c.gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.read()))
	}
}

// Metrics is a snapshot of every figure by its name, without the prefix
// cairn_p2p_ that it has in the registry.
func (h *Host) Metrics() map[string]uint64 {
	out := make(map[string]uint64, int(counterCount)+len(h.count.gauges))
	for i, info := range counterInfo {
		out[info.name] = h.count.values[i].Load()
	}
	for _, g := range h.count.gauges {
		out[g.name] = g.read()
	}
	return out
}
