package consensus

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// Limits on encodings, in bytes.
const (
	// MaxCertificateBytes bounds an encoded certificate of MaxMembers members.
	MaxCertificateBytes = MaxMembers*crypto.SignatureLength + MaxMembers/8 + 128
	// MaxVoteBytes bounds an encoded vote.
	MaxVoteBytes = 160
	// MaxHaltBytes bounds the reason in a record of a halt.
	MaxHaltBytes = 2048
	// MaxRecordBytes bounds an encoded record.
	MaxRecordBytes = MaxCertificateBytes + 16
)

// Envelope is one frame between nodes: exactly one field is set.
type Envelope struct {
	Vote        *Vote
	Certificate *Certificate
	Proposal    *ProposalEnvelope
}

// ProposalEnvelope is a proposal as it travels: the leader's vote, which is the
// proposal's signature, what the sender attached, and the encoded block, which
// is opaque here.
type ProposalEnvelope struct {
	Vote           Vote
	Parent         *Certificate
	Nullifications []Certificate
	Body           []byte
}

// The tags of envelopes and records. A new format gets a new tag.
const (
	tagVote        = 1
	tagCertificate = 2
	tagProposal    = 3
	tagBlock       = 4
	tagHalt        = 5
)

// tagged is the outer list of every envelope and record: [tag, payload].
type tagged struct {
	Tag     uint8
	Payload rlp.RawValue
}

// wireVote is [kind, epoch, view, parentView, block, signer, signature].
type wireVote struct {
	Kind       uint8
	Epoch      uint32
	View       uint64
	ParentView uint64
	Block      crypto.Hash
	Signer     uint16
	Signature  []byte
}

// wireCertificate is [kind, epoch, view, parentView, block, signers, signatures]
// with the signatures joined, 65 bytes each.
type wireCertificate struct {
	Kind       uint8
	Epoch      uint32
	View       uint64
	ParentView uint64
	Block      crypto.Hash
	Signers    []byte
	Signatures []byte
}

// wireProposal is [vote, [parent], [nullification, …], body]; the first list is
// empty for a child of the epoch's root.
type wireProposal struct {
	Vote           wireVote
	Parent         []wireCertificate
	Nullifications []wireCertificate
	Body           []byte
}

// wireBlock is [hash, parent, height, epoch, view, proposer, timestamp].
type wireBlock struct {
	Hash      crypto.Hash
	Parent    crypto.Hash
	Height    uint64
	Epoch     uint32
	View      uint64
	Proposer  crypto.Address
	Timestamp uint64
}

// encode is RLP of a value whose types always encode.
func encode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("consensus: encode %T: %v", v, err))
	}
	return b
}

// decode reads exactly one RLP value of at most limit bytes.
func decode(b []byte, limit int, into any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), limit)
	}
	if err := rlp.DecodeBytes(b, into); err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return nil
}

func toWireVote(v *Vote) wireVote {
	return wireVote{uint8(v.Kind), v.Epoch, v.View, v.ParentView, v.Block, v.Signer, v.Signature[:]}
}

func (w *wireVote) vote() (*Vote, error) {
	v := &Vote{Subject: Subject{Kind(w.Kind), w.Epoch, w.View, w.ParentView, w.Block}, Signer: w.Signer}
	if err := v.Check(); err != nil {
		return nil, err
	}
	if w.Signer >= MaxMembers {
		return nil, fmt.Errorf("%w: index %d", ErrSigner, w.Signer)
	}
	sig, err := crypto.ParseSignature(w.Signature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	v.Signature = sig
	return v, nil
}

func toWireCertificate(c *Certificate) wireCertificate {
	sigs := make([]byte, 0, len(c.Signatures)*crypto.SignatureLength)
	for i := range c.Signatures {
		sigs = append(sigs, c.Signatures[i][:]...)
	}
	return wireCertificate{uint8(c.Kind), c.Epoch, c.View, c.ParentView, c.Block, c.Signers, sigs}
}

func (w *wireCertificate) certificate() (*Certificate, error) {
	c := &Certificate{Subject: Subject{Kind(w.Kind), w.Epoch, w.View, w.ParentView, w.Block}, Signers: Bitmap(w.Signers)}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if len(w.Signers) == 0 || len(w.Signers) > MaxMembers/8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrBitmap, len(w.Signers))
	}
	count := c.Signers.Count()
	if count == 0 || len(w.Signatures) != count*crypto.SignatureLength {
		return nil, fmt.Errorf("%w: %d bytes of signatures for %d signers", ErrSignatures, len(w.Signatures), count)
	}
	c.Signatures = make([]crypto.Signature, count)
	for i := range c.Signatures {
		sig, err := crypto.ParseSignature(w.Signatures[i*crypto.SignatureLength : (i+1)*crypto.SignatureLength])
		if err != nil {
			return nil, fmt.Errorf("%w: number %d: %w", ErrSignature, i, err)
		}
		c.Signatures[i] = sig
	}
	return c, nil
}

// EncodeVote is the RLP of a vote.
func EncodeVote(v *Vote) []byte { return encode(toWireVote(v)) }

// DecodeVote reads the RLP of a vote, strictly: it is the only encoding of what
// it answers. The signature is well formed, but not verified.
// Errors: ErrTooLarge, ErrEncoding, ErrKind, ErrSubject, ErrSigner, ErrSignature.
func DecodeVote(b []byte) (*Vote, error) {
	var w wireVote
	if err := decode(b, MaxVoteBytes, &w); err != nil {
		return nil, err
	}
	return w.vote()
}

// EncodeCertificate is the RLP of a certificate.
func EncodeCertificate(c *Certificate) []byte { return encode(toWireCertificate(c)) }

// DecodeCertificate reads the RLP of a certificate, strictly. That the bitmap
// fits the set, the quorum and the signatures are VerifyCertificate's matter.
// Errors: ErrTooLarge, ErrEncoding, ErrKind, ErrSubject, ErrBitmap,
// ErrSignatures, ErrSignature.
func DecodeCertificate(b []byte) (*Certificate, error) {
	var w wireCertificate
	if err := decode(b, MaxCertificateBytes, &w); err != nil {
		return nil, err
	}
	return w.certificate()
}

// EncodeEnvelope is the RLP of [tag, payload].
func EncodeEnvelope(e *Envelope) []byte {
	switch {
	case e.Vote != nil:
		return encode(tagged{tagVote, EncodeVote(e.Vote)})
	case e.Certificate != nil:
		return encode(tagged{tagCertificate, EncodeCertificate(e.Certificate)})
	case e.Proposal != nil:
		return encode(tagged{tagProposal, encodeProposal(e.Proposal)})
	}
	panic("consensus: encode an empty envelope")
}

// DecodeEnvelope reads one frame of at most maxBytes, strictly. Errors: those of
// DecodeVote and DecodeCertificate, ErrTag.
func DecodeEnvelope(b []byte, maxBytes int) (*Envelope, error) {
	var t tagged
	if err := decode(b, maxBytes, &t); err != nil {
		return nil, err
	}
	var e Envelope
	var err error
	switch t.Tag {
	case tagVote:
		e.Vote, err = DecodeVote(t.Payload)
	case tagCertificate:
		e.Certificate, err = DecodeCertificate(t.Payload)
	case tagProposal:
		e.Proposal, err = decodeProposal(t.Payload, maxBytes)
	default:
		return nil, fmt.Errorf("%w: %d", ErrTag, t.Tag)
	}
	if err != nil {
		return nil, err
	}
	return &e, nil
}

func encodeProposal(p *ProposalEnvelope) []byte {
	w := wireProposal{Vote: toWireVote(&p.Vote), Body: p.Body}
	if p.Parent != nil {
		w.Parent = []wireCertificate{toWireCertificate(p.Parent)}
	}
	for i := range p.Nullifications {
		w.Nullifications = append(w.Nullifications, toWireCertificate(&p.Nullifications[i]))
	}
	return encode(w)
}

func decodeProposal(b []byte, maxBytes int) (*ProposalEnvelope, error) {
	var w wireProposal
	if err := decode(b, maxBytes, &w); err != nil {
		return nil, err
	}
	vote, err := w.Vote.vote()
	if err != nil {
		return nil, err
	}
	if vote.Kind != Notarize {
		return nil, fmt.Errorf("%w: a proposal is signed by a notarize vote, not %s", ErrSubject, vote.Kind)
	}
	if len(w.Parent) > 1 || len(w.Nullifications) > MaxAttachedNullifications {
		return nil, fmt.Errorf("%w: proposal with %d parent certificates and %d nullifications", ErrEncoding, len(w.Parent), len(w.Nullifications))
	}
	p := &ProposalEnvelope{Vote: *vote, Body: w.Body}
	for i := range w.Parent {
		if p.Parent, err = w.Parent[i].certificate(); err != nil {
			return nil, fmt.Errorf("parent of a proposal: %w", err)
		}
		if p.Parent.Kind == Nullify {
			return nil, fmt.Errorf("parent of a proposal: %w: it is a nullification", ErrSubject)
		}
	}
	for i := range w.Nullifications {
		c, err := w.Nullifications[i].certificate()
		if err != nil {
			return nil, fmt.Errorf("nullification %d of a proposal: %w", i, err)
		}
		if c.Kind != Nullify {
			return nil, fmt.Errorf("nullification %d of a proposal: %w: it is a %s", i, ErrSubject, c.Kind.Noun())
		}
		p.Nullifications = append(p.Nullifications, *c)
	}
	return p, nil
}

// EncodeRecord is the RLP of [tag, payload].
func EncodeRecord(r Record) []byte {
	switch {
	case r.Vote != nil:
		return encode(tagged{tagVote, EncodeVote(r.Vote)})
	case r.Certificate != nil:
		return encode(tagged{tagCertificate, EncodeCertificate(r.Certificate)})
	case r.Block != nil:
		b := r.Block
		return encode(tagged{tagBlock, encode(wireBlock{b.Hash, b.Parent, b.Height, b.Epoch, b.View, b.Proposer, uint64(b.Timestamp)})})
	case r.Halt != "":
		return encode(tagged{tagHalt, encode([]byte(r.Halt[:min(len(r.Halt), MaxHaltBytes)]))})
	}
	panic("consensus: encode an empty record")
}

// DecodeRecord reads one entry of the vote log, strictly. Errors: those of
// DecodeVote and DecodeCertificate, ErrTag.
func DecodeRecord(b []byte) (Record, error) {
	var t tagged
	if err := decode(b, MaxRecordBytes, &t); err != nil {
		return Record{}, err
	}
	var r Record
	var err error
	switch t.Tag {
	case tagVote:
		r.Vote, err = DecodeVote(t.Payload)
	case tagCertificate:
		r.Certificate, err = DecodeCertificate(t.Payload)
	case tagBlock:
		r.Block, err = decodeBlock(t.Payload)
	case tagHalt:
		var reason []byte
		if err = decode(t.Payload, MaxHaltBytes+8, &reason); err == nil && (len(reason) == 0 || len(reason) > MaxHaltBytes) {
			err = fmt.Errorf("%w: reason of a halt of %d bytes", ErrEncoding, len(reason))
		}
		r.Halt = string(reason)
	default:
		err = fmt.Errorf("%w: %d", ErrTag, t.Tag)
	}
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

func decodeBlock(b []byte) (*Block, error) {
	var w wireBlock
	if err := decode(b, MaxVoteBytes, &w); err != nil {
		return nil, err
	}
	if w.Timestamp > MaxTimestamp {
		return nil, fmt.Errorf("%w: timestamp %d ms is above %d", ErrEncoding, w.Timestamp, int64(MaxTimestamp))
	}
	return &Block{w.Hash, w.Parent, w.Height, w.Epoch, w.View, w.Proposer, int64(w.Timestamp)}, nil
}

// Epoch is the epoch of what the envelope holds: every vote and certificate
// names one, so that a message of another epoch is known before it is verified.
func (e *Envelope) Epoch() uint32 {
	switch {
	case e.Vote != nil:
		return e.Vote.Epoch
	case e.Certificate != nil:
		return e.Certificate.Epoch
	default:
		return e.Proposal.Vote.Epoch
	}
}
