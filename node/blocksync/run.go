package blocksync

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/semaphore"

	"cairn/consensus"
	"cairn/genesis"
	"cairn/node/fetch"
)

// Limits of the blocks on their way.
const (
	// window is the RLP of blocks that are asked for, verified or waiting to be
	// applied; the lowest range is asked for even if it is larger. Decoded, with
	// recovered senders, they take up to eight times as much.
	window     = 4 << 20
	rangeBytes = 512 << 10 // wanted of one answer
	inFlight   = 12        // ranges
	firstGuess = 64 << 10
	guessShare = 4 // one part in guessShare of the guess is the newest answer

	// leastWorth is how good an answer without any finalization of its blocks is.
	leastWorth = 1. / 1024
)

// Config is what Run needs.
type Config struct {
	Pool  *fetch.Pool
	Sets  *Sets
	Rules *genesis.Rules
	// Prepare does what takes time and needs no state, on verified blocks, while
	// earlier ones are applied. It uses as many cores as there are: it is called
	// for one range at a time, the lowest that is here.
	Prepare func([]Block)
	// Apply takes verified blocks, in order, and returns when they are kept. An
	// error ends Run.
	Apply func(context.Context, []Block) error
	// Applied hears of the height of the last block that was kept; nil = nobody.
	Applied func(height uint64)
	// Have is the height up to which a peer is known to have blocks; nil, or an
	// answer of false: it may have all.
	Have func(peer.ID) (uint64, bool)
	// Final is the finalization of the target, if it is known: peers that have the
	// block may have none of it. nil = not known.
	Final *consensus.Certificate
}

// span is a run of heights that is asked for at once.
type span struct{ from, count, guess uint64 }

// arrival is the outcome of asking for a span.
type arrival struct {
	span   span
	blocks []Block
	above  *consensus.Certificate // as in Range
	at     uint64
	size   uint64
	err    error
}

// replay is one Run.
type replay struct {
	cfg    *Config
	target uint64
	next   uint64             // first height that was not asked for
	want   uint64             // first height that is to be applied next
	again  []span             // left by answers that were shorter
	fresh  map[uint64]arrival // verified, by first height
	ready  map[uint64]arrival // prepared, by first height
	asked  int                // spans on their way
	used   uint64             // of window
	mean   uint64             // bytes of a block, a guess
	// loose are finalizations, by height, that came as the proof of blocks below:
	// who sends the block itself may leave its finalization out.
	loose map[uint64]*consensus.Certificate

	preparing bool
	applying  bool
	arrived   chan arrival
	prepared  chan arrival
	applied   chan arrival
	checks    *semaphore.Weighted // answers verified at once: more only slow down the lowest
}

// Run fetches and applies the final blocks from a height up to target, or to a
// closing block whose next set is not known. Several peers are asked at once;
// blocks are applied while later ones are fetched and verified.
// Errors: fetch.ErrNobody, those of Apply and of ctx. What was applied stays.
func Run(ctx context.Context, cfg *Config, from, target uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &replay{
		cfg: cfg, target: target, next: from, want: from, mean: firstGuess,
		fresh: make(map[uint64]arrival), ready: make(map[uint64]arrival),
		arrived: make(chan arrival), prepared: make(chan arrival, 1), applied: make(chan arrival, 1),
		checks: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), loose: make(map[uint64]*consensus.Certificate),
	}
	if cfg.Final != nil {
		r.loose[target] = cfg.Final
	}
	var failed error
	for {
		if failed == nil {
			r.ask(ctx)
			r.prepare()
			r.apply(ctx)
		}
		if r.asked == 0 && !r.preparing && !r.applying {
			return failed
		}
		var err error
		select {
		case a := <-r.arrived:
			err = r.arrive(a)
		case a := <-r.prepared:
			r.preparing = false
			r.ready[a.span.from] = a
		case a := <-r.applied:
			r.applying = false
			r.used -= a.size
			err = a.err
		}
		switch {
		case err != nil && !errors.Is(err, fetch.ErrNobody):
			cancel()
			if failed == nil || errors.Is(failed, fetch.ErrNobody) {
				failed = err
			}
		case err != nil && failed == nil:
			failed = err
		}
		if errors.Is(failed, fetch.ErrNobody) {
			r.prepare() // what is here in order is kept even if nobody has the rest
			r.apply(ctx)
		}
	}
}

// ask puts spans on their way while there is room. The lowest one always has
// room, so that the rest cannot wait for ever.
func (r *replay) ask(ctx context.Context) {
	for r.asked < inFlight {
		s, ok := r.choose()
		if !ok {
			return
		}
		r.asked++
		r.used += s.guess
		go func() { r.arrived <- r.fetch(ctx, s) }()
	}
}

// choose is the next span, if there is one and room for it.
func (r *replay) choose() (s span, ok bool) {
	if len(r.again) > 0 {
		low := 0
		for i := range r.again {
			if r.again[i].from < r.again[low].from {
				low = i
			}
		}
		s = r.again[low]
		if s.from != r.want && r.used+s.guess > window {
			return s, false
		}
		r.again = append(r.again[:low], r.again[low+1:]...)
		return s, true
	}
	if r.next > r.target {
		return s, false
	}
	s = r.span(r.next, r.target-r.next+1)
	if s.from != r.want && r.used+s.guess > window {
		return s, false
	}
	r.next += s.count
	return s, true
}

// span is a run of at most left heights that is about rangeBytes long.
func (r *replay) span(from, left uint64) span {
	count := min(max(rangeBytes/max(r.mean, 1), 1), MaxBlocks, left)
	return span{from, count, count * r.mean}
}

// fetch asks for one span until an answer passes.
func (r *replay) fetch(ctx context.Context, s span) arrival {
	type verified struct {
		*Range
		size uint64
	}
	v, _, err := fetch.Ask(ctx, r.cfg.Pool, fetch.Question[verified]{
		Name:    RequestBlocks,
		Request: fetch.Encode(&BlocksRequest{From: s.from, Count: s.count, Bytes: rangeBytes}),
		May: func(p peer.ID) bool {
			if r.cfg.Have == nil {
				return true
			}
			height, known := r.cfg.Have(p)
			return !known || height >= s.from
		},
		Check: func(_ peer.ID, raw []byte) (v verified, err error) {
			if err := r.checks.Acquire(ctx, 1); err != nil {
				return v, fmt.Errorf("%w: %w", fetch.ErrOwn, err)
			}
			defer r.checks.Release(1)
			a, err := DecodeBlocksAnswer(raw, r.cfg.Rules)
			if err != nil {
				return v, err
			}
			if len(a.Blocks) == 0 {
				return v, fetch.ErrAbsent
			}
			if err := fits(a); err != nil {
				return v, err
			}
			if v.Range, err = r.cfg.Sets.Check(s.from, s.count, a, r.cfg.Rules); err != nil {
				return v, err
			}
			for i := range a.Blocks[:len(v.Blocks)] {
				v.size += uint64(len(a.Blocks[i].Body) + len(a.Blocks[i].Finalization))
			}
			v.size += uint64(len(a.Finalization))
			return v, nil
		},
		Short: func(v verified) bool { return uint64(len(v.Blocks)) < s.count && v.size < rangeBytes },
		Worth: func(v verified) float64 { return max(v.certified(), leastWorth) },
	})
	if err != nil {
		return arrival{span: s, err: err}
	}
	return arrival{span: s, blocks: v.Blocks, above: v.Above, at: v.AboveHeight, size: v.size}
}

// fits refuses blocks beyond the bytes that were asked for: the window counts on
// them.
func fits(a *BlocksAnswer) error {
	size := 0
	for i := range a.Blocks[:len(a.Blocks)-1] {
		size += len(a.Blocks[i].Body) + len(a.Blocks[i].Finalization)
	}
	if size >= rangeBytes {
		return fetch.Refuse(fetch.ErrUnasked, "a further block after %d bytes, %d were asked for", size, rangeBytes)
	}
	return nil
}

// arrive takes an answer and asks again for what it left out.
func (r *replay) arrive(a arrival) error {
	r.asked--
	r.used -= a.span.guess
	if a.err != nil {
		return fmt.Errorf("blocks %d to %d: %w", a.span.from, a.span.from+a.span.count-1, a.err)
	}
	r.used += a.size
	r.fresh[a.span.from] = a
	if a.above != nil {
		r.loose[a.at] = a.above
	}
	got := uint64(len(a.blocks))
	r.mean = (r.mean*(guessShare-1) + a.size/got) / guessShare
	last := a.blocks[got-1]
	if trust, newest := r.cfg.Sets.At(last.NumberU64()); newest && trust != nil && isClosing(last) {
		r.target = last.NumberU64() // the next set is not known
		r.again = nil
		return nil
	}
	if got < a.span.count && a.span.from+got <= r.target {
		r.again = append(r.again, r.spans(a.span.from+got, a.span.count-got)...)
	}
	return nil
}

// spans cuts what an answer left out into spans of the size that fits now.
func (r *replay) spans(from, left uint64) (out []span) {
	for left > 0 {
		s := r.span(from, left)
		out, from, left = append(out, s), from+s.count, left-s.count
	}
	return out
}

// prepare begins with the lowest blocks that are verified, one range at a time.
func (r *replay) prepare() {
	if r.preparing || len(r.fresh) == 0 {
		return
	}
	low := uint64(math.MaxUint64)
	for from := range r.fresh {
		low = min(low, from)
	}
	a := r.fresh[low]
	delete(r.fresh, low)
	r.preparing = true
	go func() {
		r.cfg.Prepare(a.blocks)
		r.prepared <- a
	}()
}

// apply hands on the next blocks, if they are here and none are being applied.
func (r *replay) apply(ctx context.Context) {
	a, ok := r.ready[r.want]
	if r.applying || !ok {
		return
	}
	delete(r.ready, r.want)
	r.want += uint64(len(a.blocks))
	r.applying = true
	for i := range a.blocks {
		b := &a.blocks[i]
		if c := r.loose[b.NumberU64()]; c != nil && b.Finalization == nil && c.Block == b.Hash() {
			b.Finalization = c
		}
		delete(r.loose, b.NumberU64())
	}
	go func() {
		a.err = r.cfg.Apply(ctx, a.blocks)
		if a.err == nil && r.cfg.Applied != nil {
			r.cfg.Applied(a.blocks[len(a.blocks)-1].NumberU64())
		}
		a.blocks, a.above = nil, nil
		r.applied <- a
	}()
}
