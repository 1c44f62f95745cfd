package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/light"
	"cairn/node/blocksync"
	"cairn/node/fetch"
	"cairn/node/rpc"
	"cairn/p2p"
)

// Limits of the syncer.
const (
	pollGap     = 100 * time.Millisecond // least time between two rounds of asking
	statusPeers = 16                     // asked where they stand when this node is behind
	statusRest  = time.Second            // for the others to answer once one has: nobody waits long for who is silent
	maxHeights  = 1024                   // peers whose height is remembered
	heightFresh = 2 * time.Second        // a peer is not asked for blocks above the height that it told, and then
	heightSlack = 1024                   // not for blocks so far above it
	followCount = 256                    // blocks that a full node at the head asks for at once
	followBytes = 1 << 20
)

// syncer brings a node that missed final blocks back to the head. It asks peers
// where they stand, believes only what the validators signed, and hands verified
// blocks to the owner goroutine. blocksync does the fetching and checking.
type syncer struct {
	d        *driver
	wake     chan struct{}
	pool     *fetch.Pool
	pin      *blocksync.Pin // nil = the operator trusts nothing but genesis
	progress progress
	warned   *pace // of the log

	home    string        // where a snapshot is fetched to
	mode    string        // SyncAuto, SyncFull, SyncSnapshot
	spec    *genesis.Spec // of the network
	options store.Options // of a database made from a snapshot
	gain    uint64        // what one must bring with SyncSnapshot: gainForced

	following sync.Mutex  // held while a full node fetches what is new
	catching  atomic.Bool // this node catches up: what it lacks comes in order
	stop      atomic.Pointer[func()]

	mu      sync.Mutex
	last    peer.ID // from which the newest finalization came
	heights map[peer.ID]toldHeight
}

func newSyncer(d *driver, pin *blocksync.Pin) *syncer {
	s := &syncer{d: d, wake: make(chan struct{}, 1), pin: pin, gain: gainForced, warned: newPace(time.Minute), heights: make(map[peer.ID]toldHeight)}
	s.progress.log = d.log
	s.pool = fetch.New(syncPeers{d})
	return s
}

// toldHeight is a height that a peer said it has, and when.
type toldHeight struct {
	height uint64
	at     time.Time
}

// syncPeers are the connected peers, as fetch asks them.
type syncPeers struct{ d *driver }

func (n syncPeers) Peers() []peer.ID { return n.d.askable() }

func (n syncPeers) Request(ctx context.Context, p peer.ID, name string, request []byte) ([]byte, error) {
	return n.d.ask(ctx, p, name, request)
}

// Lied bans a peer that proved itself wrong. One that has another block than the
// operator trusts may be right: then it is the operator who is told.
func (n syncPeers) Lied(p peer.ID, name string, err error) {
	n.d.meters.refused.WithLabelValues(name + " answer").Inc()
	if errors.Is(err, blocksync.ErrTrusted) {
		n.d.log.Error("sync: a peer has another block than the configuration trusts; compare sync.trusted with somebody you know", "peer", p, "err", err)
		n.d.host.Penalize(p, p2p.FaultUseless)
		return
	}
	n.d.log.Warn("sync: a peer gave a false answer and is not asked again", "peer", p, "request", name, "err", err)
	n.d.host.Penalize(p, p2p.FaultInvalid)
}

func (n syncPeers) Failed(p peer.ID, name string, err error) {
	n.d.log.Debug("sync: no answer", "peer", p, "request", name, "err", err)
	n.d.host.Penalize(p, p2p.FaultUseless)
}

// poke asks for a look at the peers now instead of at the next poll.
func (s *syncer) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// heard remembers who told the newest finalization: it has the block.
func (s *syncer) heard(p peer.ID) {
	s.mu.Lock()
	s.last = p
	s.mu.Unlock()
}

// heardFirst moves the peer last heard from to the front and keeps as many as
// one fetch may ask.
func (s *syncer) heardFirst(ps []peer.ID) []peer.ID {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if i := slices.Index(ps, last); i > 0 {
		ps[0], ps[i] = ps[i], ps[0]
	}
	now := time.Now()
	return s.d.deaf.tries(s.d.deaf.last(ps, now), fetchTries, now) // it may hang since
}

// run polls until ctx ends, or until the node has to be opened again with the
// snapshot that it fetched (ErrRestart).
func (s *syncer) run(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.wake:
		}
		if s.d.room() == readsOnly {
			continue
		}
		next := time.NewTimer(pollGap)
		if s.look(ctx) {
			err := s.whileRoom(ctx, s.catchUp)
			if errors.Is(err, ErrRestart) {
				return err
			}
			if err != nil && ctx.Err() == nil && s.warned.allow("") {
				s.d.log.Warn("sync: stopped; it goes on when a peer has what is missing", "height", s.d.ledger.HeadInfo().Height, "err", err)
			}
			s.progress.end()
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
}

// whileRoom does something that writes to the disk until it is done or interrupted.
func (s *syncer) whileRoom(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := func() { cancel(ErrNoRoom) }
	s.stop.Store(&stop)
	if s.d.room() == readsOnly { // since before it could be interrupted
		return ErrNoRoom
	}
	if err := do(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return context.Cause(ctx)
}

// interrupt ends what writes to the disk now.
func (s *syncer) interrupt() {
	if stop := s.stop.Load(); stop != nil {
		(*stop)()
	}
}

// look asks one random peer where it stands, and more while none has answered.
// It answers whether one claims to be so far ahead that consensus alone does not
// bring what is missing.
func (s *syncer) look(ctx context.Context) (behind bool) {
	for _, p := range s.d.deaf.tries(s.d.askable(), fetchTries, time.Now()) {
		status, err := s.ask(ctx, p)
		if err != nil {
			s.d.log.Debug("no status", "peer", p, "err", err)
			continue
		}
		return s.isBehind(status.Height, status.Epoch, status.View)
	}
	return false
}

// isBehind: near the head the core fetches by itself what a finalization names;
// it cannot when the finalization is of a later epoch.
func (s *syncer) isBehind(height uint64, epoch uint32, view uint64) bool {
	near := s.d.ledger.HeadInfo().Height
	if epoch == s.d.era.Load().epoch && view > 0 {
		near += 2
	}
	return height > near
}

// ask learns where a peer stands, and gives the core a finalization of its epoch
// that is new.
func (s *syncer) ask(ctx context.Context, p peer.ID) (*statusAnswer, error) {
	status, err := s.status(ctx, p)
	if err != nil {
		return nil, err
	}
	if status.Genesis != s.d.net.Genesis {
		err := fmt.Errorf("%w: genesis %s, ours %s", errUnasked, status.Genesis, s.d.net.Genesis)
		s.d.refuse(p, "status", err)
		return nil, err
	}
	now := s.d.era.Load()
	if len(status.Finalization) == 0 || status.Epoch != now.epoch || status.View == 0 {
		return status, nil
	}
	c, err := now.verify.finalization(status.Finalization)
	if err == nil && c.Block != status.Head {
		err = errUnasked
	}
	if err != nil {
		s.d.refuse(p, "status", err)
		return nil, err
	}
	if state := s.d.state.Load(); state.Epoch == c.Epoch && c.View > state.LastFinalizedView {
		s.heard(p)
		s.d.deliver(ctx, consensus.CertificateReceived{From: -1, Certificate: *c})
	}
	return status, nil
}

func (s *syncer) status(ctx context.Context, p peer.ID) (*statusAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	raw, err := s.d.ask(ctx, p, requestStatus, nil)
	if err != nil {
		return nil, err
	}
	a, err := decodeStatus(raw)
	if err != nil {
		s.d.refuse(p, "status", err)
	}
	return a, err
}

// catchUp replays until this node is near the head that a peer has proven. A
// validator that is far from it stands aside until it is not, or until nobody has
// what is missing.
// Errors: ErrRestart, fetch.ErrNobody, failures, those of ctx.
func (s *syncer) catchUp(ctx context.Context) (err error) {
	s.catching.Store(true)
	defer s.catching.Store(false)
	aside := false
	defer func() {
		if aside && !errors.Is(err, ErrRestart) {
			s.standAside(0)
			s.tellAside("sync: this validator votes again, unless something else keeps it from that")
		}
	}()
	s.mu.Lock()
	clear(s.heights)
	s.mu.Unlock()
	start := s.d.ledger.HeadInfo().Height
	for begun := false; ctx.Err() == nil; {
		sets, err := s.sets()
		if err != nil {
			return err
		}
		claims := s.claims(ctx)
		if err := s.walk(ctx, sets, claims); err != nil {
			return err
		}
		best := s.proven(sets, claims)
		if best == nil || !s.isBehind(best.Height(), best.Epoch(), 1) {
			return nil
		}
		if best.Height() > s.d.ledger.HeadInfo().Height+behindLimit {
			if !aside {
				aside = true
				s.tellAside("sync: this validator is far behind and does not vote until it has caught up")
			}
			s.standAside(best.Height() - behindLimit)
		}
		if !begun {
			begun = true
			if err := s.trySnapshot(ctx, start, best.Height(), claims); err != nil {
				return err
			}
			s.progress.begin(rpc.SyncReplay, "blocks", start, best.Height())
		}
		s.progress.aim(best.Height())
		if err := s.replay(ctx, sets, start, best); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// standAside has the owner goroutine stop voting while the head is below a height,
// or go on if nothing else keeps it from that, and waits until it has.
func (s *syncer) standAside(below uint64) {
	v := standAside{below, make(chan struct{})}
	if s.d.deliver(s.d.ctx, v) {
		select {
		case <-v.done:
		case <-s.d.ctx.Done():
		}
	}
}

func (s *syncer) tellAside(text string) {
	if s.d.era.Load().self >= 0 {
		s.d.log.Info(text, "height", s.d.ledger.HeadInfo().Height)
	}
}

// sets begins with the set that decides what follows this node's head.
func (s *syncer) sets() (*blocksync.Sets, error) {
	set, epoch := s.d.ledger.Validators()
	height, err := s.d.ledger.ClosingHeight(epoch)
	if err != nil {
		return nil, err
	}
	hash, err := s.d.ledger.HashByHeight(height)
	if err != nil {
		return nil, err
	}
	return blocksync.NewSets(&light.Trust{Network: s.d.net, Epoch: epoch, Set: set, Block: hash, Height: height}, s.pin), nil
}

// claims asks several peers at once where they stand.
func (s *syncer) claims(ctx context.Context) map[peer.ID]*statusAnswer {
	peers := s.d.deaf.tries(s.d.askable(), statusPeers, time.Now())
	answers := make([]*statusAnswer, len(peers))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asked sync.WaitGroup
	var first sync.Once
	for i, p := range peers {
		asked.Go(func() {
			if a, err := s.ask(ctx, p); err == nil {
				answers[i] = a
				first.Do(func() { time.AfterFunc(statusRest, cancel) })
			}
		})
	}
	asked.Wait()
	out := make(map[peer.ID]*statusAnswer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heights) > maxHeights {
		clear(s.heights)
	}
	for i, p := range peers {
		if answers[i] != nil {
			out[p] = answers[i]
			s.heights[p] = toldHeight{answers[i].Height, time.Now()}
		}
	}
	return out
}

// walk learns the sets of the epochs up to the newest that a peer claims.
func (s *syncer) walk(ctx context.Context, sets *blocksync.Sets, claims map[peer.ID]*statusAnswer) error {
	to := sets.Last().Epoch
	for _, a := range claims {
		to = max(to, a.Epoch)
	}
	err := sets.Walk(ctx, s.pool, to, func(epoch uint32) { s.d.log.Info("sync: validator sets verified", "epoch", epoch) })
	if errors.Is(err, fetch.ErrNobody) {
		for p, a := range claims {
			if a.Epoch > sets.Last().Epoch {
				s.d.host.Penalize(p, p2p.FaultUseless) // each such claim costs a wait
			}
		}
		return nil // one claims an epoch that nobody can prove: what is known is enough to go on
	}
	return err
}

// finalHead is a head that is proven, with its own finalization; nil = it is the
// last block of an epoch, which needs none.
type finalHead struct {
	*light.Block
	finalization *consensus.Certificate
}

// proven is the highest head that a peer's status proves to be final.
func (s *syncer) proven(sets *blocksync.Sets, claims map[peer.ID]*statusAnswer) (best *finalHead) {
	for p, a := range claims {
		if len(a.Finalization) == 0 || best != nil && a.Height <= best.Height() {
			continue
		}
		b, err := provenHead(sets, a)
		if err != nil {
			s.d.log.Debug("sync: a peer's head is not proven", "peer", p, "height", a.Height, "err", err)
			continue
		}
		best = b
	}
	return best
}

// provenHead checks what a status claims by the sets that are known.
func provenHead(sets *blocksync.Sets, a *statusAnswer) (*finalHead, error) {
	header, err := chain.DecodeHeader(a.Header)
	if err != nil {
		return nil, err
	}
	extra, err := chain.DecodeExtra(header)
	if err != nil {
		return nil, err
	}
	trust := sets.Of(extra.Epoch)
	if trust == nil {
		return nil, fmt.Errorf("%w: a head of epoch %d", errUnasked, extra.Epoch)
	}
	b, err := trust.VerifyFinality(a.Header, a.Finalization, nil)
	if err != nil {
		return nil, err
	}
	if b.Height() != a.Height || b.Hash() != a.Head {
		return nil, fmt.Errorf("%w: height %d, the header says %d", errUnasked, a.Height, b.Height())
	}
	if b.Hash() == trust.Block {
		return &finalHead{Block: b}, nil
	}
	c, err := consensus.DecodeCertificate(a.Finalization)
	return &finalHead{b, c}, err
}

// replay fetches, executes and keeps the blocks up to a proven head.
func (s *syncer) replay(ctx context.Context, sets *blocksync.Sets, start uint64, to *finalHead) error {
	target := to.Height()
	cfg := &blocksync.Config{
		Pool: s.pool, Sets: sets, Rules: s.d.rules, Final: to.finalization,
		Prepare: func(blocks []blocksync.Block) {
			for _, b := range blocks {
				recoverSenders(s.d.signer, b.Transactions())
			}
		},
		Apply: s.apply,
		Have:  func(p peer.ID) (uint64, bool) { return s.has(p, time.Now()) },
	}
	cfg.Applied = func(height uint64) {
		s.progress.at(height, float64(height-start)/float64(target-start), float64(height-start))
	}
	return blocksync.Run(ctx, cfg, s.d.ledger.HeadInfo().Height+1, target)
}

// has is the height up to which a peer may have blocks, by what it told in this
// catching up. After a moment it may have more: else the newest blocks would be
// asked of nobody but the one who proved them, and wait for it if it hangs.
func (s *syncer) has(p peer.ID, now time.Time) (height uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told, ok := s.heights[p]
	if ok && now.Sub(told.at) >= heightFresh {
		return told.height + heightSlack, told.height <= math.MaxUint64-heightSlack
	}
	return told.height, ok
}

// apply has the owner goroutine execute and keep blocks, a slice at a time, so
// that everything else that it does goes on between.
func (s *syncer) apply(ctx context.Context, blocks []blocksync.Block) error {
	done := make(chan appliedSlice, 1)
	for len(blocks) > 0 {
		if !s.d.deliver(ctx, &syncedRange{blocks: blocks, done: done}) {
			return ctx.Err()
		}
		select {
		case a := <-done:
			if a.err != nil {
				return a.err
			}
			blocks = blocks[a.count:]
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// follow brings a full node the blocks that became final since its head, all in
// one answer: asked for one by one they would come slower than they are made. It
// answers whether the block of this hash came so, or will.
func (s *syncer) follow(ctx context.Context, hash crypto.Hash) bool {
	if s.catching.Load() {
		return true // the core asks again if it does not
	}
	s.following.Lock()
	defer s.following.Unlock()
	if _, err := s.d.ledger.HeightByHash(hash); err == nil {
		return true // came with those that another call waited for
	}
	sets, err := s.sets()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	from := s.d.ledger.HeadInfo().Height + 1
	if _, epoch := s.d.ledger.Validators(); epoch != sets.Last().Epoch {
		return false // an epoch ended meanwhile: true answers would look like lies
	}
	for _, p := range s.heardFirst(s.d.askable()) {
		raw, err := s.d.ask(ctx, p, blocksync.RequestBlocks, fetch.Encode(&blocksync.BlocksRequest{From: from, Count: followCount, Bytes: followBytes}))
		if err != nil {
			continue
		}
		a, err := blocksync.DecodeBlocksAnswer(raw, s.d.rules)
		if err == nil && len(a.Blocks) == 0 {
			continue // it told of a finalization before it had kept the block
		}
		var found *blocksync.Range
		if err == nil {
			found, err = sets.Check(from, followCount, a, s.d.rules)
		}
		if err != nil {
			syncPeers{s.d}.Lied(p, blocksync.RequestBlocks, err)
			continue
		}
		for i := range found.Blocks {
			found.Blocks[i].Block = withKnownSenders(s.d.pool, s.d.signer, found.Blocks[i].Block)
		}
		if s.apply(ctx, found.Blocks) != nil {
			return false
		}
		if _, err := s.d.ledger.HeightByHash(hash); err == nil {
			return true
		}
	}
	return false
}
