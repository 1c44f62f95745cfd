package statesync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// Limits of a join.
const (
	inFlight  = 8                // segments asked for at once
	lookEvery = 15 * time.Second // for what peers serve now
	tellEvery = 500 * time.Millisecond

	// worthBytes is what answers must bring together, unless one ends a segment,
	// to count as something: a peer that gives a crumb now and then is no reason
	// to stay with a checkpoint.
	worthBytes = 256 << 10

	longest = 24 * time.Hour // for all of a checkpoint
)

// waits are how long a join waits for peers.
type waits struct {
	look  time.Duration // between two looks at what peers serve
	again time.Duration // before it asks again when nobody answered

	// Without anything of worth for so long, a checkpoint is given up: if a newer
	// one is served and this one by nobody, or anyhow.
	newer, gone time.Duration

	// The part of the accounts that has to come in each stretch of gone, and that
	// of a checkpoint which one peer alone serves, while several serve another.
	least, lone float64
}

// With defaultWaits the accounts of a checkpoint take half a day at most, or an
// hour if one peer alone serves it.
var defaultWaits = waits{look: lookEvery, again: 2 * time.Second, newer: 15 * time.Second, gone: time.Minute, least: 1. / 720, lone: 1. / 60}

// Config is what Join needs.
type Config struct {
	Dir     string // of the new database
	Spec    *genesis.Spec
	Options store.Options // of the new database
	Pool    *fetch.Pool
	Sets    *blocksync.Sets // walked from epoch 0 to the head
	Pin     *blocksync.Pin
	// Above is the height that a checkpoint must be above to be of use.
	Above uint64
	// Told hears how far the join is; nil = nobody.
	Told func(target uint64, p snapshot.Progress)
	Log  *slog.Logger

	waits *waits // nil = defaultWaits
}

// joining is one Join.
type joining struct {
	cfg     *Config
	offers  *offers
	staging *snapshot.Staging
	target  crypto.Hash
	height  uint64

	tried map[crypto.Hash]bool // checkpoints that were given up
	waits waits
	rest  time.Time // until which nobody is asked, because nobody answered
}

// Join makes a complete database of the newest checkpoint that peers serve in
// Config.Dir, going on with what an earlier Join left there. It answers the
// height. Errors: ErrNoOffer, blocksync.ErrTrusted, failures, those of ctx. After
// ErrNoOffer nothing is left in the directory unless a peer may serve it again.
func Join(ctx context.Context, cfg *Config) (uint64, error) {
	j := &joining{cfg: cfg, offers: newOffers(cfg), tried: make(map[crypto.Hash]bool), waits: defaultWaits}
	if cfg.waits != nil {
		j.waits = *cfg.waits
	}
	for {
		if err := j.offers.look(ctx); err != nil {
			return 0, err
		}
		if whole, err := j.begin(ctx); err != nil || whole {
			return j.height, err
		}
		err := j.fetch(ctx)
		if err == nil {
			err = j.finish(ctx)
		}
		if err == nil {
			return j.height, nil
		}
		if !errors.Is(err, errStale) && !errors.Is(err, snapshot.ErrRoot) {
			return 0, errors.Join(err, j.staging.Close())
		}
		cfg.Log.Warn("snapshot: given up, a newer one is tried", "height", j.height, "hash", j.target, "err", err)
		j.tried[j.target] = true
		j.offers.giveUp()
		if err := errors.Join(j.staging.Close(), os.RemoveAll(cfg.Dir)); err != nil {
			return 0, fmt.Errorf("remove a join that was given up: %w", err)
		}
	}
}

// begin goes on with what is in the directory if a peer serves it, and else
// begins with the newest checkpoint. A database that an earlier join completed is
// whole: there is nothing to fetch.
func (j *joining) begin(ctx context.Context) (whole bool, err error) {
	staging, err := snapshot.Resume(j.cfg.Dir, j.cfg.Spec, j.cfg.Options)
	switch {
	case err == nil:
		t := staging.Target()
		hash := t.Header.Hash()
		if j.offers.served(hash) && t.Header.Number.Uint64() > j.cfg.Above && !j.tried[hash] {
			if err := j.trusted(ctx, t.Header.Number.Uint64(), hash); err != nil {
				return false, errors.Join(err, staging.Close())
			}
			j.cfg.Log.Info("snapshot: going on", "height", t.Header.Number, "hash", hash, "done", staging.Progress().Done)
			j.staging, j.target, j.height = staging, hash, t.Header.Number.Uint64()
			j.offers.aim(j.target)
			return false, nil
		}
		if err := staging.Close(); err != nil {
			return false, err
		}
	case errors.Is(err, snapshot.ErrNone):
		if j.height = completed(j.cfg.Dir, j.cfg.Options); j.height > j.cfg.Above {
			return true, nil
		}
	default:
		j.cfg.Log.Warn("snapshot: what an earlier join left cannot be used and is removed", "err", err)
	}
	if err := os.RemoveAll(j.cfg.Dir); err != nil {
		return false, fmt.Errorf("remove an old join: %w", err)
	}
	best := j.offers.best(j.tried)
	if best == nil {
		return false, fmt.Errorf("%w: above height %d", ErrNoOffer, j.cfg.Above)
	}
	if err := j.trusted(ctx, best.block.Height(), best.block.Hash()); err != nil {
		return false, err
	}
	target, err := j.cfg.target(best)
	if err != nil {
		return false, err
	}
	if j.staging, err = snapshot.Create(j.cfg.Dir, j.cfg.Spec, target, j.cfg.Options); err != nil {
		return false, fmt.Errorf("begin a join: %w", err)
	}
	j.target, j.height = best.block.Hash(), best.block.Height()
	j.offers.aim(j.target)
	j.cfg.Log.Info("snapshot: joining", "height", j.height, "hash", j.target, "stateRoot", target.Header.Root, "peers", j.offers.count(j.target))
	return false, nil
}

// trusted checks a checkpoint against the block that the operator trusts, which is
// that very one or has to be shown.
func (j *joining) trusted(ctx context.Context, height uint64, hash crypto.Hash) error {
	if pin := j.cfg.Pin; pin == nil || pin.Height == height {
		return pin.Holds(height, hash)
	}
	return j.cfg.Sets.Shown(ctx, j.cfg.Pool, &j.cfg.Spec.Rules)
}

// completed is the head of a database that a join completed, 0 if there is none.
func completed(dir string, o store.Options) uint64 {
	if _, err := os.Stat(dir); err != nil {
		return 0 // store.Open would make one
	}
	st, err := store.Open(dir, o)
	if err != nil {
		return 0
	}
	head, err := st.Head()
	if err := errors.Join(err, st.Close()); err != nil {
		return 0
	}
	return head.Height
}

// target is what snapshot needs to know of an offer.
func (c *Config) target(o *offer) (snapshot.Target, error) {
	header := o.block.Header()
	extra, err := chain.DecodeExtra(header)
	if err != nil {
		return snapshot.Target{}, err
	}
	t := snapshot.Target{Header: header, Certificate: o.finalization, Floor: store.Floor{Epoch: extra.Epoch, View: o.view}}
	if chain.IsClosing(header) {
		t.Floor = store.Floor{Epoch: extra.Epoch + 1}
	}
	for _, step := range c.Sets.Steps() {
		h, err := chain.DecodeHeader(step.Header)
		if err != nil {
			return t, err
		}
		if h.Number.Uint64() > o.block.Height() {
			break
		}
		t.Epochs = append(t.Epochs, snapshot.Epoch{Header: h, Certificate: step.Finalization, Next: step.Next})
	}
	return t, nil
}

// errStale says that no peer gives the checkpoint any more.
var errStale = errors.New("no peer gives it any more")

// outcome is one segment that was asked for.
type outcome struct {
	segment snapshot.Segment
	short   bool // there is more of it
	err     error
}

// fetching is what fetch knows while it runs.
type fetching struct {
	asked    int // segments
	failed   error
	stop     context.CancelFunc // of what was asked
	outcomes chan outcome
	looking  bool
	looked   chan error
	last     time.Time // when something of worth came
	bytes    uint64    // that were here then
	begun    time.Time
	marked   time.Time // begin of the stretch of time that has to bring leastPart
	part     float64   // of the accounts that was here then
}

// fetch asks for every segment until all are here. Errors: errStale, failures,
// those of ctx.
func (j *joining) fetch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now, here := time.Now(), j.staging.Progress()
	f := &fetching{
		stop: cancel, outcomes: make(chan outcome), looked: make(chan error, 1),
		last: now, bytes: here.Bytes, begun: now, marked: now, part: here.Done,
	}
	look := time.NewTicker(j.waits.look)
	defer look.Stop()
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	gone := ctx.Done()
	for {
		j.askMore(ctx, f)
		if f.asked == 0 && (f.failed != nil || j.staging.Done()) {
			failed := f.failed
			cancel()
			if f.looking {
				f.fail(<-f.looked) // of what was cancelled: no failure of the join
			}
			return failed
		}
		select {
		case <-gone:
			gone = nil
			f.fail(ctx.Err())
		case o := <-f.outcomes:
			f.asked--
			j.take(ctx, f, o)
		case err := <-f.looked:
			f.looking = false
			f.fail(err)
		case <-look.C:
			j.look(ctx, f)
		case <-tell.C:
			j.tell()
			f.fail(j.stale(f))
		}
	}
}

// fail ends what was asked with the first error.
func (f *fetching) fail(err error) {
	if err != nil && f.failed == nil {
		f.failed = err
		f.stop()
	}
}

// askMore hands out what there is room for.
func (j *joining) askMore(ctx context.Context, f *fetching) {
	if f.failed != nil || time.Now().Before(j.rest) {
		return
	}
	segments, err := j.staging.Next(inFlight - f.asked)
	f.fail(err)
	for _, seg := range segments {
		f.asked++
		go func() {
			short, err := j.ask(ctx, seg)
			f.outcomes <- outcome{seg, short, err}
		}()
	}
}

// look asks what peers serve now, beside everything else: one of them may take
// its time.
func (j *joining) look(ctx context.Context, f *fetching) {
	if f.failed != nil || f.looking {
		return
	}
	f.looking = true
	go func() { f.looked <- j.offers.look(ctx) }()
}

// take looks at an outcome. Of the errors only that nobody answered does not end
// the join: they may be away for a moment, or have moved on.
func (j *joining) take(ctx context.Context, f *fetching, o outcome) {
	if o.err == nil {
		if here := j.staging.Progress().Bytes; !o.short || here >= f.bytes+worthBytes {
			f.last, f.bytes = time.Now(), here
		}
		return
	}
	j.staging.Fail(o.segment)
	if !errors.Is(o.err, fetch.ErrNobody) {
		f.fail(o.err)
		return
	}
	if now := time.Now(); !now.Before(j.rest) {
		j.rest = now.Add(j.waits.again)
		j.look(ctx, f)
	}
}

// stale is errStale if nothing of worth has come for too long, or too little of
// the whole: whoever gives a true state may still give it so slowly that it never
// ends.
func (j *joining) stale(f *fetching) error {
	patience := j.waits.gone
	if j.offers.newer(j.target) && !j.offers.served(j.target) {
		patience = j.waits.newer
	}
	if time.Since(f.last) > patience {
		return fmt.Errorf("%w: nothing of worth for %s", errStale, patience)
	}
	if time.Since(f.begun) > longest {
		return fmt.Errorf("%w: not whole after %s", errStale, longest)
	}
	if time.Since(f.marked) < j.waits.gone {
		return nil
	}
	least := j.waits.least
	if j.offers.lone(j.target, j.tried) {
		least = j.waits.lone
	}
	here := j.staging.Progress().Done
	if here < 1 && here-f.part < least {
		return fmt.Errorf("%w: %.2g%% of the accounts in %s, at least %.2g%% are to come", errStale, 100*(here-f.part), j.waits.gone, 100*least)
	}
	f.marked, f.part = time.Now(), here
	return nil
}

func (j *joining) tell() {
	if j.cfg.Told != nil {
		j.cfg.Told(j.height, j.staging.Progress())
	}
}

// ask asks for one segment until an answer was checked and kept. short says that
// it did not bring all of it.
func (j *joining) ask(ctx context.Context, seg snapshot.Segment) (short bool, err error) {
	question := fetch.Question[bool]{
		May: func(p peer.ID) bool { return j.offers.serves(p, j.target) },
		Check: func(_ peer.ID, raw []byte) (short bool, err error) {
			if len(raw) == 0 {
				return false, fetch.ErrAbsent
			}
			if err = j.add(seg, raw); err == nil {
				short, err = j.staging.Left(seg)
			}
			return short, mine(err)
		},
		Short: func(short bool) bool { return short },
	}
	ranged := RangeRequest{Height: j.height, Hash: j.target, Owner: seg.Owner, From: seg.From, To: seg.To, Bytes: snapshot.MaxRangeBytes}
	switch seg.Kind {
	case snapshot.Accounts:
		question.Name, question.Request = RequestAccounts, fetch.Encode(&ranged)
	case snapshot.Slots:
		question.Name, question.Request = RequestSlots, fetch.Encode(&ranged)
	case snapshot.Code:
		question.Name, question.Request = RequestCode, fetch.Encode(&CodeRequest{Height: j.height, Hash: j.target, Code: seg.Code})
	default:
		return false, fmt.Errorf("a segment of kind %s", seg.Kind)
	}
	short, _, err = fetch.Ask(ctx, j.cfg.Pool, question)
	return short, err
}

// add has an answer checked and kept.
func (j *joining) add(seg snapshot.Segment, raw []byte) error {
	switch seg.Kind {
	case snapshot.Accounts:
		r, err := snapshot.DecodeAccountRange(raw)
		if err != nil {
			return err
		}
		return j.staging.AddAccounts(seg, r)
	case snapshot.Slots:
		r, err := snapshot.DecodeSlotRange(raw)
		if err != nil {
			return err
		}
		return j.staging.AddSlots(seg, r)
	default:
		return j.staging.AddCode(seg, raw)
	}
}

// mine tells a failure of this node from a lie of the peer. A segment that is
// here already came from another peer that was asked the same.
func mine(err error) error {
	switch {
	case err == nil, errors.Is(err, snapshot.ErrAnswer), errors.Is(err, snapshot.ErrProof):
		return err
	case errors.Is(err, snapshot.ErrSegment):
		return fmt.Errorf("%w: %w", fetch.ErrAbsent, err)
	default:
		return fmt.Errorf("%w: %w", fetch.ErrOwn, err)
	}
}

// finish puts the database together. It may take a while for a large state.
func (j *joining) finish(ctx context.Context) error {
	p := j.staging.Progress()
	j.cfg.Log.Info("snapshot: all is here, the tries are made and compared", "height", j.height, "accounts", p.Accounts, "slots", p.Slots, "bytes", p.Bytes)
	begun := time.Now()
	if err := j.staging.Finish(ctx); err != nil {
		return err
	}
	j.tell()
	j.cfg.Log.Info("snapshot: complete", "height", j.height, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}
