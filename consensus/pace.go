package consensus

import "cairn/consensus/internal/fault"

// maxBackoff bounds the doublings of Δ; DeltaMax caps the product well before.
const maxBackoff = 32

// maxResentFinalizes bounds the finalize votes that one resend repeats.
const maxResentFinalizes = 32

// delta is Δ': Δ doubled once for each full rotation of leaders since the last
// finalized view, capped. It is computed, never stored, so that nodes with the
// same tip agree on it.
func (c *Core) delta() int64 {
	k := min((c.view-c.final.view-1)/uint64(c.n), maxBackoff)
	d := c.cfg.Delta
	switch {
	case c.faulty(fault.BackoffNeverReset):
		k = min((c.view-1)/uint64(c.n), maxBackoff)
	case c.faulty(fault.BackoffUncapped):
		return d << k
	}
	for ; k > 0 && d < c.cfg.DeltaMax; k-- {
		d *= 2
	}
	return min(d, c.cfg.DeltaMax)
}

// grace is how long another member's nullify must be held before it arms us.
func (c *Core) grace() int64 { return max(10*c.cfg.Delta, 5000) }

// armTime is when the current view becomes armed: at once if there is work, else
// when something that waits has waited too long.
func (c *Core) armTime() int64 {
	if c.work || c.faulty(fault.NoIdle) {
		return 0
	}
	at := never
	if c.tip != nil {
		if b := c.blocks[c.tip.cert(Notarize).Block]; b != nil && b.closing {
			return 0
		}
		if !c.faulty(fault.TipForgotten) {
			at = c.tip.heldAt[Notarize.index()] + c.cfg.Delta
		}
	}
	if c.cfg.Heartbeat > 0 {
		at = min(at, c.lastBlockAt+c.cfg.Heartbeat)
	}
	if c.cur.foreignAt >= 0 {
		at = min(at, c.cur.foreignAt+c.grace())
	}
	return at
}

// arm arms the current view when there is work. It stays armed.
func (c *Core) arm() {
	if !c.armed && c.armTime() <= c.mono {
		c.armed, c.armedAt = true, c.mono
	}
}

// onWork takes what the driver says of the pool.
func (c *Core) onWork(pending bool) {
	if pending && !c.work {
		c.announceAt = c.mono + c.resendEvery()
	}
	c.work = pending
}

// base is when the deadlines of the current view begin to run: when there was
// something to do and a proposal was allowed.
func (c *Core) base() int64 {
	if c.faulty(fault.DeadlineFromEntry) {
		return c.entered
	}
	at := max(c.entered, c.armedAt)
	hash := c.final.block
	if c.tip != nil {
		hash = c.tip.cert(Notarize).Block
	}
	if b := c.blocks[hash]; b != nil && b.here {
		at = max(at, b.seenAt+c.cfg.MinInterval)
	}
	return at
}

// deadline is when we give the current view up if nothing changes: t_l while no
// proposal is here, else t_a.
func (c *Core) deadline() int64 {
	switch {
	case !c.armed:
		return never
	case c.cur.proposal == nil:
		return c.base() + 2*c.delta()
	}
	return c.base() + 3*c.delta()
}

// expire nullifies the current view if it is time to.
func (c *Core) expire() {
	if !c.voting() || c.cur.signed(Nullify) != nil {
		return
	}
	if c.cur.signed(Finalize) != nil && !c.faulty(fault.NoNullifyFinalizeExclusion) {
		return
	}
	switch {
	case c.cur.rejected != "":
		c.nullify(c.cur.rejected)
	case c.buildFailed:
		c.nullify("no block could be built")
	case c.cur.signed(Notarize) == nil && c.hopeless():
		c.nullify("the view cannot be notarized any more")
	case c.armed && c.silent():
		c.nullify("the leader has been silent for a rotation")
	case c.mono >= c.deadline():
		c.nullify("deadline")
	}
}

// hopeless says whether the leader gave its own view up, or so many others that
// no quorum is left without us.
func (c *Core) hopeless() bool {
	t := &c.cur.tallies[Nullify.index()]
	if t.has(c.leader(c.view)) {
		return true
	}
	others := t.total
	if t.has(c.cfg.Self) {
		others--
	}
	return others >= c.n-c.q+1
}

// silent says whether the leader of the current view may be skipped: nothing of
// it was heard for a full rotation of views. At most n−q members count as
// silent, those unheard for longest, and nobody when finality itself is stuck:
// then it is not the leaders that fail.
func (c *Core) silent() bool {
	n, l := uint64(c.n), c.leader(c.view)
	if c.faulty(fault.EverybodySilent) {
		return l != c.cfg.Self && c.view-c.heard[l] > n
	}
	if l == c.cfg.Self || c.view-c.final.view > n || c.view-c.heard[l] <= n {
		return false
	}
	longer := 0
	for m, at := range c.heard {
		if m != c.cfg.Self && (at < c.heard[l] || at == c.heard[l] && m < l) {
			longer++
		}
	}
	return longer < c.n-c.q
}

// resend repeats, while our nullify of the current view stands, that vote, the
// certificate that admitted us here and our finalize votes that may still make a
// finalization.
func (c *Core) resend() {
	if c.faulty(fault.NoResend) {
		c.resendAt = 0
	}
	if c.resendAt == 0 || c.mono < c.resendAt {
		return
	}
	own := c.cur.signed(Nullify)
	if own == nil {
		c.resendAt = 0
		return
	}
	c.resendAt = c.mono + c.resendEvery()
	c.broadcast(Message{Vote: own})
	if c.admitting != nil {
		c.broadcast(Message{Certificate: c.admitting})
	}
	c.resendFinalizes()
}

// resendFinalizes repeats our finalize votes above the last finalized view,
// newest first.
func (c *Core) resendFinalizes() {
	sent := 0
	for i := len(c.views) - 1; i >= 0 && c.views[i].view > c.final.view && sent < maxResentFinalizes; i-- {
		if v := c.views[i].signed(Finalize); v != nil {
			c.broadcast(Message{Vote: v})
			sent++
		}
	}
}

// announce has pending transactions sent again: to the leader, who may lack
// them, and to everybody once we gave its view up, or would have if we could
// sign. A full node whose leader is faulty must reach the other members too.
func (c *Core) announce() {
	if !c.work || !c.armed || c.mono < c.announceAt {
		return
	}
	c.announceAt = c.mono + c.resendEvery()
	if c.faulty(fault.NeverAnnounced) {
		return
	}
	switch {
	case c.cur.signed(Nullify) != nil, !c.voting() && c.mono >= c.deadline():
		c.eff.Announce = AnnounceAll
	case c.leader(c.view) != c.cfg.Self:
		c.eff.Announce = AnnounceLeader
	}
}

// wake is when something will be due although nothing happens; 0 = never.
func (c *Core) wake() int64 {
	at := never
	for _, b := range c.wants {
		at = min(at, b.wantAt)
	}
	if !c.ended {
		at = min(at, c.wakeView())
	}
	if at == never {
		return 0
	}
	return max(at, c.mono+1)
}

// wakeView is when something of the current view will be due.
func (c *Core) wakeView() int64 {
	at := never
	sooner := func(t int64) {
		if t > 0 {
			at = min(at, t)
		}
	}
	if !c.armed {
		sooner(c.armTime())
	}
	if c.voting() {
		if c.cur.signed(Nullify) == nil && c.cur.signed(Finalize) == nil {
			sooner(c.deadline())
		}
		sooner(c.proposeAt)
		sooner(c.judgeAt)
		if c.certsWanted && c.cur.signed(Nullify) == nil && c.cur.signed(Notarize) == nil {
			sooner(c.certsAt)
		}
	}
	sooner(c.resendAt)
	if c.work && c.armed {
		sooner(c.announceAt)
	}
	return at
}
