package light

import (
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
)

// Block is a final block's header. Only VerifyFinality makes one, so whoever has
// a Block has a final one. It is immutable.
type Block struct {
	header *types.Header
	hash   crypto.Hash
	extra  chain.Extra
}

// Hash is keccak256 of the header's RLP.
func (b *Block) Hash() crypto.Hash { return b.hash }

// Height is the block's number.
func (b *Block) Height() uint64 { return b.header.Number.Uint64() }

// Epoch is the epoch whose validators made the block final.
func (b *Block) Epoch() uint32 { return b.extra.Epoch }

// Time is the block's time, to the millisecond, as its leader said it.
func (b *Block) Time() time.Time { return time.UnixMilli(int64(b.extra.TimestampMillis)) }

// Header is a copy of the whole header.
func (b *Block) Header() *types.Header { return types.CopyHeader(b.header) }

// decodeBlock reads a header; nothing says yet that it is final.
func decodeBlock(raw []byte) (*Block, error) {
	h, err := chain.DecodeHeader(raw)
	if err != nil {
		return nil, because(ErrHeader, err)
	}
	extra, err := chain.DecodeExtra(h)
	if err != nil {
		return nil, because(ErrHeader, err)
	}
	return &Block{header: h, hash: crypto.Keccak256(raw), extra: extra}, nil
}

// VerifyFinality checks that a header of t's epoch is of a final block.
// finalization is a certificate of that block, or of a descendant in the same
// epoch; descendants are then the headers from its child to the block that the
// certificate names. t's own block needs neither.
//
// Errors: ErrTrust, ErrTooMany, ErrHeader, ErrEpoch, ErrHeight, ErrDescendant,
// ErrKind, ErrOtherBlock, ErrCertificate.
func (t *Trust) VerifyFinality(header, finalization []byte, descendants [][]byte) (*Block, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if len(descendants) > MaxDescendants {
		return nil, reject(ErrTooMany, "%d headers above the block, at most %d", len(descendants), MaxDescendants)
	}
	b, err := decodeBlock(header)
	if err != nil {
		return nil, err
	}
	if b.hash == t.Block {
		return b, nil
	}
	if err := t.above(b); err != nil {
		return nil, err
	}
	if err := t.finalizes(finalization, b.hash, descendants); err != nil {
		return nil, err
	}
	return b, nil
}

// above says whether a header can be of the epoch.
func (t *Trust) above(b *Block) error {
	if b.extra.Epoch != t.Epoch {
		return reject(ErrEpoch, "block %d is of epoch %d, the validators are of %d", b.Height(), b.extra.Epoch, t.Epoch)
	}
	if b.Height() <= t.Height {
		return reject(ErrHeight, "height %d, the epoch began at %d", b.Height(), t.Height)
	}
	return nil
}

// finalizes checks a finalization of the block that is reached from hash along
// the descendants' headers.
func (t *Trust) finalizes(finalization []byte, hash crypto.Hash, descendants [][]byte) error {
	for i, raw := range descendants {
		d, err := decodeBlock(raw)
		if err != nil {
			return err
		}
		if d.header.ParentHash != hash {
			return reject(ErrDescendant, "header %d has the parent %s, want %s", i, d.header.ParentHash, hash)
		}
		if err := t.above(d); err != nil {
			return err
		}
		hash = d.hash
	}
	c, err := consensus.DecodeCertificate(finalization)
	switch {
	case err != nil:
		return because(ErrCertificate, err)
	case c.Kind != consensus.Finalize:
		return reject(ErrKind, "it is a %s", c.Kind.Noun())
	case c.Epoch != t.Epoch:
		return reject(ErrEpoch, "the finalization is of epoch %d, the validators are of %d", c.Epoch, t.Epoch)
	case c.Block != hash:
		return reject(ErrOtherBlock, "%s, not %s", c.Block, hash)
	}
	if err := consensus.VerifyCertificate(t.Network, t.Epoch, t.Set.Addresses(), c); err != nil {
		return because(ErrCertificate, err)
	}
	return nil
}
