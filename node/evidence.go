package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/node/rpc"
)

// Evidence is kept under names of the store's small values, so that it survives
// a restart: one pair for each member, kind and epoch, and the list of them.
const (
	evidenceList = "evidence"
	maxEvidence  = 1024 // pairs kept; the first ones, because they began it
)

// keepEvidence records two votes by which a member contradicts itself.
func (d *driver) keepEvidence(ev consensus.Evidence) error {
	member := d.era.Load().set.At(int(ev.A.Signer))
	a, b := consensus.EncodeVote(&ev.A), consensus.EncodeVote(&ev.B)
	kept, err := d.evidence()
	if err != nil {
		return err
	}
	entry := keptEvidence{Epoch: ev.A.Epoch, Member: member.Address[:], Name: member.Name, A: a, B: b}
	for _, k := range kept {
		if k.key() == entry.key() {
			return nil
		}
	}
	d.meters.equivocations.WithLabelValues(member.Name).Inc()
	d.log.Warn("a validator contradicted itself: this proves it; ask its operator, and vote it out if need be",
		"validator", member.Name, "epoch", ev.A.Epoch, "view", ev.A.View, "a", fmt.Sprintf("%x", a), "b", fmt.Sprintf("%x", b))
	if len(kept) >= maxEvidence {
		return nil
	}
	return d.store.PutMeta(evidenceList, encode(append(kept, entry)))
}

// countEvidence lets the metric say what was kept in earlier runs.
func (d *driver) countEvidence() error {
	kept, err := d.evidence()
	for _, k := range kept {
		d.meters.equivocations.WithLabelValues(k.Name).Inc()
	}
	return err
}

// keptEvidence is one pair as it is stored.
type keptEvidence struct {
	Epoch  uint32
	Member []byte // address
	Name   string
	A, B   []byte // consensus.EncodeVote
}

// key is what there is one pair of.
func (k *keptEvidence) key() string {
	kind := byte(0)
	a, errA := consensus.DecodeVote(k.A)
	b, errB := consensus.DecodeVote(k.B)
	if errA == nil && errB == nil && a.Kind == b.Kind {
		kind = byte(a.Kind)
	}
	return string(k.Member) + string(binary.BigEndian.AppendUint32([]byte{kind}, k.Epoch))
}

func (d *driver) evidence() ([]keptEvidence, error) {
	raw, err := d.store.Meta(evidenceList)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	var kept []keptEvidence
	if err := rlp.DecodeBytes(raw, &kept); err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	return kept, nil
}

// Evidence is what cairn_evidence answers: anyone can check the signatures
// against the member's address.
func (d *driver) Evidence() ([]rpc.Evidence, error) {
	kept, err := d.evidence()
	if err != nil {
		return nil, err
	}
	out := make([]rpc.Evidence, 0, len(kept))
	for _, k := range kept {
		e := rpc.Evidence{Epoch: k.Epoch, Name: k.Name}
		e.Validator.SetBytes(k.Member)
		for i, raw := range [][]byte{k.A, k.B} {
			v, err := consensus.DecodeVote(raw)
			if err != nil {
				return nil, fmt.Errorf("read the evidence: %w", err)
			}
			e.Votes[i] = rpc.SignedVote{
				Kind: v.Kind.String(), View: v.View, ParentView: v.ParentView, Block: v.Block,
				Digest: v.Digest(d.net), Signature: v.Signature[:],
			}
		}
		out = append(out, e)
	}
	return out, nil
}
