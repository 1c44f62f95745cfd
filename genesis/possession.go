package genesis

import (
	"encoding/hex"
	"strings"

	"cairn/crypto"
)

const maxCandidateBytes = 4 << 10

// Candidate is what an operator hands to whoever makes the genesis file: the
// validator and the proof that its key is held by whoever named the peer id. Its
// file is strict JSON: {"address", "peerId", "name", "proof"}.
type Candidate struct {
	Validator
	Proof crypto.Signature // by Address, of PossessionDigest
}

// PossessionDigest is what a proof of possession signs: the 20-byte address and
// the keccak256 of the peer id's text, under crypto.DomainPossession.
func PossessionDigest(a crypto.Address, peerID string) crypto.Hash {
	peer := crypto.Keccak256([]byte(peerID))
	return crypto.Digest(crypto.DomainPossession, a[:], peer[:])
}

// NewCandidate names a validator and proves that key is held.
func NewCandidate(key *crypto.PrivateKey, peerID, name string) (*Candidate, error) {
	c := &Candidate{
		Validator: Validator{Address: key.Address(), PeerID: peerID, Name: name},
		Proof:     key.Sign(PossessionDigest(key.Address(), peerID)),
	}
	return c, c.Validate()
}

// ParseCandidate reads a candidate's file and checks its proof. Every error is a
// *FieldError.
func ParseCandidate(b []byte) (*Candidate, error) {
	r := newReader(b, maxCandidateBytes)
	c := &Candidate{}
	r.object("", append(r.validatorFields(&c.Validator), field{name: "proof", read: func(p string) { c.Proof = r.signature(p) }})...)
	if err := r.end(); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// Validate checks the validator's fields and the proof.
func (c *Candidate) Validate() error {
	if err := c.Validator.Validate(); err != nil {
		return err
	}
	if err := c.Proof.Verify(PossessionDigest(c.Address, c.PeerID), c.Address); err != nil {
		return fieldError("proof", ErrPossession, "%s", err)
	}
	return nil
}

// Marshal writes what ParseCandidate reads.
func (c *Candidate) Marshal() []byte {
	return marshalIndent(struct {
		validatorEntry
		Proof string `json:"proof"`
	}{validatorEntry{c.Address.Hex(), c.PeerID, c.Name}, "0x" + hex.EncodeToString(c.Proof[:])})
}

func (r *reader) signature(path string) crypto.Signature {
	text := r.text(path)
	if r.err != nil {
		return crypto.Signature{}
	}
	digits, ok := strings.CutPrefix(text, "0x")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil {
		r.fail(path, ErrPossession, "want 0x and %d hex digits", 2*crypto.SignatureLength)
		return crypto.Signature{}
	}
	sig, err := crypto.ParseSignature(raw)
	if err != nil {
		r.fail(path, ErrPossession, "%s", err)
	}
	return sig
}
