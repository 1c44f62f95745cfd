package wallet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cairn/crypto"
	"cairn/ledger/chain"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// ErrEvidence is the kind of evidence that proves nothing.
var ErrEvidence = errors.New("the evidence proves nothing")

// MaxEvidenceBytes bounds a file of evidence: what a node keeps fits in it.
const MaxEvidenceBytes = 2 << 20

// Evidence is two votes of one epoch and view by which a validator contradicted
// itself, if Check says so.
type Evidence struct {
	Epoch     uint32
	Validator crypto.Address
	Name      string
	View      uint64
	Votes     [2]chain.SignedVote
}

// voteKinds are the names of the kinds of votes in cairn_evidence.
var voteKinds = map[string]uint8{"notarize": 1, "nullify": 2, "finalize": 3}

type evidenceAnswer struct {
	Epoch     uint32         `json:"epoch"`
	Validator crypto.Address `json:"validator"`
	Name      string         `json:"name"`
	Votes     []struct {
		Kind       string        `json:"kind"`
		View       uint64        `json:"view"`
		ParentView uint64        `json:"parentView"`
		Block      crypto.Hash   `json:"block"`
		Signature  hexutil.Bytes `json:"signature"`
	} `json:"votes"`
}

func (a *evidenceAnswer) evidence() (*Evidence, error) {
	if len(a.Votes) != 2 || a.Votes[0].View != a.Votes[1].View {
		return nil, fmt.Errorf("%w: want two votes of one view", ErrEvidence)
	}
	e := &Evidence{Epoch: a.Epoch, Validator: a.Validator, Name: printable(a.Name), View: a.Votes[0].View}
	for i, v := range a.Votes {
		kind, ok := voteKinds[v.Kind]
		if !ok {
			return nil, fmt.Errorf("%w: no vote is a %q", ErrEvidence, printable(v.Kind))
		}
		e.Votes[i] = chain.SignedVote{Kind: kind, ParentView: v.ParentView, Block: v.Block, Signature: v.Signature}
	}
	return e, nil
}

// Evidence answers cairn_evidence: what the node has kept, oldest first. It is
// the node's word until Check. Errors: those of Call, ErrEvidence.
func (c *Client) Evidence(ctx context.Context) ([]*Evidence, error) {
	var answers []evidenceAnswer
	if err := c.Call(ctx, &answers, "cairn_evidence"); err != nil {
		return nil, err
	}
	return evidenceOf(answers)
}

func evidenceOf(answers []evidenceAnswer) ([]*Evidence, error) {
	out := make([]*Evidence, 0, len(answers))
	for i := range answers {
		e, err := answers[i].evidence()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// ParseEvidence reads what cairn_evidence answers, or one entry of it, from at
// most MaxEvidenceBytes. Error: ErrEvidence.
func ParseEvidence(raw []byte) ([]*Evidence, error) {
	if len(raw) > MaxEvidenceBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrEvidence, len(raw), MaxEvidenceBytes)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '{' {
		raw = append(append([]byte{'['}, raw...), ']')
	}
	var answers []evidenceAnswer
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&answers); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrEvidence, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: data after the end", ErrEvidence)
	}
	return evidenceOf(answers)
}

// Check says whether the votes are signed by the validator on this network and
// contradict each other. Errors: ErrEvidence with the reason that the registry
// would give.
func (e *Evidence) Check(chainID uint64, block0 crypto.Hash) error {
	cfg := &chain.Config{ChainID: chainID, Genesis: block0}
	err := chain.CheckEquivocation(cfg, e.Validator, e.Epoch, e.View, &e.Votes[0], &e.Votes[1])
	var refused *chain.RevertError
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", ErrEvidence, refused.Reason())
	}
	return err
}

// ReportCall is the calldata that reports the evidence to the registry.
func (e *Evidence) ReportCall() []byte {
	return pack("report", e.Validator, e.Epoch, e.View, e.Votes[0], e.Votes[1])
}

// Latest is the newest evidence against a validator, nil if there is none: a
// conviction settles everything up to its epoch.
func Latest(all []*Evidence, validator crypto.Address) *Evidence {
	var newest *Evidence
	for _, e := range all {
		if e.Validator == validator && (newest == nil || e.Epoch > newest.Epoch) {
			newest = e
		}
	}
	return newest
}
