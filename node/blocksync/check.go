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

// Check verifies an answer to a request for blocks from a height: they follow
// one another, every finalization is the right set's of its block, and the last
// is final by its own or by a descendant's. Blocks above a closing block after
// which the set is not known yet are left out. What it answers is not empty.
//
// Errors: ErrUnasked, ErrUnproven, ErrTrusted, those of chain.DecodeBlock, of
// light.Trust.VerifyFinality and of consensus. All are the peer's fault.
func (s *Sets) Check(from, count uint64, a *BlocksAnswer, rules *genesis.Rules) ([]Block, error) {
	if n := uint64(len(a.Blocks)); n == 0 || n > count {
		return nil, fetch.Refuse(fetch.ErrUnasked, "%d blocks, %d were asked for", n, count)
	}
	out := make([]Block, 0, len(a.Blocks))
	for i := range a.Blocks {
		b, err := chain.DecodeBlock(a.Blocks[i].Body, rules)
		if err != nil {
			return nil, err
		}
		height := from + uint64(i)
		if b.NumberU64() != height || i > 0 && b.ParentHash() != out[i-1].Hash() {
			return nil, fetch.Refuse(fetch.ErrUnasked, "block %d does not follow at height %d", b.NumberU64(), height)
		}
		trust, newest := s.At(height)
		if trust == nil {
			return nil, fetch.Refuse(fetch.ErrUnasked, "block %d is of an epoch before those that are known", height)
		}
		if err := s.place(b, trust, newest); err != nil {
			return nil, err
		}
		block := Block{Block: b}
		if raw := a.Blocks[i].Finalization; len(raw) > 0 {
			if block.Finalization, err = finalizes(trust, b.Hash(), raw); err != nil {
				return nil, err
			}
		} else if chain.IsClosing(b.Header()) {
			return nil, fetch.Refuse(ErrUnproven, "closing block %d has no finalization of its own", height)
		}
		out = append(out, block)
		if chain.IsClosing(b.Header()) && newest {
			return out, nil // the set of what follows is not known yet
		}
	}
	return out, s.proven(out[len(out)-1], a)
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

// proven checks what makes the last block final.
func (s *Sets) proven(last Block, a *BlocksAnswer) error {
	if last.Finalization != nil {
		if len(a.Headers) > 0 || len(a.Finalization) > 0 {
			return fetch.Refuse(fetch.ErrUnasked, "a proof beside the finalization of the last block")
		}
		return nil
	}
	if len(a.Headers) == 0 || len(a.Finalization) == 0 {
		return fetch.Refuse(ErrUnproven, "block %d", last.NumberU64())
	}
	trust, _ := s.At(last.NumberU64())
	_, err := trust.VerifyFinality(chain.EncodeHeader(last.Header()), a.Finalization, a.Headers)
	return err
}

func isClosing(b Block) bool { return chain.IsClosing(b.Header()) }
