package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"cairn/crypto"
	"cairn/node/fetch"
	"cairn/node/rpc"
)

// requestSeen asks a node where it has transactions; see docs/wire.md.
const requestSeen = "seen"

// Limits on asking, and on asking others on behalf of JSON-RPC clients: one round
// a transaction in seenFor, however many ask.
const (
	maxSeenHashes    = 64 // in one request
	maxSeenBytes     = maxSeenHashes*(crypto.HashLength+1) + 9
	seenFor          = time.Second
	seenWait         = 300 * time.Millisecond // for all answers of a round
	maxSeens         = 4096                   // answers that are remembered
	seensPerSecond   = 50
	seensAtOnce      = 100 // burst of rounds
	seenSilentFor    = 2 * time.Second
	maxSeenQuestions = 256 // requests under way

	maxSeenAnswerBytes = maxSeenHashes + 9
)

// place is where a node has a transaction, as it goes over the wire.
type place byte

const (
	placeUnknown place = iota
	placeRejected
	placeGapped
	placePending
	placeProposed
	placeNotarized
	placeFinal
)

// places are the names of the places for JSON-RPC.
var places = [...]string{
	placeUnknown: rpc.StageUnknown, placeRejected: rpc.StageRejected, placeGapped: rpc.StageGapped, placePending: rpc.StagePending,
	placeProposed: rpc.StageProposed, placeNotarized: rpc.StageNotarized, placeFinal: rpc.StageFinal,
}

// decodeSeenRequest reads a list of transaction hashes.
func decodeSeenRequest(b []byte) ([]crypto.Hash, error) {
	hashes, err := fetch.Decode[[]crypto.Hash](b, maxSeenBytes, fetch.List(maxSeenHashes, fetch.Bytes(crypto.HashLength)))
	if err != nil {
		return nil, err
	}
	return *hashes, nil
}

// decodeSeenAnswer reads the places of n transactions, one byte each.
func decodeSeenAnswer(b []byte, n int) ([]place, error) {
	raw, err := fetch.Decode[[]byte](b, maxSeenAnswerBytes, fetch.Bytes(maxSeenHashes))
	if err != nil {
		return nil, err
	}
	if len(*raw) != n {
		return nil, fmt.Errorf("%w: places of %d transactions, asked for %d", errUnasked, len(*raw), n)
	}
	out := make([]place, n)
	for i, b := range *raw {
		if int(b) >= len(places) {
			return nil, fmt.Errorf("%w: place %d", errMalformed, b)
		}
		out[i] = place(b)
	}
	return out, nil
}

// serveSeen answers where transactions are here.
func (d *driver) serveSeen(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
	hashes, err := decodeSeenRequest(req)
	if err != nil {
		return nil, err
	}
	answer := make([]byte, len(hashes))
	open := d.openPlaces(hashes)
	for i, hash := range hashes {
		p, err := d.placeOf(hash, open)
		if err != nil {
			return nil, err
		}
		answer[i] = byte(p)
	}
	return encode(answer), nil
}

// placeOf says where a transaction is; open is of openPlaces.
func (d *driver) placeOf(hash crypto.Hash, open map[crypto.Hash]place) (place, error) {
	if p := open[hash]; p != placeUnknown {
		return p, nil
	}
	if s, ok := d.pool.Status(hash); ok {
		if s.Executable {
			return placePending, nil
		}
		return placeGapped, nil
	}
	// By the index alone, which may name another transaction once in a long while:
	// reading blocks would let a short question cost much.
	found, err := d.store.TxLookup(hash)
	if err != nil {
		return placeUnknown, err
	}
	if len(found) > 0 {
		return placeFinal, nil
	}
	if _, ok := d.pool.Dropped(hash); ok {
		return placeRejected, nil
	}
	return placeUnknown, nil
}

// openPlaces finds those of the transactions that are in blocks above the final
// head.
func (d *driver) openPlaces(hashes []crypto.Hash) map[crypto.Hash]place {
	state := d.state.Load()
	if state == nil || len(state.open) == 0 {
		return nil
	}
	out := make(map[crypto.Hash]place, len(hashes))
	for _, open := range state.open {
		in := placeProposed
		if open.notarized {
			in = placeNotarized
		}
		held := d.seens.transactionsOf(open.block, state.open)
		for _, h := range hashes {
			if held[h] {
				out[h] = max(out[h], in)
			}
		}
	}
	return out
}

// transactionsOf are the hashes of an open block's transactions, gathered once a
// block: others may ask many times a second. Blocks that are not open any more
// are forgotten.
func (s *seens) transactionsOf(b *types.Block, open []openBlock) map[crypto.Hash]bool {
	hash := b.Hash()
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if held := s.open[hash]; held != nil {
		return held
	}
	maps.DeleteFunc(s.open, func(h crypto.Hash, _ map[crypto.Hash]bool) bool {
		return !slices.ContainsFunc(open, func(o openBlock) bool { return o.block.Hash() == h })
	})
	held := make(map[crypto.Hash]bool, len(b.Transactions()))
	for _, tx := range b.Transactions() {
		held[tx.Hash()] = true
	}
	s.open[hash] = held
	return held
}

// stage says whether a transaction is in a block that is not final.
func (d *driver) stage(_ context.Context, hash crypto.Hash) string {
	if p := d.openPlaces([]crypto.Hash{hash})[hash]; p != placeUnknown {
		return places[p]
	}
	return ""
}

// seens remembers which validators said that they have a transaction.
type seens struct {
	flights singleflight.Group // by hash: who asks at the same time shares one round
	limit   *rate.Limiter      // of rounds
	busy    chan struct{}      // a place for each request under way

	mu     sync.Mutex
	known  map[crypto.Hash]seenAnswer
	silent map[peer.ID]time.Time // who did not answer, and when

	openMu sync.Mutex
	open   map[crypto.Hash]map[crypto.Hash]bool // transactions, by block above the final head
}

type seenAnswer struct {
	at   time.Time
	seen *rpc.Seen
}

func newSeens() *seens {
	return &seens{
		limit: rate.NewLimiter(seensPerSecond, seensAtOnce), busy: make(chan struct{}, maxSeenQuestions),
		known: make(map[crypto.Hash]seenAnswer), silent: make(map[peer.ID]time.Time),
		open: make(map[crypto.Hash]map[crypto.Hash]bool),
	}
}

// seen asks the validators of the epoch whether they have a transaction of our
// pool. nil says that it is not in the pool, or that too much was asked just now.
// What a validator says is its word alone: it informs a wallet, it moves nothing.
func (d *driver) seen(ctx context.Context, hash crypto.Hash) *rpc.Seen {
	if !d.pool.Has(hash) {
		return nil
	}
	if s := d.seens.remembered(hash); s != nil {
		return s
	}
	flight := d.seens.flights.DoChan(hash.Hex(), func() (any, error) {
		if s := d.seens.remembered(hash); s != nil {
			return s, nil
		}
		if !d.seens.limit.Allow() {
			return (*rpc.Seen)(nil), nil
		}
		s := d.askSeen(hash)
		d.seens.remember(hash, s)
		return s, nil
	})
	select {
	case r := <-flight:
		return r.Val.(*rpc.Seen)
	case <-ctx.Done():
		return nil
	}
}

// askSeen asks all validators at once; the answers come in the set's order.
func (d *driver) askSeen(hash crypto.Hash) *rpc.Seen {
	// Not with the caller's context: others may wait for the same round.
	ctx, cancel := context.WithTimeout(d.ctx, seenWait)
	defer cancel()
	now := d.era.Load()
	answers := make([]struct {
		place   place
		reached bool
	}, len(now.peers))
	var asked sync.WaitGroup
	connected := make(map[peer.ID]bool)
	for _, p := range d.host.Peers() {
		connected[p.ID] = true
	}
	for i, id := range now.peers {
		a := &answers[i]
		switch {
		case i == now.self:
			p, err := d.placeOf(hash, d.openPlaces([]crypto.Hash{hash}))
			a.place, a.reached = p, err == nil
		case connected[id] && !d.seens.isSilent(id):
			asked.Go(func() { a.place, a.reached = d.askOneSeen(ctx, id, hash) })
		}
	}
	asked.Wait()
	out := new(rpc.Seen)
	for i, a := range answers {
		w := rpc.Witness{Validator: now.addrs[i], Name: now.set.At(i).Name}
		switch {
		case !a.reached:
			out.NotReached = append(out.NotReached, w)
		case a.place == placeUnknown:
			out.NotBy = append(out.NotBy, w)
		default:
			w.Status = places[a.place]
			out.By = append(out.By, w)
		}
	}
	return out
}

// askOneSeen asks one validator. Who does not answer in time is left alone for a
// moment, so that one dead member does not slow every question.
func (d *driver) askOneSeen(ctx context.Context, id peer.ID, hash crypto.Hash) (p place, ok bool) {
	select {
	case d.seens.busy <- struct{}{}:
		defer func() { <-d.seens.busy }()
	case <-ctx.Done():
		return placeUnknown, false
	}
	raw, err := d.host.RequestAtMost(ctx, id, requestSeen, encode([]crypto.Hash{hash}), maxSeenAnswerBytes)
	if err != nil {
		d.seens.fellSilent(id)
		return placeUnknown, false
	}
	found, err := decodeSeenAnswer(raw, 1)
	if err != nil {
		d.refuse(id, "seen answer", err)
		d.seens.fellSilent(id)
		return placeUnknown, false
	}
	return found[0], true
}

func (s *seens) remembered(hash crypto.Hash) *rpc.Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.known[hash]; ok && time.Since(a.at) < seenFor {
		return a.seen
	}
	return nil
}

func (s *seens) remember(hash crypto.Hash, seen *rpc.Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSeens {
		clear(s.known)
	}
	s.known[hash] = seenAnswer{time.Now(), seen}
}

func (s *seens) isSilent(id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.silent[id]) < seenSilentFor
}

func (s *seens) fellSilent(id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.silent) >= maxPaced {
		clear(s.silent)
	}
	s.silent[id] = time.Now()
}
