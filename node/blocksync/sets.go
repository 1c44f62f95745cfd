package blocksync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/light"
	"cairn/node/fetch"
)

// Pin is a final block that the operator knows from elsewhere.
type Pin struct {
	Height uint64
	Hash   crypto.Hash
}

// Holds checks a block against the pin. Error: ErrTrusted.
func (p *Pin) Holds(height uint64, hash crypto.Hash) error {
	if p == nil || height != p.Height || hash == p.Hash {
		return nil
	}
	return fetch.Refuse(ErrTrusted, "block %d is %s here, the configuration trusts %s", height, hash, p.Hash)
}

// Shown checks that the block which the operator trusts is on the chain of these
// sets, which were walked to the head: it is an end of an epoch, or a peer shows
// it with a finalization by the set of its epoch. Two blocks of one height are
// never final both, unless a quorum of that set signed both.
// Errors: ErrTrusted if it is another one or nobody has it, failures, those of ctx.
func (s *Sets) Shown(ctx context.Context, pool *fetch.Pool, rules *genesis.Rules) error {
	if s.pin == nil {
		return nil
	}
	if hash, ok := s.ends(s.pin.Height); ok {
		return s.pin.Holds(s.pin.Height, hash)
	}
	_, _, err := fetch.Ask(ctx, pool, fetch.Question[struct{}]{
		Name:    RequestBlocks,
		Request: fetch.Encode(&BlocksRequest{From: s.pin.Height, Count: 1, Bytes: 1}),
		Check: func(_ peer.ID, raw []byte) (none struct{}, err error) {
			a, err := DecodeBlocksAnswer(raw, rules)
			if err != nil {
				return none, err
			}
			if len(a.Blocks) == 0 {
				return none, fetch.ErrAbsent
			}
			_, err = s.Check(s.pin.Height, 1, a, rules)
			return none, err
		},
	})
	if errors.Is(err, fetch.ErrNobody) && !errors.Is(err, ErrTrusted) {
		return fmt.Errorf("%w: no peer shows block %d, %s; give one that is newer, or ends an epoch: %w", ErrTrusted, s.pin.Height, s.pin.Hash, err)
	}
	return err
}

// ends is the block at a height if an epoch ends with it, or if it is block 0.
func (s *Sets) ends(height uint64) (hash crypto.Hash, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := sort.Search(len(s.trusts), func(i int) bool { return s.trusts[i].Height >= height })
	if i == len(s.trusts) || s.trusts[i].Height != height {
		return hash, false
	}
	return s.trusts[i].Block, true
}

// Sets are the validator sets of consecutive epochs, each verified by the one
// before. It is safe for concurrent use and only grows.
type Sets struct {
	pin *Pin

	mu     sync.RWMutex
	trusts []*light.Trust
	steps  []light.Step // steps[i] leads from trusts[i] to trusts[i+1], which has its members
}

// NewSets begins with what is trusted already. pin may be nil.
func NewSets(start *light.Trust, pin *Pin) *Sets {
	return &Sets{pin: pin, trusts: []*light.Trust{start}}
}

// Last is the newest set that is known.
func (s *Sets) Last() *light.Trust {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.trusts[len(s.trusts)-1]
}

// Of is the set of an epoch; nil = not known.
func (s *Sets) Of(epoch uint32) *light.Trust {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first := s.trusts[0].Epoch
	if epoch < first || uint64(epoch-first) >= uint64(len(s.trusts)) {
		return nil
	}
	return s.trusts[epoch-first]
}

// At is the set that decides the block at a height, as far as is known: above
// the newest known closing block, the newest set. nil = of an epoch before the
// first. last says that nothing above is known.
func (s *Sets) At(height uint64) (of *light.Trust, last bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := sort.Search(len(s.trusts), func(i int) bool { return s.trusts[i].Height >= height })
	if i == 0 {
		return nil, false
	}
	return s.trusts[i-1], i == len(s.trusts)
}

// Steps are the ends of the epochs from the first one on that are known.
func (s *Sets) Steps() []light.Step {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := slices.Clone(s.steps)
	for i := range out {
		out[i].Next = members(s.trusts[i+1].Set)
	}
	return out
}

func members(set *genesis.ValidatorSet) []genesis.Validator {
	out := make([]genesis.Validator, set.Len())
	for i := range out {
		out[i] = set.At(i)
	}
	return out
}

// share lets members who stay in a set have the texts of the set before: with
// thousands of epochs they would be most of what is in memory.
func share(before *genesis.ValidatorSet, next []genesis.Validator) {
	for i := range next {
		at, ok := before.Index(next[i].Address)
		if ok && before.At(at) == next[i] {
			next[i] = before.At(at)
		}
	}
}

// verify checks steps that follow the newest set, without keeping them.
func (s *Sets) verify(last *light.Trust, steps []light.Step) ([]*light.Trust, error) {
	var out []*light.Trust
	for i := range steps {
		share(last.Set, steps[i].Next)
		next, err := last.Walk(steps[i : i+1])
		if err != nil {
			return nil, err
		}
		if err := s.pin.Holds(next.Height, next.Block); err != nil {
			return nil, err
		}
		out, last = append(out, next), next
	}
	return out, nil
}

// extend keeps what verify answered for the set that is the newest.
func (s *Sets) extend(last *light.Trust, steps []light.Step, next []*light.Trust) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trusts[len(s.trusts)-1] == last {
		s.trusts = append(s.trusts, next...)
		for _, step := range steps[:len(next)] {
			step.Next = nil
			s.steps = append(s.steps, step)
		}
	}
}

// Walk asks peers for the ends of the epochs that are over, up to epoch to. seen
// hears after each answer of the newest epoch that is known.
// Errors: those of fetch.Ask.
func (s *Sets) Walk(ctx context.Context, pool *fetch.Pool, to uint32, seen func(epoch uint32)) error {
	for {
		last := s.Last()
		if last.Epoch >= to {
			return nil
		}
		type ends struct {
			steps  []light.Step
			trusts []*light.Trust
		}
		found, _, err := fetch.Ask(ctx, pool, fetch.Question[ends]{
			Name:    RequestEpochs,
			Request: fetch.Encode(&EpochsRequest{From: uint64(last.Epoch), Count: min(MaxSteps, uint64(to-last.Epoch))}),
			Check: func(_ peer.ID, raw []byte) (e ends, err error) {
				a, err := DecodeEpochsAnswer(raw)
				if err != nil {
					return e, err
				}
				if len(a.Steps) == 0 {
					return e, fetch.ErrAbsent
				}
				if uint64(len(a.Steps)) > uint64(to-last.Epoch) {
					return e, fetch.Refuse(fetch.ErrUnasked, "the ends of %d epochs, %d were asked for", len(a.Steps), to-last.Epoch)
				}
				e.steps = a.Steps
				e.trusts, err = s.verify(last, a.Steps)
				return e, err
			},
		})
		if err != nil {
			if errors.Is(err, ErrTrusted) {
				err = fmt.Errorf("%w (a wrong 'trusted' in the configuration, or a false network)", err)
			}
			return fmt.Errorf("walk from epoch %d: %w", last.Epoch, err)
		}
		s.extend(last, found.steps, found.trusts)
		if seen != nil {
			seen(s.Last().Epoch)
		}
	}
}

// Extend takes the ends of epochs that are known from elsewhere, such as this
// node's own ledger, and verifies them like a peer's. Errors: those of
// light.Trust.Walk, ErrTrusted.
func (s *Sets) Extend(steps []light.Step) error {
	last := s.Last()
	next, err := s.verify(last, steps)
	if err == nil {
		s.extend(last, steps, next)
	}
	return err
}
