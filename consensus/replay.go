package consensus

import (
	"fmt"

	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// maxResentCertificates bounds the certificates that a restarted core sends.
const maxResentCertificates = 64

// New makes a core of one epoch from its configuration and the records of the
// vote log, oldest first. Records of other epochs and at or below the root are
// passed over. The effects put the node back to work: blocks to execute, votes
// and certificates to send again. A record of a halt makes a core that stays
// halted. Errors: ErrConfig, ErrRecordInvalid.
func New(cfg Config, records []Record, mono, wall int64) (*Core, Effects, error) {
	if err := cfg.check(); err != nil {
		return nil, Effects{}, err
	}
	n := len(cfg.Members)
	c := &Core{
		cfg: cfg, n: n, q: Quorum(n), mono: mono, wall: wall,
		paused: cfg.Paused, observing: cfg.Observer, reportView: cfg.ObserveAbove, lastBlockAt: mono - cfg.Root.Age,
		blocks: make(map[crypto.Hash]*blockState),
		heard:  make([]uint64, n), answered: make([]int64, n), evidence: make([][3]bool, n), reported: make([]bool, n),
	}
	if c.faulty(fault.QuorumTooSmall) {
		c.q = max(1, c.q-1)
	}
	if c.faulty(fault.TwoFPlusOne) {
		c.q = 2*Faults(n) + 1
	}
	c.root(cfg.Root)
	if err := c.replay(records); err != nil {
		return nil, Effects{}, err
	}
	// What the records say is durable already. Only a certificate that restored
	// votes complete, or a contradiction between records, is news.
	c.eff = Effects{Persist: c.eff.Persist, Evidence: c.eff.Evidence}
	if c.halted != "" {
		c.eff.Halt = c.halted
		return c, c.eff, nil
	}
	for i := range c.heard {
		c.heard[i] = c.view
	}
	for _, b := range c.order {
		if b.exec == executing {
			c.eff.Execute = append(c.eff.Execute, b.Hash)
		}
	}
	c.takeUp()
	return c, c.settle(), nil
}

// root starts from what the ledger committed last.
func (c *Core) root(r Root) {
	b := &blockState{Block: r.Block, here: true, durable: true, exec: executedOK, seenAt: c.mono - c.cfg.MinInterval}
	c.blocks[b.Hash], c.order = b, append(c.order, b)
	c.committed, c.comView = b, r.View
	c.final = finalView{view: r.View, block: b.Hash, cert: r.Finalization, at: c.mono}
	if r.Finalization != nil {
		vs := c.viewAt(r.View)
		vs.certs[Finalize.index()], vs.heldAt[Finalize.index()] = r.Finalization, c.mono
	}
	c.enter(r.View+1, r.Finalization)
}

// replay restores flags in the order they were recorded.
func (c *Core) replay(records []Record) error {
	c.replaying = true
	defer func() { c.replaying = false }()
	for i := range records {
		switch r := &records[i]; {
		case r.Halt != "":
			c.halted = r.Halt
		case r.Vote != nil:
			if err := c.restoreVote(r.Vote); err != nil {
				return err
			}
		case r.Certificate != nil:
			c.learn(r.Certificate, -1, false)
		case r.Block != nil:
			if r.Block.Epoch == c.cfg.Epoch {
				c.place(*r.Block, true, r.Block.View)
			}
		default:
			return fmt.Errorf("%w: record %d is empty", ErrRecordInvalid, i)
		}
	}
	return nil
}

// restoreVote takes an own vote back: first of all the promise it made, then its
// count.
func (c *Core) restoreVote(v *Vote) error {
	if v.Epoch != c.cfg.Epoch && !c.faulty(fault.OldEpochReplayed) || v.View <= c.final.view || c.faulty(fault.VotesNotRestored) {
		return nil
	}
	if int(v.Signer) != c.cfg.Self {
		return fmt.Errorf("%w: vote by member %d, we are %d", ErrRecordInvalid, v.Signer, c.cfg.Self)
	}
	if err := v.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrRecordInvalid, err)
	}
	vs := c.viewAt(v.View)
	if held := vs.signed(v.Kind); held != nil && held.Subject != v.Subject && !c.faulty(fault.NotarizeTwice) {
		return fmt.Errorf("%w: two %s votes of view %d", ErrRecordInvalid, v.Kind, v.View)
	}
	vs.own[v.Kind.index()] = v
	c.count(v)
	return nil
}

// takeUp sends again what may never have left: held certificates, newest first,
// our votes of the current view, our finalize votes. The resend of a standing
// nullify goes on.
func (c *Core) takeUp() {
	if c.faulty(fault.ResendNotRearmed) {
		c.resendAt = 0
		return
	}
	sent := 0
	for i := len(c.views) - 1; i >= 0 && c.views[i].view >= c.final.view; i-- {
		for _, cert := range c.views[i].certs {
			if cert != nil && sent < maxResentCertificates {
				c.broadcast(Message{Certificate: cert})
				sent++
			}
		}
	}
	if c.cfg.Self < 0 {
		return
	}
	if v := c.cur.signed(Notarize); v != nil {
		c.takeUpProposal(v)
	}
	if v := c.cur.signed(Nullify); v != nil {
		c.resendAt = c.mono // goes out in this very step, with what belongs to it
		return
	}
	c.resendFinalizes()
}

// takeUpProposal holds the proposal again that we notarized in the current view.
// The leader's is sent whole: it may never have left.
func (c *Core) takeUpProposal(v *Vote) {
	b := c.blocks[v.Block]
	if b == nil || !b.here {
		c.broadcast(Message{Vote: v})
		return
	}
	c.cur.proposal = c.proposal(v, b.Block)
	if c.leader(c.view) == c.cfg.Self {
		c.broadcast(Message{Proposal: c.cur.proposal})
	} else {
		c.broadcast(Message{Vote: v})
	}
}
