package snapshot

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Staging is a new database that is being built. Every method may be called
// from any goroutine.
type Staging struct {
	j      *store.Joining
	spec   *genesis.Spec
	zero   *types.Block
	target Target

	mu       sync.Mutex // held over every change of what follows and of the records
	lanes    [lanes]lane
	out      map[Segment]bool // handed out
	pending  int              // records of tries and codes
	totals   Progress
	finished bool
}

// Create begins a join in dir, which must not hold one.
// Errors: ErrTarget, store.ErrForeign (there is a database), or a failure.
func Create(dir string, spec *genesis.Spec, t Target, o store.Options) (*Staging, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	zero, _, err := chain.Genesis(spec)
	if err != nil {
		return nil, fmt.Errorf("make block 0: %w", err)
	}
	if _, err := t.completion(spec, zero); err != nil {
		return nil, err
	}
	j, err := store.BeginJoining(dir, o, t.Header.Number.Uint64(), t.encode(zero.Hash()))
	if err != nil {
		return nil, err
	}
	return newStaging(j, spec, zero, t), nil
}

func newStaging(j *store.Joining, spec *genesis.Spec, zero *types.Block, t Target) *Staging {
	s := &Staging{j: j, spec: spec, zero: zero, target: t, out: make(map[Segment]bool)}
	for i := range s.lanes {
		s.lanes[i] = newLane(i)
	}
	return s
}

// Resume goes on with the join in dir. Errors: ErrNone if there is none, or it is
// complete; ErrOtherTarget; store.ErrCorrupt; or a failure.
func Resume(dir string, spec *genesis.Spec, o store.Options) (*Staging, error) {
	zero, _, err := chain.Genesis(spec)
	if err != nil {
		return nil, fmt.Errorf("make block 0: %w", err)
	}
	j, raw, err := store.ResumeJoining(dir, o)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err != nil {
		return nil, err
	}
	t, network, err := decodeTarget(raw)
	if err == nil && network != zero.Hash() {
		err = refuse(ErrOtherTarget, "genesis %s, this network's is %s", network, zero.Hash())
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	s := newStaging(j, spec, zero, t)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return s, nil
}

// load reads how far the join is.
func (s *Staging) load() error {
	return s.j.Progress(nil, func(k, v []byte) error {
		ok := true
		switch k[0] {
		case recordLane:
			ok = len(k) == 2 && k[1] < lanes && s.lanes[k[1]].decode(v)
		case recordTrie, recordCode:
			s.pending++
		case recordTotal:
			ok = s.totals.decodeTotals(v)
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%w: record %x of a join", store.ErrCorrupt, k)
		}
		return nil
	})
}

// Target is what the join is for.
func (s *Staging) Target() Target { return s.target }

// Next answers up to n segments to ask for now, disjoint from each other and
// from those handed out before: each is handed out once until it is added, given
// back by Fail, or a restart. None: nothing is left to hand out, see Done.
// Error: a failure to read.
func (s *Staging) Next(n int) ([]Segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Segment
	hand := func(seg Segment) error {
		if !s.out[seg] {
			found = append(found, seg)
		}
		if len(found) >= n {
			return store.ErrStop
		}
		return nil
	}
	if n <= 0 || s.finished {
		return nil, nil
	}
	// What accounts led to goes first, so that little waits.
	if err := s.eachPending(hand); err != nil {
		return nil, err
	}
	for i := range s.lanes {
		if l := &s.lanes[i]; !l.done && len(found) < n {
			_ = hand(Segment{Kind: Accounts, From: l.next, To: l.to})
		}
	}
	for _, seg := range found {
		s.out[seg] = true
	}
	return found, nil
}

// eachPending shows the segments of tries and codes that are not here.
func (s *Staging) eachPending(f func(Segment) error) error {
	if s.pending == 0 {
		return nil
	}
	stopped := false
	note := func(err error) error {
		stopped = stopped || errors.Is(err, store.ErrStop)
		return err
	}
	err := s.j.Progress(record(recordTrie), func(k, v []byte) error {
		var p pendingTrie
		if !p.decode(v) {
			return fmt.Errorf("%w: record %x of a join", store.ErrCorrupt, k)
		}
		return note(f(p.segment()))
	})
	if err != nil || stopped {
		return err
	}
	return s.j.Progress(record(recordCode), func(k, _ []byte) error {
		if len(k) != 1+crypto.HashLength {
			return fmt.Errorf("%w: record %x of a join", store.ErrCorrupt, k)
		}
		return f(Segment{Kind: Code, Code: crypto.Hash(k[1:])})
	})
}

// Fail gives a segment back that nobody answered, or whose answer was refused.
func (s *Staging) Fail(seg Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.out, seg)
}

// Done says whether everything is here, and Finish can be called.
func (s *Staging) Done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done()
}

func (s *Staging) done() bool {
	for i := range s.lanes {
		if !s.lanes[i].done {
			return false
		}
	}
	return s.pending == 0
}

// Left says whether something of a segment that was added is still to be asked
// for. Error: a failure to read.
func (s *Staging) Left(seg Segment) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch seg.Kind {
	case Accounts:
		return !s.lanes[seg.To[0]>>(8-laneBits)].done, nil
	case Slots:
		h := crypto.Keccak256(seg.Owner[:])
		_, err := s.j.ProgressOf(record(recordTrie, h[:]...))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	default:
		return false, nil
	}
}

// Progress is how far the join is.
func (s *Staging) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.totals
	p.Pending = s.pending
	for i := range s.lanes {
		p.Done += s.lanes[i].part() / lanes
	}
	return p
}

// Close stops; the join can be resumed. After Finish it does nothing.
func (s *Staging) Close() error { return s.j.Close() }
