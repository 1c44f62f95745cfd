package statesync

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/light"
)

// Names of the requests; see docs/wire.md.
const (
	RequestSnapshots = "snapshots"
	RequestAccounts  = "accounts"
	RequestSlots     = "slots"
	RequestCode      = "code"
)

// Limits of the messages.
const (
	MaxOffers      = 4
	maxRequest     = 256
	maxCertificate = consensus.MaxCertificateBytes
	maxOffersBytes = MaxOffers * (light.MaxDescendants + 1) * chain.MaxHeaderBytes
	// MaxAnswerBytes is more than any answer of this package takes.
	MaxAnswerBytes = max(maxOffersBytes+MaxOffers*maxCertificate+1024, snapshot.MaxAnswerBytes)
)

// ErrorKind names one way in which a message of a peer is refused, or why a join
// ended. Match it with errors.Is.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of error. The first three are a peer's fault.
const (
	ErrOversize  = ErrorKind("message is over its limit")
	ErrMalformed = ErrorKind("message does not decode")
	ErrUnasked   = ErrorKind("answer does not fit the question")
	// ErrNoOffer: no peer serves a checkpoint that is proven and far enough
	// above what is here.
	ErrNoOffer = ErrorKind("no peer serves a snapshot that helps")
)

func refuse(kind ErrorKind, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}

// Offer is a checkpoint that a peer serves: the header of its block and what
// makes it final, as in light.Trust.VerifyFinality.
type Offer struct {
	Header       []byte
	Headers      [][]byte // of descendants, up to the one that Finalization names
	Finalization []byte
}

// OffersAnswer are the checkpoints that a peer serves. The request is empty.
type OffersAnswer struct {
	Offers []Offer
}

// RangeRequest asks for accounts of a checkpoint, or for slots of Owner, whose
// keys are From to To, until they take Bytes. The answer is a
// snapshot.AccountRange or snapshot.SlotRange; no bytes: it is not served here.
type RangeRequest struct {
	Height uint64
	Hash   crypto.Hash // of the block
	Owner  crypto.Address
	From   crypto.Hash
	To     crypto.Hash
	Bytes  uint64
}

// CodeRequest asks for code by its hash. The answer is the code; no bytes: it is
// not here.
type CodeRequest struct {
	Height uint64
	Hash   crypto.Hash
	Code   crypto.Hash
}

// Encode is the RLP of a message.
func Encode[T OffersAnswer | RangeRequest | CodeRequest](m *T) []byte {
	b, err := rlp.EncodeToBytes(m)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err)) // integers and byte strings always encode
	}
	return b
}

func decode(b []byte, limit int, into any) error {
	if len(b) > limit {
		return refuse(ErrOversize, "%d bytes, at most %d", len(b), limit)
	}
	if err := rlp.DecodeBytes(b, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// DecodeOffers reads the checkpoints that a peer says it serves, within the
// limits. Errors: ErrOversize, ErrMalformed.
func DecodeOffers(raw []byte) (*OffersAnswer, error) {
	a := new(OffersAnswer)
	if err := decode(raw, MaxAnswerBytes, a); err != nil {
		return nil, err
	}
	if len(a.Offers) > MaxOffers {
		return nil, refuse(ErrOversize, "%d snapshots", len(a.Offers))
	}
	for _, o := range a.Offers {
		if len(o.Headers) > light.MaxDescendants || len(o.Finalization) > maxCertificate {
			return nil, refuse(ErrOversize, "%d headers and a finalization of %d bytes", len(o.Headers), len(o.Finalization))
		}
	}
	return a, nil
}

// DecodeRangeRequest reads a request for accounts or slots.
func DecodeRangeRequest(raw []byte) (*RangeRequest, error) {
	q := new(RangeRequest)
	return q, decode(raw, maxRequest, q)
}

// DecodeCodeRequest reads a request for code.
func DecodeCodeRequest(raw []byte) (*CodeRequest, error) {
	q := new(CodeRequest)
	return q, decode(raw, maxRequest, q)
}
