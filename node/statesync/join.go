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
	lookAgain = 2 * time.Second // the same, while nobody answers

	// Without an answer for so long, a checkpoint is given up: if a newer one is
	// served and this one by nobody, or anyhow.
	patienceNewer = 15 * time.Second
	patienceGone  = time.Minute
)

// waits are how long a join waits for peers.
type waits struct {
	again time.Duration // before it asks again when nobody answered

	// Without an answer for so long, a checkpoint is given up: if a newer one is
	// served and this one by nobody, or anyhow.
	newer, gone time.Duration
}

var defaultWaits = waits{again: 2 * time.Second, newer: 15 * time.Second, gone: time.Minute}

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
// height. Errors: ErrNoOffer, failures, those of ctx. After ErrNoOffer nothing is
// left in the directory unless a peer may serve it again.
func Join(ctx context.Context, cfg *Config) (uint64, error) {
	j := &joining{cfg: cfg, offers: newOffers(cfg), tried: make(map[crypto.Hash]bool), waits: defaultWaits}
	if cfg.waits != nil {
		j.waits = *cfg.waits
	}
	for {
		if err := j.offers.look(ctx); err != nil {
			return 0, err
		}
		if whole, err := j.begin(); err != nil || whole {
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
		if err := errors.Join(j.staging.Close(), os.RemoveAll(cfg.Dir)); err != nil {
			return 0, fmt.Errorf("remove a join that was given up: %w", err)
		}
	}
}

// begin goes on with what is in the directory if a peer serves it, and else
// begins with the newest checkpoint. A database that an earlier join completed is
// whole: there is nothing to fetch.
func (j *joining) begin() (whole bool, err error) {
	staging, err := snapshot.Resume(j.cfg.Dir, j.cfg.Spec, j.cfg.Options)
	switch {
	case err == nil:
		t := staging.Target()
		hash := t.Header.Hash()
		if j.offers.served(hash) && t.Header.Number.Uint64() > j.cfg.Above && !j.tried[hash] {
			j.cfg.Log.Info("snapshot: going on", "height", t.Header.Number, "hash", hash, "done", staging.Progress().Done)
			j.staging, j.target, j.height = staging, hash, t.Header.Number.Uint64()
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
	target, err := j.cfg.target(best)
	if err != nil {
		return false, err
	}
	if j.staging, err = snapshot.Create(j.cfg.Dir, j.cfg.Spec, target, j.cfg.Options); err != nil {
		return false, fmt.Errorf("begin a join: %w", err)
	}
	j.target, j.height = best.block.Hash(), best.block.Height()
	j.cfg.Log.Info("snapshot: joining", "height", j.height, "hash", j.target, "stateRoot", target.Header.Root, "peers", j.offers.count(j.target))
	return false, nil
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

// errStale says that no peer serves the checkpoint any more.
var errStale = errors.New("no peer serves it any more")

// outcome is one segment that was asked for.
type outcome struct {
	segment snapshot.Segment
	err     error
}

// fetch asks for every segment until all are here. Errors: errStale, failures,
// those of ctx.
func (j *joining) fetch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	asked, last := 0, time.Now()
	var failed error
	for {
		if failed == nil && !time.Now().Before(j.rest) {
			var segments []snapshot.Segment
			if segments, failed = j.staging.Next(inFlight - asked); failed != nil {
				cancel()
			}
			for _, seg := range segments {
				asked++
				go func() { outcomes <- outcome{seg, j.ask(ctx, seg)} }()
			}
		}
		if asked == 0 && (failed != nil || j.staging.Done()) {
			return failed
		}
		select {
		case o := <-outcomes:
			asked--
			if o.err == nil {
				last = time.Now()
				break
			}
			j.staging.Fail(o.segment)
			failed = j.judge(ctx, failed, o.err, last, cancel)
		case <-look.C:
			if failed == nil {
				if err := j.offers.look(ctx); err != nil {
					failed = err
					cancel()
				}
			}
		case <-tell.C:
			j.tell()
		}
	}
}

// judge says whether an error of one segment ends the join.
func (j *joining) judge(ctx context.Context, before, err error, last time.Time, cancel func()) error {
	switch {
	case before != nil:
		return before
	case !errors.Is(err, fetch.ErrNobody):
		cancel()
		return err
	}
	// Nobody answered: they may be away for a moment, or have moved on.
	if now := time.Now(); !now.Before(j.rest) {
		j.rest = now.Add(j.waits.again)
		if lookErr := j.offers.look(ctx); lookErr != nil {
			cancel()
			return lookErr
		}
	}
	patience := j.waits.gone
	if j.offers.newer(j.target) && !j.offers.served(j.target) {
		patience = j.waits.newer
	}
	if time.Since(last) > patience {
		cancel()
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return nil
}

func (j *joining) tell() {
	if j.cfg.Told != nil {
		j.cfg.Told(j.height, j.staging.Progress())
	}
}

// ask asks for one segment until an answer was checked and kept.
func (j *joining) ask(ctx context.Context, seg snapshot.Segment) error {
	question := fetch.Question[struct{}]{
		May: func(p peer.ID) bool { return j.offers.serves(p, j.target) },
		Check: func(_ peer.ID, raw []byte) (struct{}, error) {
			if len(raw) == 0 {
				return struct{}{}, fetch.ErrAbsent
			}
			return struct{}{}, mine(j.add(seg, raw))
		},
	}
	ranged := RangeRequest{Height: j.height, Hash: j.target, Owner: seg.Owner, From: seg.From, To: seg.To, Bytes: snapshot.MaxRangeBytes}
	switch seg.Kind {
	case snapshot.Accounts:
		question.Name, question.Request = RequestAccounts, Encode(&ranged)
	case snapshot.Slots:
		question.Name, question.Request = RequestSlots, Encode(&ranged)
	case snapshot.Code:
		question.Name, question.Request = RequestCode, Encode(&CodeRequest{Height: j.height, Hash: j.target, Code: seg.Code})
	default:
		return fmt.Errorf("a segment of kind %s", seg.Kind)
	}
	_, _, err := fetch.Ask(ctx, j.cfg.Pool, question)
	return err
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
