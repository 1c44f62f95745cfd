package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// gossip is the two topics, the batch that is filling, and the queue of batches
// that wait for the transaction handler.
type gossip struct {
	h             *Host
	pubsub        *pubsub.PubSub
	transactions  *pubsub.Topic
	finalizations *pubsub.Topic
	jobs          chan *batchJob
	outgoing      chan []byte // finalizations to publish

	wake chan struct{}
	mu   sync.Mutex
	raws [][]byte // own transactions that wait to be published
	size int      // of raws, encoded
}

// batchJob is a batch on its way through the transaction handler.
type batchJob struct {
	from    peer.ID
	raws    [][]byte
	verdict chan Verdict // buffered, one value
}

// topicName is a topic of this network.
func (h *Host) topicName(name string) string {
	return "/cairn/" + hex.EncodeToString(h.cfg.Genesis[:]) + "/" + name + "/1"
}

// maxBatchBytes bounds a batch: what waits for BatchBytes may grow by one whole
// transaction, and a single one may be larger than BatchBytes.
func (h *Host) maxBatchBytes() int {
	return h.cfg.BatchBytes + h.cfg.MaxTransactionBytes + 8
}

func startGossip(h *Host) (*gossip, error) {
	g := &gossip{h: h, jobs: make(chan *batchJob, maxTransactionJobs), outgoing: make(chan []byte, maxOutgoingFinalizations), wake: make(chan struct{}, 1)}
	var err error
	if g.pubsub, err = pubsub.NewGossipSub(h.ctx, h.host, g.options()...); err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	if h.handlers.Transactions != nil {
		if g.transactions, err = g.join("transactions", g.validateTransactions); err != nil {
			return nil, err
		}
		h.spawn(g.handleBatches)
		h.spawn(g.publishBatches)
	}
	if h.handlers.Finalization != nil {
		if g.finalizations, err = g.join("finalizations", g.validateFinalization); err != nil {
			return nil, err
		}
		h.spawn(g.publishFinalizations)
	}
	return g, nil
}

// join takes part in a topic: messages are validated and passed on. Nobody
// subscribes, for the validator has already handed the message to the node.
func (g *gossip) join(name string, validate pubsub.ValidatorEx) (*pubsub.Topic, error) {
	full := g.h.topicName(name)
	if err := g.pubsub.RegisterTopicValidator(full, validate, pubsub.WithValidatorConcurrency(2*maxTransactionJobs)); err != nil {
		return nil, fmt.Errorf("join topic %s: %w", name, err)
	}
	t, err := g.pubsub.Join(full)
	if err == nil {
		err = t.SetScoreParams(topicScore())
	}
	if err == nil {
		_, err = t.Relay()
	}
	if err != nil {
		return nil, fmt.Errorf("join topic %s: %w", name, err)
	}
	return t, nil
}

func (g *gossip) options() []pubsub.Option {
	cfg := &g.h.cfg
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi = 8, 6, 12
	// A peer is in nobody's mesh before a heartbeat, and what is passed on
	// meanwhile does not reach it.
	params.HeartbeatInterval = 250 * time.Millisecond
	params.HeartbeatInitialDelay = 50 * time.Millisecond
	params.HistoryLength, params.HistoryGossip = 16, 8 // heartbeats
	params.OpportunisticGraftTicks = 240
	meshsub := g.h.protocol("meshsub")
	return []pubsub.Option{
		pubsub.WithGossipSubParams(params),
		pubsub.WithGossipSubProtocols([]protocol.ID{meshsub}, func(f pubsub.GossipSubFeature, p protocol.ID) bool {
			return p == meshsub && f != pubsub.GossipSubFeatureExtensions
		}),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(
			pubsub.NewAllowlistSubscriptionFilter(g.h.topicName("transactions"), g.h.topicName("finalizations")), 8)),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(max(g.h.maxBatchBytes(), cfg.MaxFinalizationBytes) + 1<<10),
		pubsub.WithFloodPublish(!cfg.NoFloodPublish),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithValidateQueueSize(maxTransactionJobs),
		// One worker, so that batches reach the queue in order of arrival.
		pubsub.WithValidateWorkers(1),
		pubsub.WithDefaultValidator(pubsub.ValidatorEx(g.admit), pubsub.WithValidatorInline(true)),
		pubsub.WithPeerScore(g.scoreParams(), scoreThresholds()),
		pubsub.WithLogger(slog.New(slog.DiscardHandler)),
	}
}

// messageID is the hash of topic and content: the same bytes are the same
// message whoever sends them.
func messageID(m *pb.Message) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d:%s", len(m.GetTopic()), m.GetTopic())
	sum.Write(m.GetData())
	return string(sum.Sum(nil)[:20])
}

// scoreParams judges peers by what they relay and what they are charged with.
// Addresses are no part of it: the gater limits peers per address, and on a
// test network all share one.
func (g *gossip) scoreParams() *pubsub.PeerScoreParams {
	return &pubsub.PeerScoreParams{
		Topics:        map[string]*pubsub.TopicScoreParams{},
		TopicScoreCap: 50,
		AppSpecificScore: func(p peer.ID) float64 {
			if g.h.mustKeep(p) {
				return 100
			}
			return -g.h.gater.points(p)
		},
		AppSpecificWeight:         1,
		BehaviourPenaltyWeight:    -1,
		BehaviourPenaltyThreshold: 10,
		BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(time.Minute),
		DecayInterval:             time.Second,
		DecayToZero:               0.01,
		RetainScore:               10 * time.Minute,
	}
}

func topicScore() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		SkipAtomicValidation:           true,
		TopicWeight:                    0.5,
		TimeInMeshWeight:               0.01,
		TimeInMeshQuantum:              time.Second,
		TimeInMeshCap:                  600,
		FirstMessageDeliveriesWeight:   0.1,
		FirstMessageDeliveriesDecay:    pubsub.ScoreParameterDecay(time.Minute),
		FirstMessageDeliveriesCap:      200,
		InvalidMessageDeliveriesWeight: -5,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(10 * time.Minute),
	}
}

func scoreThresholds() *pubsub.PeerScoreThresholds {
	return &pubsub.PeerScoreThresholds{
		GossipThreshold: -50, PublishThreshold: -80, GraylistThreshold: -120,
		AcceptPXThreshold: 1000, OpportunisticGraftThreshold: 1,
	}
}

// admit runs first, in order of arrival, and puts a batch in the queue of the
// transaction handler. What the queue has no room for is ignored: the seen
// cache then hides these bytes for two minutes, and senders announce again.
func (g *gossip) admit(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.h.ID() || m.GetTopic() != g.h.topicName("transactions") {
		return pubsub.ValidationAccept
	}
	raws, err := decodeBatch(m.GetData(), g.h.cfg.MaxTransactionBytes)
	if err == nil && len(m.GetData()) > g.h.maxBatchBytes() {
		err = ErrFrameTooLarge
	}
	if err != nil {
		g.h.count.inc(cFramesMalformed)
		g.h.count.inc(cGossipRejected)
		g.h.Penalize(from, FaultMalformed)
		return pubsub.ValidationReject
	}
	job := g.enqueue(from, raws)
	if job == nil {
		return pubsub.ValidationIgnore
	}
	m.ValidatorData = job
	return pubsub.ValidationAccept
}

// enqueue hands a batch to the transaction handler; nil = it is too far behind.
func (g *gossip) enqueue(from peer.ID, raws [][]byte) *batchJob {
	job := &batchJob{from: from, raws: raws, verdict: make(chan Verdict, 1)}
	select {
	case g.jobs <- job:
		return job
	default:
		g.h.count.inc(cGossipOverload)
		return nil
	}
}

// await answers the handler's verdict, Ignore if the host closes first.
func (g *gossip) await(ctx context.Context, job *batchJob) Verdict {
	select {
	case v := <-job.verdict:
		return v
	case <-ctx.Done():
		return Ignore
	}
}

// handleBatches calls the transaction handler, one batch at a time.
func (g *gossip) handleBatches() {
	for {
		select {
		case <-g.h.ctx.Done():
			return
		case job := <-g.jobs:
			g.h.count.inc(cBatchesReceived)
			job.verdict <- g.h.handlers.Transactions(g.h.ctx, job.from, job.raws)
		}
	}
}

func (g *gossip) validateTransactions(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	job, ok := m.ValidatorData.(*batchJob)
	if !ok {
		return pubsub.ValidationAccept // our own
	}
	return g.result(from, g.await(ctx, job))
}

func (g *gossip) validateFinalization(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.h.ID() {
		return pubsub.ValidationAccept
	}
	if n := len(m.GetData()); n == 0 || n > g.h.cfg.MaxFinalizationBytes {
		g.h.count.inc(cFramesMalformed)
		return g.result(from, Reject)
	}
	g.h.count.inc(cFinalizationsReceived)
	return g.result(from, g.h.handlers.Finalization(ctx, from, m.GetData()))
}

// result counts a verdict and tells gossip.
func (g *gossip) result(from peer.ID, v Verdict) pubsub.ValidationResult {
	switch v {
	case Accept:
		g.h.count.inc(cGossipAccepted)
		return pubsub.ValidationAccept
	case Reject:
		g.h.count.inc(cGossipRejected)
		g.h.Penalize(from, FaultRejected)
		return pubsub.ValidationReject
	default:
		g.h.count.inc(cGossipIgnored)
		return pubsub.ValidationIgnore
	}
}

// PublishTransactions gossips encoded transactions to all peers and returns at
// once. They leave in batches: at once when the last batch is BatchDelay ago,
// else when BatchDelay has passed or BatchBytes are full. Transactions above
// MaxTransactionBytes, or more than 8 MiB waiting, are dropped and counted.
// Bytes that a peer saw within two minutes are not passed on again; see
// SendTransactions.
func (h *Host) PublishTransactions(raws ...[]byte) {
	g := h.gossip
	if g.transactions == nil {
		h.count.add(cTransactionsDropped, len(raws))
		return
	}
	dropped := 0
	g.mu.Lock()
	for _, raw := range raws {
		if len(raw) == 0 || len(raw) > h.cfg.MaxTransactionBytes || g.size+len(raw) > maxPendingBytes {
			dropped++
			continue
		}
		g.raws = append(g.raws, raw)
		g.size += batchItemSize(raw)
	}
	g.mu.Unlock()
	h.count.add(cTransactionsDropped, dropped)
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// publishBatches sends what waits. After each batch that was not full it rests
// for BatchDelay, in which the next one gathers.
func (g *gossip) publishBatches() {
	rest := time.NewTimer(0)
	<-rest.C
	for {
		select {
		case <-g.h.ctx.Done():
			return
		case <-g.wake:
		}
		for full := true; full; {
			full = g.publishOne()
		}
		rest.Reset(g.h.cfg.BatchDelay)
		for resting := true; resting; {
			select {
			case <-g.h.ctx.Done():
				return
			case <-rest.C:
				resting = false
			case <-g.wake:
				for g.waiting() >= g.h.cfg.BatchBytes {
					g.publishOne()
				}
			}
		}
		if g.waiting() > 0 {
			select {
			case g.wake <- struct{}{}:
			default:
			}
		}
	}
}

func (g *gossip) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size
}

// publishOne publishes the next batch and says whether as much again waits.
func (g *gossip) publishOne() (more bool) {
	g.mu.Lock()
	n := g.h.batchLength(g.raws)
	raws := g.raws[:n]
	for _, raw := range raws {
		g.size -= batchItemSize(raw)
	}
	if g.raws = g.raws[n:]; len(g.raws) == 0 {
		g.raws = nil
	}
	more = g.size >= g.h.cfg.BatchBytes
	g.mu.Unlock()
	if n == 0 {
		return false
	}
	if err := g.transactions.Publish(g.h.ctx, encodeBatch(raws)); err != nil {
		g.h.count.add(cTransactionsDropped, n)
		g.h.log.Debug("batch not published", "err", err)
		return more
	}
	g.h.count.inc(cBatchesPublished)
	g.h.count.add(cTransactionsPublished, n)
	return more
}

// PublishFinalization gossips a finalization to all peers and returns at once.
// msg must not change afterwards. One above MaxFinalizationBytes is dropped
// with a warning; one that finds 64 waiting is dropped and counted.
func (h *Host) PublishFinalization(msg []byte) {
	if h.gossip.finalizations == nil {
		return
	}
	if len(msg) == 0 || len(msg) > h.cfg.MaxFinalizationBytes {
		h.log.Warn("finalization is too large to publish; raise MaxFinalizationBytes on all nodes", "bytes", len(msg))
		return
	}
	select {
	case h.gossip.outgoing <- msg:
	default:
		h.count.inc(cFinalizationsDropped)
	}
}

func (g *gossip) publishFinalizations() {
	for {
		select {
		case <-g.h.ctx.Done():
			return
		case msg := <-g.outgoing:
			if err := g.finalizations.Publish(g.h.ctx, msg); err != nil {
				g.h.count.inc(cFinalizationsDropped)
				g.h.log.Debug("finalization not published", "err", err)
				continue
			}
			g.h.count.inc(cFinalizationsPublished)
		}
	}
}
