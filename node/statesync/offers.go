package statesync

import (
	"context"
	"maps"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/node/fetch"
)

// maxAsked bounds the peers that are asked what they serve.
const maxAsked = 32

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
	byHash map[crypto.Hash]*offer
}

func newOffers(cfg *Config) *offers {
	return &offers{cfg: cfg, byHash: make(map[crypto.Hash]*offer)}
}

// look asks the peers what they serve. A false answer is held against them.
// Errors: those of ctx.
func (o *offers) look(ctx context.Context) error {
	answers := fetch.Gather(ctx, o.cfg.Pool, maxAsked, fetch.Question[[]*offer]{
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
	found := make(map[crypto.Hash]*offer)
	for p, list := range answers {
		for _, one := range list {
			known := found[one.block.Hash()]
			if known == nil || len(known.finalization) == 0 && len(one.finalization) > 0 {
				one.peers = make(map[peer.ID]bool)
				if known != nil {
					maps.Copy(one.peers, known.peers)
				}
				found[one.block.Hash()], known = one, one
			}
			known.peers[p] = true
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byHash = found
	return nil
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

// best is the highest checkpoint of use that was not given up; nil = there is
// none. One whose block has no finalization of its own does not do: consensus
// goes on from a finalization.
func (o *offers) best(not map[crypto.Hash]bool) (best *offer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for hash, one := range o.byHash {
		if not[hash] || len(one.finalization) == 0 || one.block.Height() <= o.cfg.Above {
			continue
		}
		if best == nil || one.block.Height() > best.block.Height() {
			best = one
		}
	}
	return best
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

func (o *offers) serves(p peer.ID, hash crypto.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.byHash[hash]
	return one != nil && one.peers[p]
}

// newer says whether a peer serves another checkpoint of use.
func (o *offers) newer(than crypto.Hash) bool { return o.best(map[crypto.Hash]bool{than: true}) != nil }
