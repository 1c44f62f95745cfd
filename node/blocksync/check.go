package blocksync

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/node/fetch"
)

// Block is a block that is proven to be final.
type Block struct {
	*types.Block
	Finalization *consensus.Certificate // of this very block; nil = a descendant's proves it
}

// Range is an answer that was verified. It is not empty.
type Range struct {
	Blocks []Block
	// Above is the finalization that makes the last block final, of a descendant;
	// nil if the last block has its own. The descendant is at AboveHeight.
	Above       *consensus.Certificate
	AboveHeight uint64
}

// Check verifies an answer to a request for blocks from a height: they follow
// one another, every finalization is the right set's of its block, and the last
// is final by its own or by a descendant's. Blocks above a closing block after
// which the set is not known yet are left out.
//
// Errors: fetch.ErrUnasked, ErrUnproven, ErrTrusted, those of chain.DecodeBlock,
// of light.Trust.VerifyFinality and of consensus. All are the peer's fault.
func (s *Sets) Check(from, count uint64, a *BlocksAnswer, rules *genesis.Rules) (*Range, error) {
	if n := uint64(len(a.Blocks)); n == 0 || n > count {
		return nil, fetch.Refuse(fetch.ErrUnasked, "%d blocks, %d were asked for", n, count)
	}
	out := &Range{Blocks: make([]Block, 0, len(a.Blocks))}
	for i := range a.Blocks {
		var parent *Block
		if i > 0 {
			parent = &out.Blocks[i-1]
		}
		block, ends, err := s.checkOne(from+uint64(i), parent, &a.Blocks[i], rules)
		if err != nil {
			return nil, err
		}
		if out.Blocks = append(out.Blocks, block); ends {
			return out, nil
		}
	}
	return out, s.proven(out, a)
}

// checkOne verifies the block at a height. ends says that it closes an epoch after
// which no set is known.
func (s *Sets) checkOne(height uint64, parent *Block, a *RangedBlock, rules *genesis.Rules) (block Block, ends bool, err error) {
	b, err := chain.DecodeBlock(a.Body, rules)
	if err != nil {
		return block, false, err
	}
	if b.NumberU64() != height || parent != nil && b.ParentHash() != parent.Hash() {
		return block, false, fetch.Refuse(fetch.ErrUnasked, "block %d does not follow at height %d", b.NumberU64(), height)
	}
	trust, newest := s.At(height)
	if trust == nil {
		return block, false, fetch.Refuse(fetch.ErrUnasked, "block %d is of an epoch before those that are known", height)
	}
	if err := s.place(b, trust, newest); err != nil {
		return block, false, err
	}
	block.Block = b
	closing := chain.IsClosing(b.Header())
	switch {
	case len(a.Finalization) > 0:
		block.Finalization, err = finalizes(trust, b.Hash(), a.Finalization)
	case closing:
		err = fetch.Refuse(ErrUnproven, "closing block %d has no finalization of its own", height)
	}
	return block, closing && newest, err
}

// place checks that a block is where the ends of the epochs say.
func (s *Sets) place(b *types.Block, trust *light.Trust, newest bool) error {
	if err := s.pin.Holds(b.NumberU64(), b.Hash()); err != nil {
		return err
	}
	extra, err := chain.DecodeExtra(b.Header())
	if err != nil {
		return err
	}
	if extra.Epoch != trust.Epoch {
		return fetch.Refuse(fetch.ErrUnasked, "block %d is of epoch %d, not %d", b.NumberU64(), extra.Epoch, trust.Epoch)
	}
	if newest {
		return nil
	}
	next := s.Of(trust.Epoch + 1)
	if closes := b.NumberU64() == next.Height; closes && b.Hash() != next.Block || closes != chain.IsClosing(b.Header()) {
		return fetch.Refuse(fetch.ErrUnasked, "block %d is not the one that the end of epoch %d has", b.NumberU64(), trust.Epoch)
	}
	return nil
}

// finalizes verifies the finalization of a block itself.
func finalizes(trust *light.Trust, hash crypto.Hash, raw []byte) (*consensus.Certificate, error) {
	c, err := decodeFinalization(raw)
	if err != nil {
		return nil, err
	}
	if c.Block != hash || c.Epoch != trust.Epoch {
		return nil, fetch.Refuse(fetch.ErrUnasked, "the finalization names block %s of epoch %d, not %s of %d", c.Block, c.Epoch, hash, trust.Epoch)
	}
	return c, consensus.VerifyCertificate(trust.Network, trust.Epoch, trust.Set.Addresses(), c)
}

// proven checks what makes the last block final. That is not far above any block
// before it which has no finalization of its own: so whoever keeps what passed can
// prove each block to others, even if one peer gave all of it and left out every
// finalization that it could.
func (s *Sets) proven(out *Range, a *BlocksAnswer) error {
	last := &out.Blocks[len(out.Blocks)-1]
	if last.Finalization != nil {
		if len(a.Headers) > 0 || len(a.Finalization) > 0 {
			return fetch.Refuse(fetch.ErrUnasked, "a proof beside the finalization of the last block")
		}
		return nil
	}
	if len(a.Headers) == 0 || len(a.Finalization) == 0 {
		return fetch.Refuse(ErrUnproven, "block %d", last.NumberU64())
	}
	if n := out.uncertified() - 1 + len(a.Headers); n > light.MaxDescendants {
		return fetch.Refuse(ErrUnproven, "%d blocks below the next finalization, at most %d", n, light.MaxDescendants)
	}
	trust, _ := s.At(last.NumberU64())
	if _, err := trust.VerifyFinality(chain.EncodeHeader(last.Header()), a.Finalization, a.Headers); err != nil {
		return err
	}
	out.AboveHeight = last.NumberU64() + uint64(len(a.Headers))
	var err error
	out.Above, err = decodeFinalization(a.Finalization)
	return err
}

// uncertified is how many of the last blocks have no finalization of their own.
func (r *Range) uncertified() int {
	n := 0
	for n < len(r.Blocks) && r.Blocks[len(r.Blocks)-1-n].Finalization == nil {
		n++
	}
	return n
}

// certified is the part of the blocks that have, of those for which the answer
// would have passed without: neither the last nor one that closes an epoch.
func (r *Range) certified() float64 {
	of, n := 0, 0
	for _, b := range r.Blocks[:len(r.Blocks)-1] {
		if isClosing(b) {
			continue
		}
		if of++; b.Finalization != nil {
			n++
		}
	}
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

func isClosing(b Block) bool { return chain.IsClosing(b.Header()) }
