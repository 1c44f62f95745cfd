package snapshot

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Epoch is the end of one epoch, as the light walk verified it.
type Epoch struct {
	Header      *types.Header // of the closing block
	Certificate []byte        // finalization of exactly that block
	Next        []genesis.Validator
}

// Target is the final block whose state is fetched. The caller has verified it;
// the package trusts it.
type Target struct {
	Header      *types.Header
	Certificate []byte      // of exactly this block; empty: final through a descendant
	Floor       store.Floor // epoch and view of the block: the vote log signs nothing at or below
	Epochs      []Epoch     // every epoch that ended at or below the block, from epoch 0 on
}

// check refuses a target from which no database can begin.
func (t *Target) check() error {
	if t.Header == nil || t.Header.Number == nil || !t.Header.Number.IsUint64() || t.Header.Number.Sign() == 0 {
		return refuse(ErrTarget, "no header, or one of height 0")
	}
	last := uint64(0)
	for i, e := range t.Epochs {
		if e.Header == nil || e.Header.Number == nil || len(e.Certificate) == 0 || len(e.Next) == 0 {
			return refuse(ErrTarget, "end of epoch %d: no header, certificate or next set", i)
		}
		height := e.Header.Number.Uint64()
		if height <= last || height > t.Header.Number.Uint64() {
			return refuse(ErrTarget, "end of epoch %d at height %d, the one before at %d, the block at %d", i, height, last, t.Header.Number)
		}
		last = height
	}
	return nil
}

// storedTarget is a Target as the staging keeps it, with the network it is of.
type storedTarget struct {
	Genesis     crypto.Hash
	Header      []byte
	Certificate []byte
	FloorEpoch  uint32
	FloorView   uint64
	Epochs      []storedEpoch
}

type storedEpoch struct {
	Header      []byte
	Certificate []byte
	Next        []genesis.Validator
}

func (t *Target) encode(network crypto.Hash) []byte {
	s := storedTarget{
		Genesis: network, Header: chain.EncodeHeader(t.Header), Certificate: t.Certificate,
		FloorEpoch: t.Floor.Epoch, FloorView: t.Floor.View,
	}
	for _, e := range t.Epochs {
		s.Epochs = append(s.Epochs, storedEpoch{chain.EncodeHeader(e.Header), e.Certificate, e.Next})
	}
	return mustEncode(&s)
}

func decodeTarget(raw []byte) (t Target, network crypto.Hash, err error) {
	var s storedTarget
	if err := rlp.DecodeBytes(raw, &s); err != nil {
		return t, network, fmt.Errorf("%w: target of a join: %w", store.ErrCorrupt, err)
	}
	t = Target{Certificate: s.Certificate, Floor: store.Floor{Epoch: s.FloorEpoch, View: s.FloorView}}
	if t.Header, err = chain.DecodeHeader(s.Header); err != nil {
		return t, network, fmt.Errorf("%w: target of a join: %w", store.ErrCorrupt, err)
	}
	for _, e := range s.Epochs {
		h, err := chain.DecodeHeader(e.Header)
		if err != nil {
			return t, network, fmt.Errorf("%w: target of a join: %w", store.ErrCorrupt, err)
		}
		t.Epochs = append(t.Epochs, Epoch{h, e.Certificate, e.Next})
	}
	return t, s.Genesis, nil
}

// completion is what the database has besides state.
func (t *Target) completion(spec *genesis.Spec, zero *types.Block) (store.Completion, error) {
	c := store.Completion{Genesis: zero, Floor: t.Floor}
	sets := [][]genesis.Validator{spec.Validators}
	for _, e := range t.Epochs {
		c.Landmarks = append(c.Landmarks, store.Landmark{Header: e.Header, Certificate: e.Certificate})
		sets = append(sets, e.Next)
	}
	c.Landmarks = append(c.Landmarks, store.Landmark{Header: t.Header, Certificate: t.Certificate})
	for i, members := range sets {
		set, err := genesis.NewValidatorSet(members)
		if err != nil {
			return c, refuse(ErrTarget, "validators of epoch %d: %v", i, err)
		}
		c.Sets = append(c.Sets, set.Encode())
	}
	return c, nil
}
