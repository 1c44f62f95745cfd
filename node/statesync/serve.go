package statesync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/ledger/store"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// idleAfter is how long a checkpoint stays open without a question.
const idleAfter = time.Minute

// Server answers the requests of this package from the checkpoints of a node.
type Server struct {
	dir    *snapshot.Dir
	ledger *ledger.Ledger
	blocks blocksync.Server

	mu     sync.Mutex
	open   map[uint64]*opened
	closed bool
}

// maxOpen bounds the checkpoints that are open: each holds memory, files and,
// when newer ones have taken its place, disk. With one more than are kept, who
// joins has the time of one more to end with its own.
const maxOpen = snapshot.Keep + 1

// opened is a checkpoint that is being served.
type opened struct {
	source *snapshot.Source
	hash   crypto.Hash
	users  int
	idle   *time.Timer // set while users is 0
	gone   bool        // the last user closes it
}

// NewServer serves the checkpoints in dir, of the chain of a ledger.
func NewServer(dir *snapshot.Dir, l *ledger.Ledger) *Server {
	return &Server{dir: dir, ledger: l, blocks: blocksync.Server{Ledger: l}, open: make(map[uint64]*opened)}
}

// Close closes what is open. Questions that come after are answered with nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for h, o := range s.open {
		if o.idle != nil {
			o.idle.Stop()
		}
		errs = append(errs, o.source.Close())
		delete(s.open, h)
	}
	return errors.Join(errs...)
}

// Requests are the methods that answer, by the name of the request.
func (s *Server) Requests() map[string]func(context.Context, []byte) ([]byte, error) {
	return map[string]func(context.Context, []byte) ([]byte, error){
		RequestSnapshots: s.Snapshots, RequestAccounts: s.Accounts, RequestSlots: s.Slots, RequestCode: s.Code,
	}
}

// Snapshots answers what is served here. A checkpoint whose block cannot be
// proven to others is not offered.
func (s *Server) Snapshots(_ context.Context, req []byte) ([]byte, error) {
	if len(req) != 0 {
		return nil, fetch.Refuse(fetch.ErrMalformed, "a request of %d bytes", len(req))
	}
	heights := s.heights()
	var answer OffersAnswer
	for _, h := range heights[max(0, len(heights)-MaxOffers):] {
		header, err := s.ledger.HeaderByHeight(h)
		if errors.Is(err, ledger.ErrNotFound) {
			continue // of a chain that was rolled back, or is not durable yet
		}
		if err != nil {
			return nil, err
		}
		o := Offer{Header: chain.EncodeHeader(header)}
		if o.Headers, o.Finalization, err = s.blocks.Finalization(h); err != nil {
			return nil, err
		}
		if len(o.Finalization) > 0 {
			answer.Offers = append(answer.Offers, o)
		}
	}
	return fetch.Encode(&answer), nil
}

// heights are those that are served: those that are kept, and those that are
// open although newer ones have taken their place.
func (s *Server) heights() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.AppendSeq(s.dir.Heights(), maps.Keys(s.open))
	slices.Sort(all)
	return slices.Compact(all)
}

// Accounts answers a range of accounts.
func (s *Server) Accounts(_ context.Context, req []byte) ([]byte, error) {
	q, err := DecodeRangeRequest(req)
	if err != nil {
		return nil, err
	}
	return s.with(q.Height, q.Hash, func(source *snapshot.Source) ([]byte, error) {
		r, err := source.Accounts(q.From, q.To, limit(q.Bytes))
		if err != nil {
			return nil, err
		}
		return r.Encode(), nil
	})
}

// Slots answers a range of an account's slots.
func (s *Server) Slots(_ context.Context, req []byte) ([]byte, error) {
	q, err := DecodeRangeRequest(req)
	if err != nil {
		return nil, err
	}
	return s.with(q.Height, q.Hash, func(source *snapshot.Source) ([]byte, error) {
		r, err := source.Slots(q.Owner, q.From, q.To, limit(q.Bytes))
		if err != nil {
			return nil, err
		}
		return r.Encode(), nil
	})
}

// Code answers code by its hash.
func (s *Server) Code(_ context.Context, req []byte) ([]byte, error) {
	q, err := DecodeCodeRequest(req)
	if err != nil {
		return nil, err
	}
	return s.with(q.Height, q.Hash, func(source *snapshot.Source) ([]byte, error) {
		code, err := source.Code(q.Code)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return code, err
	})
}

func limit(bytes uint64) int { return int(min(bytes, snapshot.MaxRangeBytes)) }

// with reads an open checkpoint. One that is not here answers nothing.
func (s *Server) with(height uint64, hash crypto.Hash, read func(*snapshot.Source) ([]byte, error)) ([]byte, error) {
	o, err := s.take(height)
	if err != nil || o == nil {
		return nil, err
	}
	defer s.give(height, o)
	if o.hash != hash {
		return nil, nil
	}
	return read(o.source)
}

// take opens the checkpoint of a height, if it is served; nil = it is not.
func (s *Server) take(height uint64) (*opened, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	o := s.open[height]
	if o == nil {
		source, err := s.dir.Open(height)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("open the snapshot of height %d: %w", height, err)
		}
		o = &opened{source: source, hash: source.Header().Hash()}
		s.open[height] = o
		s.retire()
	}
	if o.idle != nil {
		o.idle.Stop()
		o.idle = nil
	}
	o.users++
	return o, nil
}

// retire closes the oldest checkpoint if too many are open; mu is held.
func (s *Server) retire() {
	if len(s.open) <= maxOpen {
		return
	}
	oldest := slices.Min(slices.Collect(maps.Keys(s.open)))
	o := s.open[oldest]
	delete(s.open, oldest)
	if o.users > 0 {
		o.gone = true
		return
	}
	if o.idle != nil {
		o.idle.Stop()
	}
	_ = o.source.Close() // read only: nothing is lost
}

// give ends the use of a checkpoint. The last one leaves it open for a while.
func (s *Server) give(height uint64, o *opened) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.users--; o.users > 0 || s.closed && !o.gone {
		return
	}
	if o.gone {
		_ = o.source.Close()
		return
	}
	o.idle = time.AfterFunc(idleAfter, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.users > 0 || s.open[height] != o {
			return
		}
		delete(s.open, height)
		_ = o.source.Close() // read only: nothing is lost
	})
}
