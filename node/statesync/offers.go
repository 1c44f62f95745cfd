package statesync

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/node/fetch"
)

// Limits of a look at what peers serve.
const (
	maxAsked  = 32              // peers
	lookWait  = 5 * time.Second // for the slowest of them
	offerLife = time.Minute     // what a peer said holds for so long if it says nothing new
)

// offer is a checkpoint whose block is proven to be final.
type offer struct {
	block        *light.Block
	finalization []byte // of the block itself; empty = a descendant's proved it
	view         uint64 // in which it became final, if finalization is there
	peers        map[peer.ID]bool
}

// offers are what peers serve now. It is safe for concurrent use.
type offers struct {
	cfg *Config

	mu     sync.Mutex
	byPeer map[peer.ID]said
	idle   map[peer.ID]bool // offered what it then did not give
	byHash map[crypto.Hash]*offer
	target crypto.Hash      // of the join
	from   map[peer.ID]bool // who said so far that they serve it
}

// said is what one peer said that it serves.
type said struct {
	list []*offer
	at   time.Time
}

func newOffers(cfg *Config) *offers {
	return &offers{cfg: cfg, byPeer: make(map[peer.ID]said), idle: make(map[peer.ID]bool), byHash: make(map[crypto.Hash]*offer)}
}

// look asks the peers what they serve. A false answer is held against them.
// Errors: those of ctx.
func (o *offers) look(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	answers := fetch.Gather(limited, o.cfg.Pool, maxAsked, fetch.Question[[]*offer]{
		Name: RequestSnapshots,
		Check: func(p peer.ID, raw []byte) ([]*offer, error) {
			a, err := DecodeOffers(raw)
			if err != nil {
				return nil, err
			}
			var out []*offer
			for i := range a.Offers {
				one, err := o.verify(&a.Offers[i])
				if err != nil {
					return nil, err
				}
				if one != nil {
					out = append(out, one)
				}
			}
			return out, nil
		},
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for p, list := range answers {
		o.byPeer[p] = said{list, now}
	}
	o.byHash = make(map[crypto.Hash]*offer)
	for p, s := range o.byPeer {
		if now.Sub(s.at) > offerLife {
			delete(o.byPeer, p)
			continue
		}
		for _, one := range s.list {
			o.add(p, one)
		}
	}
	return nil
}

// add notes that a peer serves a checkpoint; mu is held.
func (o *offers) add(p peer.ID, one *offer) {
	known := o.byHash[one.block.Hash()]
	if known == nil {
		known = &offer{block: one.block, peers: make(map[peer.ID]bool)}
		o.byHash[one.block.Hash()] = known
	}
	if len(known.finalization) == 0 {
		known.finalization, known.view = one.finalization, one.view
	}
	known.peers[p] = true
	if one.block.Hash() == o.target {
		o.from[p] = true
	}
}

// aim says which checkpoint is fetched.
func (o *offers) aim(hash crypto.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.target, o.from = hash, make(map[peer.ID]bool)
	if one := o.byHash[hash]; one != nil {
		maps.Copy(o.from, one.peers)
	}
}

// giveUp notes that those who said that they serve the target do not: what else
// they offer is taken only if nobody else offers anything.
func (o *offers) giveUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.Copy(o.idle, o.from)
}

// verify checks that the block of an offer is final; nil = it is of an epoch
// that is not known yet.
func (o *offers) verify(a *Offer) (*offer, error) {
	header, err := chain.DecodeHeader(a.Header)
	if err != nil {
		return nil, err
	}
	extra, err := chain.DecodeExtra(header)
	if err != nil {
		return nil, err
	}
	// Everybody keeps the same heights. Else one peer could offer every new block,
	// and the join would begin again for ever.
	if interval := o.cfg.Spec.Rules.CheckpointInterval; header.Number.Uint64()%interval != 0 {
		return nil, fetch.Refuse(fetch.ErrUnasked, "a snapshot at height %d, they are %d apart", header.Number, interval)
	}
	trust := o.cfg.Sets.Of(extra.Epoch)
	if trust == nil {
		return nil, nil
	}
	b, err := trust.VerifyFinality(a.Header, a.Finalization, a.Headers)
	if err != nil {
		return nil, err
	}
	if err := o.cfg.Pin.Holds(b.Height(), b.Hash()); err != nil {
		return nil, err
	}
	out := &offer{block: b}
	if len(a.Headers) == 0 {
		c, err := consensus.DecodeCertificate(a.Finalization)
		if err != nil {
			return nil, err
		}
		out.finalization, out.view = a.Finalization, c.View
	}
	return out, nil
}

// best is the highest checkpoint of use that was not given up, of those that a
// peer serves of which nothing bad is known, if there are any; nil = there is
// none. One whose block has no finalization of its own does not do: consensus
// goes on from a finalization.
func (o *offers) best(not map[crypto.Hash]bool) (best *offer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for hash, one := range o.byHash {
		if not[hash] || len(one.finalization) == 0 || one.block.Height() <= o.cfg.Above {
			continue
		}
		if best == nil || o.before(one, best) {
			best = one
		}
	}
	return best
}

// before says whether a is the better choice; mu is held. What one peer alone
// offers is the second: it would have to give all of it.
func (o *offers) before(a, b *offer) bool {
	if x, y := o.willing(a), o.willing(b); x != y {
		return x
	}
	if x, y := len(a.peers) > 1, len(b.peers) > 1; x != y {
		return x
	}
	return a.block.Height() > b.block.Height()
}

// willing says whether a peer serves it of which nothing bad is known; mu is held.
func (o *offers) willing(one *offer) bool {
	for p := range one.peers {
		if !o.idle[p] {
			return true
		}
	}
	return false
}

func (o *offers) served(hash crypto.Hash) bool { return o.count(hash) > 0 }

// count is how many peers serve a checkpoint.
func (o *offers) count(hash crypto.Hash) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if one := o.byHash[hash]; one != nil {
		return len(one.peers)
	}
	return 0
}

// lone says whether at most one peer serves a checkpoint while several serve
// another one of use that was not given up.
func (o *offers) lone(hash crypto.Hash, tried map[crypto.Hash]bool) bool {
	not := maps.Clone(tried)
	not[hash] = true
	other := o.best(not)
	return other != nil && o.count(other.block.Hash()) > 1 && o.count(hash) < 2
}

func (o *offers) serves(p peer.ID, hash crypto.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.byHash[hash]
	return one != nil && one.peers[p]
}

// newer says whether a peer serves another checkpoint of use.
func (o *offers) newer(than crypto.Hash) bool { return o.best(map[crypto.Hash]bool{than: true}) != nil }
