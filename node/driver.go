package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/pool"
	"cairn/ledger/store"
	"cairn/node/rpc"
	"cairn/p2p"
)

// Limits of the driver.
const (
	inboxLength = 1024            // events waiting for the owner goroutine; senders block beyond
	behindLimit = 16              // heights behind a verified finalization at which a node syncs ranges
	pollEvery   = time.Second     // how often a random peer is asked for its head
	fetchTries  = 3               // peers asked for one block or certificate range
	fetchWait   = 5 * time.Second // for one answer
)

// driver owns the consensus core and the ledger. One goroutine (run) feeds
// events to the core and carries out its effects; everyone else sends it values
// through inbox.
type driver struct {
	log    *slog.Logger
	core   *consensus.Core
	net    consensus.Network
	rules  *genesis.Rules
	key    *crypto.PrivateKey // nil = never a validator
	signer types.Signer

	ledger     *ledger.Ledger
	store      *store.Store
	pool       *pool.Pool
	host       *p2p.Host
	sync       *syncer
	serving    *serving
	meters     *meters
	locals     locals
	seens      *seens
	events     *rpc.Events // of the pool, for JSON-RPC
	announcing busy        // peers to which transactions are being sent again
	endings    *pace       // of answers to messages of past epochs
	later      *pace       // of attention to messages of later epochs
	intake     intake
	deaf       deaf

	ctx     context.Context // of Run: ends what the driver started
	started chan struct{}   // closed when host is set: handlers wait for it
	inbox   chan any        // consensus.Event, *proposalArrived, *fetchedBlock, *viewReport, *syncedRange, standAside or func()
	work    chan struct{}   // length 1: the pool has changed

	// Owned by run.
	origin   time.Time        // of the monotonic clock
	calendar func() time.Time // the wall clock
	wakeAt   int64            // mono milliseconds, 0 = none
	hadWork  bool
	latest   executedBlock
	noQuorum bool // as last told to the log
	bodies   bodies
	ranges   map[consensus.ViewRange]bool // of certificates, being fetched
	fetching map[crypto.Hash]bool
	logged   time.Time // of the last Info about a final block

	instance  *instance    // nil without a key
	witness   *witness     // of the vote log; nil without a key
	beginners map[int]bool // members that told their view at height 0, and whether it was the first
	twin      string       // why this process signs nothing more; empty = it does
	aside     uint64       // it is far behind and does not vote below this height; 0 = it is not

	reserve uint64             // bytes that stay free on the disk
	space   atomic.Int32       // a room
	awaited atomic.Int64       // damaged blocks that are being fetched
	held    *consensus.Effects // of the core's start, while there are reads only

	// Read by every goroutine, swapped by run.
	era   atomic.Pointer[era]
	state atomic.Pointer[driverState]
}

// executedBlock is the newest proposal that was built or executed here, and the
// view it was for.
type executedBlock struct {
	hash crypto.Hash
	view uint64
	at   int64 // mono
}

// driverState is what other goroutines may know of the core.
type driverState struct {
	consensus.Status
	era       *era
	open      []openBlock            // above the final head
	admitting *consensus.Certificate // to Status.View; nil in view 1
	doubt     string                 // why this node observes
	twin      string                 // why it signs nothing more
}

// standAside says that this node is so far behind that it does not vote before its
// head has this height; 0 = it is not.
type standAside struct {
	below uint64
	done  chan struct{} // closed when it is so
}

// fetchedBlock answers a request for one block; nil = nobody had it.
type fetchedBlock struct {
	hash  crypto.Hash
	block *types.Block
	from  peer.ID
}

// mono is what all deadlines are in; a wall clock that is set does not move it.
func (d *driver) mono() int64 { return time.Since(d.origin).Milliseconds() + 1 }

// wall is read for the timestamps of blocks only.
func (d *driver) wall() int64 { return d.calendar().UnixMilli() }

// deliver hands a value to the owner goroutine; it blocks while the inbox is
// full, which holds back the stream that the value came from.
func (d *driver) deliver(ctx context.Context, v any) bool {
	select {
	case d.inbox <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

// poolChanged tells the owner goroutine to look at the pool.
func (d *driver) poolChanged() {
	select {
	case d.work <- struct{}{}:
	default:
	}
}

// start makes the core from the vote log and carries out its first effects.
func (d *driver) start(cfg consensus.Config, records []consensus.Record) error {
	if err := d.roomAtStart(); err != nil {
		return err
	}
	if err := d.countEvidence(); err != nil {
		return err
	}
	cfg.Paused = d.mustPause()
	core, effects, err := consensus.New(cfg, records, d.mono(), d.wall())
	if err != nil {
		return fmt.Errorf("start consensus: %w", err)
	}
	d.core = core
	if d.room() == readsOnly {
		d.held = &effects
		d.publish()
		return nil
	}
	return d.carryOut(effects)
}

// run feeds the core until ctx ends or a failure (disk, broken invariant) makes
// it unsafe to go on.
func (d *driver) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	recheck := time.NewTicker(time.Duration(d.rules.Delta) * time.Millisecond)
	defer recheck.Stop()
	space := time.NewTicker(spaceEvery)
	defer space.Stop()
	d.poolChanged()
	for {
		d.setTimer(timer)
		var err error
		select {
		case <-ctx.Done():
			return nil
		case v := <-d.inbox:
			err = d.handle(v)
		case <-d.work:
			if !d.hadWork { // additions take no work away
				err = d.lookAtPool()
			}
		case <-recheck.C: // work comes back with time: see hasWork
			err = d.lookAtPool()
		case <-space.C:
			d.watchQuorum()
			err = d.watchSpace()
		case <-timer.C:
			err = d.step(consensus.Tick{})
		}
		if err != nil {
			return err
		}
	}
}

func (d *driver) setTimer(timer *time.Timer) {
	wait := time.Hour
	if d.wakeAt > 0 && d.room() != readsOnly {
		wait = time.Until(d.origin.Add(time.Duration(d.wakeAt-1) * time.Millisecond))
	}
	timer.Reset(max(wait, 0))
}

func (d *driver) handle(v any) error {
	if v, ok := v.(standAside); ok {
		defer close(v.done)
		return d.stand(v.below)
	}
	if d.room() == readsOnly {
		d.turnAway(v)
		return nil
	}
	switch v := v.(type) {
	case consensus.Event:
		return d.step(v)
	case *proposalArrived:
		d.bodies.put(v.block)
		return d.step(v.event)
	case *fetchedBlock:
		return d.handleFetched(v)
	case *viewReport:
		return d.handleReport(v)
	case *syncedRange:
		count, err := d.applyRange(v.blocks)
		v.done <- appliedSlice{count, err}
		return failureOnly(err)
	case func():
		v()
		return nil
	default:
		panic(fmt.Sprintf("driver: unknown value %T in the inbox", v))
	}
}

// stand leaves voting until the head has a height, or comes back to it.
func (d *driver) stand(below uint64) error {
	if d.ledger.HeadInfo().Height >= below {
		below = 0
	}
	was := d.aside
	d.aside = below
	if d.room() == readsOnly || (was == 0) == (below == 0) {
		return nil
	}
	return d.step(consensus.Pause{Paused: d.mustPause()})
}

// comeBack ends standing aside as soon as the head is far enough, however it came
// there: consensus brings what is near by itself, while the syncer may wait for a
// peer that hangs.
func (d *driver) comeBack() error {
	if d.aside == 0 || d.ledger.HeadInfo().Height < d.aside {
		return nil
	}
	return d.stand(0)
}

// lookAtPool tells the core when work appears or ends.
func (d *driver) lookAtPool() error {
	if d.room() == readsOnly {
		return nil
	}
	ev := d.workChange()
	if ev == nil {
		return nil
	}
	return d.step(ev)
}

// workChange is the event that tells the core of a change, or nil.
func (d *driver) workChange() consensus.Event {
	has := d.hasWork()
	if has == d.hadWork {
		return nil
	}
	d.hadWork = has
	return consensus.WorkPending{Pending: has}
}

// hasWork says whether a builder would include a transaction of the pool in the
// next block. What a block of the current view or its ancestors hold does not
// count, or an empty block would follow each burst; what a block of a view that
// failed holds does, and so does what a block of this view holds that is not
// final after 4Δ: its proposer may be dead, and nobody else armed.
func (d *driver) hasWork() bool {
	status := d.core.Status()
	base := status.Tip
	if d.latest.view >= status.View && d.mono()-d.latest.at < 4*int64(d.rules.Delta) {
		base = d.latest.hash
	}
	return d.pool.HasWorkBesides(d.ledger.Included(base))
}
