package node

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
)

// This file is what a validator does that may have forgotten votes of its own:
// it follows and signs nothing (observes) until what others tell of their views,
// and what becomes final, shows that nothing it can sign contradicts them.

// observeEvery is how often an observer asks the members for their view.
const observeEvery = time.Second

// viewReport is a member's view, with a certificate that was verified.
type viewReport struct {
	era   *era
	from  int
	view  uint64
	signs bool // the member signs votes: it remembers where it has been
}

// inDoubt says why this node must observe; empty = it need not.
func (d *driver) inDoubt() string {
	if d.instance == nil {
		return ""
	}
	return d.instance.doubt
}

// observation sets what a core in doubt is told of its own past.
func (d *driver) observation(cfg *consensus.Config, now *era) {
	if d.inDoubt() == "" {
		cfg.Forgetful = d.instance != nil && d.instance.kept.Forgot
		return
	}
	cfg.Observer = true
	switch floor := d.instance.floor; {
	case floor.Epoch == now.epoch:
		cfg.ObserveAbove = floor.View
	case floor.Epoch > now.epoch:
		cfg.ObserveAbove = math.MaxUint64 // the key was used in a later epoch
	}
}

// ownRecords leaves out the votes of another key: they bind another validator.
func (d *driver) ownRecords(records []consensus.Record) []consensus.Record {
	if d.instance == nil || !d.instance.others {
		return records
	}
	var own []consensus.Record
	for _, r := range records {
		if r.Vote == nil {
			own = append(own, r)
		}
	}
	return own
}

// trustAgain ends the doubt once the core has. That what is final is committed
// shows that it was no closing block: after one, the next epoch decides.
func (d *driver) trustAgain() error {
	forgot := d.instance != nil && d.instance.kept.Forgot
	if d.inDoubt() == "" && !forgot || d.twin != "" {
		return nil
	}
	s := d.core.Status()
	if s.Observing || s.Forgetful || s.Twin || s.Ended || s.Halted != "" || s.CommittedView != s.LastFinalizedView {
		return nil
	}
	why := d.instance.doubt
	if why == "" {
		d.log.Info("this node knows all votes again that its validator may have cast", "epoch", s.Epoch, "view", s.View)
		return d.instance.remember()
	}
	if err := d.instance.renew(); err != nil {
		return err
	}
	d.log.Info("this node has observed for long enough and votes again", "why", why, "epoch", s.Epoch, "view", s.View)
	d.publish()
	return nil
}

// doubled stops voting for as long as this process lives: somebody else signs
// with our key. The next start observes.
func (d *driver) doubled(v *consensus.Vote) error {
	d.twin = fmt.Sprintf("another process signs with this validator's key (%s vote of epoch %d, view %d): this node votes no more; "+
		"stop the other one, then restart this one, which observes before it votes", v.Kind, v.Epoch, v.View)
	d.log.Error("another process signs with this validator's key: this node votes no more; stop the other one, then restart this one",
		"kind", v.Kind, "epoch", v.Epoch, "view", v.View, "vote", fmt.Sprintf("%x", consensus.EncodeVote(v)))
	return d.instance.suspect("another process signed with the key")
}

// mustPause says whether this node must not vote whatever its core thinks.
func (d *driver) mustPause() bool { return d.twin != "" || d.aside > 0 || d.room() != roomy }

// observe asks the members for their views while the core wants to know them.
func (d *driver) observe(ctx context.Context) {
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	for {
		if s := d.state.Load(); s.Observing || s.Forgetful {
			d.askViews(ctx, s.era)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (d *driver) askViews(ctx context.Context, now *era) {
	var asked sync.WaitGroup
	for _, p := range d.host.Peers() {
		if i := now.indexOf(p.ID); i >= 0 && i != now.self {
			asked.Go(func() {
				if err := d.askView(ctx, now, i, p.ID); err != nil {
					d.log.Debug("no view", "peer", p.ID, "err", err)
				}
			})
		}
	}
	asked.Wait()
}

// askView learns in which view a member is. The certificate that admitted it
// there keeps it from naming one that nobody ever reaches.
func (d *driver) askView(ctx context.Context, now *era, from int, p peer.ID) error {
	s, err := d.sync.status(ctx, p)
	if err != nil {
		return err
	}
	if s.Genesis != d.net.Genesis || s.CurrentEpoch != now.epoch || s.CurrentView == 0 {
		return nil // of another epoch: we catch up, or it does
	}
	if err := now.admits(s); err != nil {
		d.refuse(p, "view", err)
		return err
	}
	d.deliver(ctx, &viewReport{era: now, from: from, view: s.CurrentView, signs: s.Signs})
	return nil
}

// admits checks that a status carries what admitted its sender to its view.
func (e *era) admits(s *statusAnswer) error {
	if s.CurrentView == 1 {
		return nil // of an epoch, where everybody begins
	}
	if len(s.Admitting) > maxCertificateBytes {
		return errOversize
	}
	c, err := consensus.DecodeCertificate(s.Admitting)
	if err != nil {
		return fmt.Errorf("%w: %v", errMalformed, err)
	}
	if c.Epoch != e.epoch || c.View+1 != s.CurrentView {
		return fmt.Errorf("%w: a certificate of epoch %d, view %d does not admit to view %d", errUnasked, c.Epoch, c.View, s.CurrentView)
	}
	_, err = e.verify.certificate(c)
	return err
}

// handleReport tells the core the view of a member that signs. One that observes
// itself has forgotten how far it was: its view bounds nothing. While blocks
// become final a quorum signs, so that waiting for those who do costs nothing.
func (d *driver) handleReport(r *viewReport) error {
	if r.era != d.era.Load() {
		return nil
	}
	if err := d.beganTogether(r); err != nil {
		return err
	}
	if !r.signs {
		return nil
	}
	return d.step(consensus.ViewReported{From: r.from, View: r.view})
}

// beganTogether ends the doubt about a key that left no trace here, in a network
// that begins: nothing is final, and as many others as make a quorum are in the
// first view of epoch 0, as we are. Whoever has voted beyond the first two views
// was admitted there by a quorum, an honest member of which would tell a later
// view. Without this rule a network of such keys could not begin at all.
func (d *driver) beganTogether(r *viewReport) error {
	s := d.core.Status()
	if d.instance == nil || !d.instance.unknown || d.twin != "" || r.era.epoch != 0 || s.View != 1 || d.ledger.HeadInfo().Height != 0 {
		return nil
	}
	if d.beginners == nil {
		d.beginners = make(map[int]bool)
	}
	d.beginners[r.from] = r.view == 1
	count := 0
	for _, first := range d.beginners {
		if first {
			count++
		}
	}
	if count < consensus.Quorum(len(r.era.addrs)) || count < len(d.beginners) {
		return nil
	}
	records, err := loadVoteLog(d.store)
	if err != nil {
		return err
	}
	if err := d.instance.renew(); err != nil {
		return err
	}
	cfg, err := d.coreConfig(r.era)
	if err != nil {
		return err
	}
	cfg.Paused = d.mustPause()
	core, effects, err := consensus.New(cfg, records, d.mono(), d.wall())
	if err != nil {
		return fmt.Errorf("begin to vote: %w", err)
	}
	d.core, d.hadWork, d.latest = core, false, executedBlock{}
	d.log.Info("the network begins, and this node votes", "validators", len(r.era.addrs), "seen", count)
	return d.carryOut(effects)
}

// observing is what status says of an observer.
func (s *driverState) observing() string {
	quorum := consensus.Quorum(len(s.era.addrs))
	if others := len(s.era.addrs) - 1; s.era.self >= 0 && others < quorum {
		return fmt.Sprintf("this node observes and signs nothing, because %s; a set of %d has too few other validators to learn from: "+
			"stop the node and run 'cairnd db reset-votes'", s.doubt, len(s.era.addrs))
	}
	return fmt.Sprintf("this node observes and signs nothing, because %s; it votes by itself after a few more final blocks, "+
		"once %d other validators have told their view (%d have)", s.doubt, quorum, s.Reports)
}
