package consensus

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"cairn/crypto"
)

var stormSeed = flag.Uint64("storm-seed", 0, "replay one seed of TestStorm")

// TestStorm feeds one core nonsense that is authentic but not honest: votes and
// certificates of every kind, in any order, by members who contradict themselves.
// Whatever comes, the core must not panic, must keep what must never be signed,
// must stay bounded, and must do the same when it is told the same.
func TestStorm(t *testing.T) {
	t.Parallel()
	first, count := uint64(1), uint64(300)
	if *stormSeed != 0 {
		first, count = *stormSeed, 1
	}
	var all stormTotals
	for seed := first; seed < first+count; seed++ {
		if err := storm(seed, &all); err != nil {
			t.Fatalf("%v\nreplay: go test ./consensus -run TestStorm -storm-seed %d", err, seed)
		}
	}
	t.Logf("%+v", all)
	if count > 1 && (all.notarized == 0 || all.nullified == 0 || all.finalized == 0 || all.commits == 0 || all.evidence == 0) {
		t.Errorf("the storm is too mild to show anything: %+v", all)
	}
}

// stormTotals says what happened, so that a storm that reaches nothing is noticed.
type stormTotals struct{ notarized, nullified, finalized, commits, evidence, halts int }

func (a *stormTotals) add(e *Effects) {
	for _, r := range e.Persist {
		switch {
		case r.Halt != "":
			a.halts++
		case r.Vote == nil:
		case r.Vote.Kind == Notarize:
			a.notarized++
		case r.Vote.Kind == Nullify:
			a.nullified++
		case r.Vote.Kind == Finalize:
			a.finalized++
		}
	}
	a.commits += len(e.Commit)
	a.evidence += len(e.Evidence)
}

type stormer struct {
	r      *rand.Rand
	n      int
	view   uint64 // of the core, roughly
	blocks []Block
	asked  []crypto.Hash
	chosen map[uint64]int // by view: the block whose notarization may exist

	core      *Core // the one that is stormed; looked into, never touched
	certified int   // certificates made so far
}

func storm(seed uint64, all *stormTotals) error {
	s := &stormer{r: rand.New(rand.NewPCG(seed, 7)), blocks: []Block{testRoot}, chosen: map[uint64]int{}}
	s.n = 1 + s.r.IntN(7)
	cfg := testConfig(s.n, s.r.IntN(s.n+1)-1)
	cfg.Heartbeat, cfg.MinInterval = int64(s.r.IntN(2)*3000), int64(s.r.IntN(2)*100)
	cfg.Observer = s.r.IntN(10) == 0
	a, _, err := New(cfg, nil, 1, 1)
	if err != nil {
		return err
	}
	b, _, err := New(cfg, nil, 1, 1)
	if err != nil {
		return err
	}
	s.core = a
	signed := map[uint64]map[Kind]Subject{}
	mono := int64(1)
	for step := range 600 {
		mono += int64(s.r.IntN(80))
		s.view = a.Status().View
		ev := s.event()
		ea, eb := a.Step(mono, mono, ev), b.Step(mono, mono, ev)
		if !reflect.DeepEqual(ea, eb) {
			return fmt.Errorf("seed %d step %d %T: two cores, one input, two answers:\n%+v\n%+v", seed, step, ev, ea, eb)
		}
		all.add(&ea)
		if err := checkSigned(signed, ea.Persist); err != nil {
			return fmt.Errorf("seed %d step %d %T: %w", seed, step, ev, err)
		}
		if ea.WakeAt != 0 && ea.WakeAt <= mono {
			return fmt.Errorf("seed %d step %d %T: wake at %d, now is %d", seed, step, ev, ea.WakeAt, mono)
		}
		st := a.Status()
		if bound := s.certified + futureWindow + retainedViews + pastWindow + 4; st.Views > bound {
			return fmt.Errorf("seed %d step %d: %d views held, bound %d", seed, step, st.Views, bound)
		}
		if st.Blocks > MaxHeldBlocks {
			return fmt.Errorf("seed %d step %d: %d blocks held", seed, step, st.Blocks)
		}
		s.asked = append(s.asked, ea.Execute...)
		if ea.Build != nil && s.r.IntN(4) > 0 {
			p := ea.Build
			nb := s.block(p.Parent, p.View)
			nb.Timestamp, nb.Proposer = p.MinTimestamp, cfg.Members[cfg.Self]
			eff := a.Step(mono, mono, Built{View: p.View, Block: nb})
			b.Step(mono, mono, Built{View: p.View, Block: nb})
			if err := checkSigned(signed, eff.Persist); err != nil {
				return fmt.Errorf("seed %d step %d built: %w", seed, step, err)
			}
		}
	}
	return nil
}

// checkSigned holds the rules of sign against what a core wants to make durable.
func checkSigned(signed map[uint64]map[Kind]Subject, records []Record) error {
	for _, r := range records {
		if r.Vote == nil {
			continue
		}
		v := r.Vote
		of := signed[v.View]
		if of == nil {
			of = map[Kind]Subject{}
			signed[v.View] = of
		}
		_, nullified := of[Nullify]
		_, finalized := of[Finalize]
		if old, twice := of[v.Kind]; twice {
			return fmt.Errorf("%s signed twice in view %d: %v, %v", v.Kind, v.View, old, v.Subject)
		}
		if v.Kind == Finalize && nullified || v.Kind == Nullify && finalized || v.Kind == Notarize && nullified {
			return fmt.Errorf("%s of view %d after another vote that excludes it", v.Kind, v.View)
		}
		of[v.Kind] = v.Subject
	}
	return nil
}

func (s *stormer) block(parent crypto.Hash, view uint64) Block {
	p := testRoot
	for _, b := range s.blocks {
		if b.Hash == parent {
			p = b
		}
	}
	b := Block{
		Parent: p.Hash, Height: p.Height + 1, View: view, Proposer: testMembers(s.n)[Leader(0, view, s.n)],
		Timestamp: p.Timestamp + 100 + int64(s.r.IntN(3)),
	}
	b.Hash = crypto.Keccak256([]byte(fmt.Sprint(b)))
	s.blocks = append(s.blocks, b)
	return b
}

func (s *stormer) pick() Block { return s.blocks[len(s.blocks)-1-s.r.IntN(min(6, len(s.blocks)))] }

// near is a view around the core's, seldom far away.
func (s *stormer) near() uint64 {
	switch s.r.IntN(300) {
	case 0:
		return 1 + s.r.Uint64N(1<<40)
	case 1:
		return s.view + s.r.Uint64N(100)
	}
	return max(1, s.view+3-min(s.view+2, s.r.Uint64N(7)))
}

func (s *stormer) subject() Subject {
	view := s.near()
	switch kind := []Kind{Notarize, Finalize, Notarize, Finalize, Notarize, Finalize, Nullify}[s.r.IntN(7)]; kind {
	case Nullify:
		return Subject{Kind: kind, View: view}
	default:
		return Subject{Kind: kind, View: view, ParentView: view - min(view, 1+s.r.Uint64N(3)), Block: s.pick().Hash}
	}
}

// certificate makes one that can exist: of each view, a notarization or
// finalization of one subject only, and nullifications only of even views, which
// are never finalized.
func (s *stormer) certificate() Certificate {
	s.certified++
	sub := s.subject()
	if sub.View > s.view+5 && s.r.IntN(3) > 0 {
		sub.View = s.view
	}
	if s.core.cur.proposal != nil && s.r.IntN(2) == 0 && s.chosen[s.view] == 0 {
		for i := range s.blocks { // let the current view's proposal win
			if s.blocks[i].Hash == s.core.cur.proposal.Block.Hash && s.blocks[i].View == s.view {
				sub, s.chosen[s.view] = Subject{Kind: Notarize, View: s.view, Block: s.blocks[i].Hash}, i
			}
		}
	}
	if sub.View%2 == 0 {
		if sub.Kind == Finalize {
			sub = Subject{Kind: Nullify, View: sub.View}
		}
	} else if sub.Kind == Nullify {
		sub.View++
	}
	if sub.Kind != Nullify {
		i, ok := s.chosen[sub.View]
		if !ok {
			b := s.pick()
			i = len(s.blocks)
			s.block(b.Hash, sub.View)
			s.chosen[sub.View] = i
		}
		sub.Block = s.blocks[i].Hash
		sub.ParentView = s.blocks[i].View - min(s.blocks[i].View, 1)
	}
	c := Certificate{Subject: sub, Signers: NewBitmap(s.n)}
	for i := range Quorum(s.n) {
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, crypto.Signature{byte(i)})
	}
	return c
}

func (s *stormer) event() Event {
	from := s.r.IntN(s.n+1) - 1
	switch s.r.IntN(12) {
	case 0, 1, 2:
		return VoteReceived{From: from, Vote: Vote{Subject: s.subject(), Signer: uint16(s.r.IntN(s.n + 1))}}
	case 3:
		if s.r.IntN(3) == 0 {
			return Tick{}
		}
		return CertificateReceived{From: from, Certificate: s.certificate()}
	case 4, 5:
		view := s.view + s.r.Uint64N(3)
		b := s.block(s.pick().Hash, view)
		if s.r.IntN(4) == 0 {
			b = s.pick()
		}
		leader := Leader(0, view, s.n)
		parentView := view - min(view, 1+s.r.Uint64N(2))
		if s.r.IntN(4) > 0 { // a proposal that may be good
			var parent crypto.Hash
			parentView, parent = s.core.candidate()
			b = s.block(parent, view)
		}
		v := Vote{Subject: Subject{Kind: Notarize, View: view, ParentView: parentView, Block: b.Hash}, Signer: uint16(leader)}
		return ProposalReceived{From: from, Proposal: Proposal{Block: b, Vote: v}}
	case 6, 7:
		if len(s.asked) == 0 {
			return Tick{}
		}
		h := s.asked[len(s.asked)-1-s.r.IntN(min(3, len(s.asked)))]
		return Executed{Block: h, Status: ExecutionStatus(1 + s.r.IntN(300)/298), Closing: s.r.IntN(50) == 0}
	case 8:
		if len(s.asked) > 0 && s.r.IntN(2) == 0 {
			last := s.asked[len(s.asked)-1]
			for _, b := range s.blocks {
				if b.Hash == last {
					return BlockDurable{Block: b}
				}
			}
		}
		return BlockDurable{Block: s.pick()}
	case 9:
		return WorkPending{Pending: s.r.IntN(3) > 0}
	case 10:
		return []Event{Pause{Paused: s.r.IntN(3) == 0}, ViewReported{From: from, View: s.near()}}[s.r.IntN(2)]
	}
	return []Event{Persisted{}, Tick{}}[s.r.IntN(2)]
}
