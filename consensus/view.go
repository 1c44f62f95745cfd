package consensus

import (
	"slices"

	"cairn/crypto"
)

// Limits on what members can make a core remember.
const (
	// MaxMembers bounds a validator set.
	MaxMembers = 1024
	// futureWindow is how many views above the current one votes are kept.
	futureWindow = 16
	// pastWindow is how many views below the current one votes open a new entry;
	// views that hold a certificate take votes at any distance.
	pastWindow = 64
	// retainedViews stay below the last finalized view, for evidence and for
	// noticing certificates that contradict each other.
	retainedViews = 8
)

// viewState is everything known of one view. It may hold a notarization and a
// nullification at the same time; both are kept until a finalization at or above
// it.
type viewState struct {
	view      uint64
	tallies   [3]tally
	certs     [3]*Certificate
	own       [3]*Vote // what we signed: restored before anything else at a restart
	heldAt    [3]int64 // when certs came, mono
	proposal  *Proposal
	rejected  string // why the proposal is definitely invalid
	foreignAt int64  // when the first nullify of another member came, mono; -1 = none
}

// index places a kind in the arrays of a viewState.
func (k Kind) index() int { return int(k) - 1 }

func (s *viewState) cert(k Kind) *Certificate { return s.certs[k-1] }
func (s *viewState) signed(k Kind) *Vote      { return s.own[k-1] }

// tally counts the votes of one kind in one view: the first of each member.
type tally struct {
	slots    []slot // by member; nil until the first vote
	subjects []counted
	total    int
}

type slot struct {
	subject   uint16 // index into subjects plus 1; 0 = no vote
	signature crypto.Signature
}

type counted struct {
	parentView uint64
	block      crypto.Hash
	votes      int
}

// find answers the index of what a subject says, or -1.
func (t *tally) find(s Subject) int {
	for i := range t.subjects {
		if t.subjects[i].parentView == s.ParentView && t.subjects[i].block == s.Block {
			return i
		}
	}
	return -1
}

// add counts a member's first vote. It answers false if the member had voted
// already, whatever it said.
func (t *tally) add(n, signer int, s Subject, sig crypto.Signature) bool {
	if t.slots == nil {
		t.slots = make([]slot, n)
	}
	if t.slots[signer].subject != 0 {
		return false
	}
	i := t.find(s)
	if i < 0 {
		i = len(t.subjects)
		t.subjects = append(t.subjects, counted{parentView: s.ParentView, block: s.Block})
	}
	t.subjects[i].votes++
	t.total++
	t.slots[signer] = slot{subject: uint16(i + 1), signature: sig}
	return true
}

// has says whether a member voted.
func (t *tally) has(signer int) bool { return t.slots != nil && t.slots[signer].subject != 0 }

// vote rebuilds the vote of a member that has one.
func (t *tally) vote(kind Kind, epoch uint32, view uint64, signer int) Vote {
	s := &t.slots[signer]
	c := &t.subjects[s.subject-1]
	return Vote{
		Subject:   Subject{Kind: kind, Epoch: epoch, View: view, ParentView: c.parentView, Block: c.block},
		Signer:    uint16(signer),
		Signature: s.signature,
	}
}

// certificate joins the votes of the i-th subject.
func (t *tally) certificate(s Subject, i int) *Certificate {
	c := &Certificate{
		Subject:    s,
		Signers:    NewBitmap(len(t.slots)),
		Signatures: make([]crypto.Signature, 0, t.subjects[i].votes),
	}
	for m := range t.slots {
		if int(t.slots[m].subject) == i+1 {
			c.Signers.Set(m)
			c.Signatures = append(c.Signatures, t.slots[m].signature)
		}
	}
	return c
}

// search finds the place of a view in the sorted list of views.
func (c *Core) search(view uint64) (int, bool) {
	// Nearly every question is about one of the newest views.
	if n := len(c.views); n > 0 && c.views[n-1].view < view {
		return n, false
	}
	return slices.BinarySearchFunc(c.views, view, func(s *viewState, v uint64) int {
		switch {
		case s.view < v:
			return -1
		case s.view > v:
			return 1
		}
		return 0
	})
}

// lookup answers what is known of a view, or nil.
func (c *Core) lookup(view uint64) *viewState {
	if c.cur != nil && c.cur.view == view {
		return c.cur
	}
	if i, ok := c.search(view); ok {
		return c.views[i]
	}
	return nil
}

// viewAt answers the state of a view, made if need be.
func (c *Core) viewAt(view uint64) *viewState {
	i, ok := c.search(view)
	if !ok {
		c.views = slices.Insert(c.views, i, &viewState{view: view, foreignAt: -1})
	}
	return c.views[i]
}

// forgetViews drops the views that the last finalization made irrelevant.
func (c *Core) forgetViews() {
	if c.final.view <= retainedViews {
		return
	}
	i, _ := c.search(c.final.view - retainedViews)
	if i > 0 {
		c.views = slices.Delete(c.views, 0, i)
	}
}

// forgetVotes drops views far behind the current one in which there are only
// votes of others: those are free to make, certificates and promises are not.
func (c *Core) forgetVotes() {
	if len(c.views) <= 2*(pastWindow+futureWindow) {
		return
	}
	c.views = slices.DeleteFunc(c.views, func(s *viewState) bool {
		return s.view+pastWindow < c.view && s.certs == [3]*Certificate{} && s.own == [3]*Vote{}
	})
}

// nullified says whether every view strictly between p and v is nullified.
func (c *Core) nullified(p, v uint64) bool {
	if v <= p+1 {
		return true
	}
	i, _ := c.search(v)
	for u := v - 1; u > p; u-- {
		i--
		if i < 0 || c.views[i].view != u || c.views[i].cert(Nullify) == nil {
			return false
		}
	}
	return true
}

// maxFetchRanges bounds one Effects.FetchCertificates.
const maxFetchRanges = 8

// missing lists the views strictly between p and v without a nullification, as
// ranges, newest first, and p itself if nothing certifies its block.
func (c *Core) missing(p, v uint64) []ViewRange {
	var out []ViewRange
	i, _ := c.search(v)
	hi := v - 1 // the newest view not looked at
	for hi > p && len(out) < maxFetchRanges {
		// Find the newest held entry at or below hi.
		for i > 0 && c.views[i-1].view > hi {
			i--
		}
		switch {
		case i > 0 && c.views[i-1].view == hi && c.views[i-1].cert(Nullify) != nil:
			hi--
			continue
		case i > 0 && c.views[i-1].view == hi:
			out = appendRange(out, hi, hi)
			hi--
		default: // nothing held down to the next entry, or to p
			lo := p + 1
			if i > 0 && c.views[i-1].view >= lo {
				lo = c.views[i-1].view + 1
			}
			out = appendRange(out, lo, hi)
			hi = lo - 1
		}
	}
	if _, ok := c.certifiedBlock(p); !ok && len(out) < maxFetchRanges {
		out = appendRange(out, p, p)
	}
	return out
}

// appendRange adds views lo to hi, which lie below every range before them.
func appendRange(out []ViewRange, lo, hi uint64) []ViewRange {
	if n := len(out); n > 0 && out[n-1].From == hi+1 {
		out[n-1].From = lo
		return out
	}
	return append(out, ViewRange{From: lo, To: hi})
}

// certifiedBlock answers the block of a view that is finalized or notarized.
func (c *Core) certifiedBlock(p uint64) (crypto.Hash, bool) {
	if p == c.final.view {
		return c.final.block, true
	}
	if p < c.final.view {
		return crypto.Hash{}, false
	}
	if s := c.lookup(p); s != nil && s.cert(Notarize) != nil {
		return s.cert(Notarize).Block, true
	}
	return crypto.Hash{}, false
}
