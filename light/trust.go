package light

import (
	"fmt"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// Limits on what is looked at.
const (
	// MaxDescendants bounds the headers between a block and the descendant whose
	// finalization proves it.
	MaxDescendants = 1024
	// MaxSteps bounds the epochs of one Walk. Go on with another.
	MaxSteps = 64
	// MaxProofBytes bounds a Merkle proof and what it proves. The largest are of
	// transactions and receipts of 128 KiB in a full block.
	MaxProofBytes = 1 << 20
	// MaxTextBytes bounds a peer id and a name.
	MaxTextBytes = 256
)

// Trust is the validator set of one epoch, and since which block. It is
// immutable. A client that knows one from elsewhere than a genesis file fills it
// in itself: everything that is verified rests on it.
type Trust struct {
	Network consensus.Network
	Epoch   uint32
	// Set decides the blocks of the epoch.
	Set *genesis.ValidatorSet
	// Block is the hash of a final block whose children Set decides: block 0, or
	// the closing block of the epoch before. It needs no finalization.
	Block crypto.Hash
	// Height is the height of Block; what is verified in the epoch is above it.
	Height uint64
}

// FromGenesis trusts a genesis file and nothing else: the hash of block 0, and
// the set of epoch 0. Error: ErrTrust.
func FromGenesis(spec *genesis.Spec) (*Trust, error) {
	block, _, err := chain.Genesis(spec)
	if err != nil {
		return nil, because(ErrTrust, err)
	}
	return &Trust{
		Network: consensus.Network{ChainID: spec.ChainID, Genesis: block.Hash()},
		Set:     spec.ValidatorSet(), Block: block.Hash(),
	}, nil
}

// check refuses a Trust that was not filled in.
func (t *Trust) check() error {
	switch {
	case t.Set == nil || t.Set.Len() == 0 || t.Set.Len() > genesis.MaxValidators:
		return reject(ErrTrust, "no validators, or more than %d", genesis.MaxValidators)
	case t.Network.ChainID == 0 || t.Network.Genesis == crypto.Hash{}:
		return reject(ErrTrust, "no chain id, or no hash of block 0")
	}
	return nil
}

// Step is the end of one epoch.
type Step struct {
	Header       []byte              // RLP of the closing block's header
	Finalization []byte              // RLP of a finalization of that block, not of a descendant
	Next         []genesis.Validator // the set of the next epoch, in any order
}

// Walk goes through the ends of the epochs from t's on, in order, and answers
// what to trust after the last of them. t stays as it is; no steps answer t.
// Errors: ErrTrust, ErrTooMany, ErrHeader, ErrGap, ErrHeight, ErrNotClosing,
// ErrKind, ErrOtherBlock, ErrEpoch, ErrCertificate, ErrNextSet.
func (t *Trust) Walk(steps []Step) (*Trust, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if len(steps) > MaxSteps {
		return nil, reject(ErrTooMany, "%d epochs, at most %d at once", len(steps), MaxSteps)
	}
	for i := range steps {
		next, err := t.after(&steps[i])
		if err != nil {
			return nil, fmt.Errorf("end of epoch %d: %w", t.Epoch, err)
		}
		t = next
	}
	return t, nil
}

// after is the trust that one step leads to.
func (t *Trust) after(s *Step) (*Trust, error) {
	b, err := decodeBlock(s.Header)
	if err != nil {
		return nil, err
	}
	switch {
	case b.extra.Epoch != t.Epoch:
		return nil, reject(ErrGap, "the header is of epoch %d, not %d", b.extra.Epoch, t.Epoch)
	case b.Height() <= t.Height:
		return nil, reject(ErrHeight, "height %d, the epoch began at %d", b.Height(), t.Height)
	case !chain.IsClosing(b.header):
		return nil, reject(ErrNotClosing, "block %d carries no hash of a set", b.Height())
	}
	// A closing block has no child in its epoch, so only its own will do.
	if err := t.finalizes(s.Finalization, b.hash, nil); err != nil {
		return nil, err
	}
	next, err := nextSet(s.Next, b.header.MixDigest)
	if err != nil {
		return nil, err
	}
	return &Trust{Network: t.Network, Epoch: t.Epoch + 1, Set: next, Block: b.hash, Height: b.Height()}, nil
}

// nextSet is the set that a closing block's mixHash commits to.
func nextSet(members []genesis.Validator, hash crypto.Hash) (*genesis.ValidatorSet, error) {
	if len(members) > genesis.MaxValidators {
		return nil, reject(ErrTooMany, "%d validators, at most %d", len(members), genesis.MaxValidators)
	}
	for _, m := range members {
		if len(m.PeerID) > MaxTextBytes || len(m.Name) > MaxTextBytes {
			return nil, reject(ErrTooMany, "a peer id of %d and a name of %d bytes, at most %d", len(m.PeerID), len(m.Name), MaxTextBytes)
		}
	}
	set, err := genesis.NewValidatorSet(members)
	if err != nil {
		return nil, because(ErrNextSet, err)
	}
	if set.Hash() != hash {
		return nil, reject(ErrNextSet, "they hash to %s, the block says %s", set.Hash(), hash)
	}
	return set, nil
}
