package consensus

import (
	"bytes"
	"fmt"

	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// maxClockAhead is how far, in milliseconds, a proposal's timestamp may lie
// ahead of our wall clock before we wait with our vote.
const maxClockAhead = 500

// never is a deadline that does not come.
const never = int64(1) << 62

// Core is one member's (or, without a key, one onlooker's) state of one epoch.
// It does nothing by itself: Step tells it what happened and answers what to do.
// It is not safe for concurrent use; one goroutine owns it.
type Core struct {
	cfg  Config
	n, q int

	mono, wall int64   // of the Step that runs
	eff        Effects // of the Step that runs

	halted    string
	paused    bool
	observing bool
	whole     bool // our memory is, although Config.Forgetful
	twin      bool // somebody else signs with our key
	ended     bool // a closing block is final: nobody votes here any more
	replaying bool // records are being read: nothing is signed meanwhile
	overflow  bool // a certified block found no place

	view      uint64
	cur       *viewState // of view
	entered   int64      // mono
	admitting *Certificate
	armed     bool
	armedAt   int64 // mono, while armed

	final     finalView // highest finalization held
	committed *blockState
	comView   uint64     // view in which committed was finalized
	tip       *viewState // highest notarized view above final.view, or nil

	views  []*viewState // ascending
	blocks map[crypto.Hash]*blockState
	order  []*blockState // the same blocks in the order they were named
	wants  []*blockState // bodies or executions still to come

	unsynced []Vote // own votes whose record is not durable yet

	work        bool  // the pool holds something a builder would include
	lastBlockAt int64 // mono, when the newest block was certified

	buildView   uint64 // view for which Build was asked; 0 = none
	buildParent buildParent
	buildFailed bool
	proposeAt   int64 // mono, when the minimum interval lets us propose
	judgeAt     int64 // mono, when a proposal from the future may be judged again
	certsAt     int64 // mono, when missing certificates may be asked for (again)
	certsWanted bool
	resendAt    int64 // mono; 0 = nothing to resend
	announceAt  int64 // mono

	heard      []uint64 // by member: our view when its last signed message came
	answered   []int64  // by member: mono of our last answer to a stale vote
	evidence   [][3]bool
	reported   []bool // by member: told an observer its view
	reports    int
	reportView uint64 // highest of them
}

// finalView is the last finalized view, at the start of an epoch the root.
type finalView struct {
	view  uint64
	block crypto.Hash
	cert  *Certificate
	at    int64 // mono, when it came
}

type buildParent struct {
	view uint64
	hash crypto.Hash
}

// Status is a copy of what a core knows, for health, metrics and tests.
type Status struct {
	Epoch             uint32
	View              uint64
	Leader            int    // of View
	LastFinalizedView uint64 // highest finalization held, committed or not
	CommittedView     uint64 // of the last Commit
	CommittedHeight   uint64
	TipView           uint64      // highest notarized view, LastFinalizedView if none is above it
	Tip               crypto.Hash // block of TipView, on which the next leader builds
	Armed             bool
	Voting            bool // a member that is neither halted, paused, observing, doubled nor at the end of its epoch
	Observing         bool
	Forgetful         bool // votes although some of its own may be unknown here
	Reports           int  // members that told an observer, or who is forgetful, their view
	Twin              bool // a vote of our own key came that this core did not make
	Ended             bool // a closing block is final: this core's epoch is over
	Behind            bool // the gap to the last finalized block is longer than a core walks back
	Halted            string
	Views, Blocks     int // held in memory
}

// Status answers what the core knows now.
func (c *Core) Status() Status {
	s := Status{
		Epoch: c.cfg.Epoch, View: c.view, Leader: c.leader(c.view),
		LastFinalizedView: c.final.view, CommittedView: c.comView, CommittedHeight: c.committed.Height,
		TipView: c.final.view, Tip: c.final.block, Armed: c.armed, Voting: c.voting(), Observing: c.observing, Forgetful: c.forgetful(), Reports: c.reports, Twin: c.twin,
		Ended: c.ended, Behind: c.overflow, Halted: c.halted,
		Views: len(c.views), Blocks: len(c.order),
	}
	if c.tip != nil {
		s.TipView, s.Tip = c.tip.view, c.tip.cert(Notarize).Block
	}
	return s
}

// Has says whether the core holds a certificate of this kind and view, or one
// that makes it needless. A driver asks before it verifies a certificate's
// signatures; one that says something else must still be verified and stepped,
// for it would prove that too many members are faulty.
func (c *Core) Has(s Subject) bool {
	if s.Epoch != c.cfg.Epoch || s.Kind < Notarize || s.Kind > Finalize {
		return false
	}
	held := c.lookup(s.View)
	if held == nil {
		return s.View < c.final.view
	}
	if cert := held.cert(s.Kind); cert != nil {
		return cert.Subject == s
	}
	return false
}

// check says whether a configuration can work. Error: ErrConfig.
func (cfg *Config) check() error {
	n := len(cfg.Members)
	switch {
	case n == 0 || n > MaxMembers:
		return fmt.Errorf("%w: %d members, want 1 to %d", ErrConfig, n, MaxMembers)
	case cfg.Self < -1 || cfg.Self >= n:
		return fmt.Errorf("%w: own index %d of %d members", ErrConfig, cfg.Self, n)
	case cfg.Self >= 0 && cfg.Sign == nil:
		return fmt.Errorf("%w: a member without a key", ErrConfig)
	case cfg.Delta <= 0 || cfg.DeltaMax < cfg.Delta:
		return fmt.Errorf("%w: Δ is %d ms, its cap %d ms", ErrConfig, cfg.Delta, cfg.DeltaMax)
	case cfg.MinInterval < 0 || cfg.Heartbeat < 0:
		return fmt.Errorf("%w: minimum interval %d ms, heartbeat %d ms", ErrConfig, cfg.MinInterval, cfg.Heartbeat)
	case cfg.Root.View > 0 && cfg.Root.Finalization == nil:
		return fmt.Errorf("%w: root of view %d without its finalization", ErrConfig, cfg.Root.View)
	}
	for i := 1; i < n; i++ {
		if bytes.Compare(cfg.Members[i-1][:], cfg.Members[i][:]) >= 0 {
			return fmt.Errorf("%w: members %d and %d are not in address order", ErrConfig, i-1, i)
		}
	}
	if f := cfg.Root.Finalization; f != nil {
		if f.Kind != Finalize || f.Epoch != cfg.Epoch || f.View != cfg.Root.View || f.Block != cfg.Root.Block.Hash {
			return fmt.Errorf("%w: root is block %s of view %d, its certificate says %s %s of view %d in epoch %d",
				ErrConfig, cfg.Root.Block.Hash, cfg.Root.View, f.Kind, f.Block, f.View, f.Epoch)
		}
	}
	return nil
}

// Step tells the core what happened at mono (milliseconds of a clock that only
// runs forward; every deadline) and wall (milliseconds since 1970; timestamps
// only) and answers what to do. Signatures in the event are verified already:
// the core trusts its inputs to be authentic, not to be honest.
func (c *Core) Step(mono, wall int64, ev Event) Effects {
	c.mono, c.wall = max(mono, c.mono), wall
	c.eff = Effects{}
	if c.halted != "" {
		return c.eff
	}
	switch e := ev.(type) {
	case ProposalReceived:
		c.onProposal(e.From, &e.Proposal)
	case VoteReceived:
		c.onVote(e.From, &e.Vote)
	case CertificateReceived:
		c.learn(&e.Certificate, e.From, false)
	case Built:
		c.onBuilt(&e)
	case Executed:
		c.onExecuted(&e)
	case BlockDurable:
		if c.blocks[e.Block.Hash] != nil { // nobody asked for any other
			c.place(e.Block, true, 0)
		}
	case WorkPending:
		c.onWork(e.Pending)
	case Persisted:
		c.countOwn()
	case Pause:
		c.paused = e.Paused
	case ViewReported:
		c.onReport(e.From, e.View)
	case Synced:
		c.onSynced(&e)
	case Tick:
	default:
		panic(fmt.Sprintf("consensus: unknown event %T", ev))
	}
	return c.settle()
}

// settle takes every step that the state now allows and ends the Step.
func (c *Core) settle() Effects {
	if c.halted == "" {
		c.commit()
	}
	if c.halted == "" && !c.ended {
		c.certsWanted = false
		c.arm()
		c.propose()
		c.judge()
		c.expire()
		c.resend()
		c.announce()
	}
	if c.halted == "" {
		c.fetch()
		c.eff.WakeAt = c.wake()
	}
	return c.eff
}

// voting says whether this core signs at all.
func (c *Core) voting() bool {
	return c.cfg.Self >= 0 && c.halted == "" && !c.paused && !c.observing && !c.twin && !c.ended && !c.replaying
}

func (c *Core) leader(view uint64) int { return Leader(c.cfg.Epoch, view, c.n) }

func (c *Core) faulty(f fault.Fault) bool { return c.cfg.Fault.Has(f) }

// resendEvery is t_r: the distance of resends, of repeated fetches and of
// re-announcements.
func (c *Core) resendEvery() int64 { return 2 * c.cfg.Delta }

// broadcast queues one message for every other member.
func (c *Core) broadcast(m Message) { c.eff.Broadcast = append(c.eff.Broadcast, m) }

// persist queues a record that must be durable before anything of this Step is
// visible.
func (c *Core) persist(r Record) { c.eff.Persist = append(c.eff.Persist, r) }

// halt stops the core for good: what it saw cannot happen with at most f faulty
// members and correct software, so nothing it could sign is safe.
func (c *Core) halt(format string, args ...any) {
	if c.halted != "" {
		return
	}
	c.halted = fmt.Sprintf(format, args...)
	c.persist(Record{Halt: c.halted})
	c.eff.Halt = c.halted
}

// enter begins a view. Views only grow.
func (c *Core) enter(view uint64, admitting *Certificate) {
	if skipped := view - c.view - 1; c.view > 0 && skipped > 0 {
		// In views that we jumped over nobody could be heard.
		for i := range c.heard {
			c.heard[i] = min(c.heard[i]+skipped, view)
		}
	}
	c.view, c.cur = view, c.viewAt(view)
	c.forgetVotes()
	c.entered, c.admitting = c.mono, admitting
	c.armed, c.armedAt = false, 0
	c.buildView, c.buildFailed = 0, false
	c.judgeAt, c.certsAt, c.certsWanted = 0, 0, false
	c.resendAt, c.announceAt = 0, c.mono+c.resendEvery()
	if c.cur.signed(Nullify) != nil {
		c.resendAt = c.mono
	}
}
