package snapshot

import (
	"context"

	"cairn/genesis"
	"cairn/ledger/store"
)

// Staging is a new database that is being built. Every method may be called
// from any goroutine.
type Staging struct{}

// Create begins a join in dir, which must not hold one.
func Create(dir string, spec *genesis.Spec, t Target, o store.Options) (*Staging, error) {
	return nil, ErrNone
}

// Resume goes on with the join in dir. Error: ErrNone if there is none, or it
// is complete.
func Resume(dir string, spec *genesis.Spec, o store.Options) (*Staging, error) { return nil, ErrNone }

// Target is what the join is for.
func (s *Staging) Target() Target { return Target{} }

// Next answers up to n segments to ask for now, disjoint from each other and
// from those handed out before: each is handed out once until it is added, Fail
// or a restart. None: nothing is left to hand out, see Done.
func (s *Staging) Next(n int) []Segment { return nil }

// AddAccounts checks an answer to a segment and keeps it. If the range ends
// before the segment does, Next hands out the rest.
// Errors: ErrAnswer, ErrProof (the peer is wrong), ErrSegment, or a failure.
func (s *Staging) AddAccounts(seg Segment, r *AccountRange) error { return ErrNone }

// AddSlots is AddAccounts for slots.
func (s *Staging) AddSlots(seg Segment, r *SlotRange) error { return ErrNone }

// AddCode is AddAccounts for code.
func (s *Staging) AddCode(seg Segment, code []byte) error { return ErrNone }

// Fail gives a segment back that nobody answered.
func (s *Staging) Fail(seg Segment) {}

// Done says whether everything is here, and Finish can be called.
func (s *Staging) Done() bool { return false }

// Progress is how far the join is.
func (s *Staging) Progress() Progress { return Progress{} }

// Finish makes the tries, compares every root, and writes the head. When it has
// returned nil the database is complete and durable, and closed.
// Errors: ErrIncomplete, ErrRoot, ctx's, or a failure. After ErrRoot the
// directory is of no use.
func (s *Staging) Finish(ctx context.Context) error { return ErrNone }

// Close stops; the join can be resumed.
func (s *Staging) Close() error { return nil }
