package statesync

import (
	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/light"
	"cairn/node/fetch"
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

// ErrorKind names why a join ended. Match it with errors.Is.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// ErrNoOffer says that no peer serves a checkpoint that is proven and far enough above
// what is here.
const ErrNoOffer = ErrorKind("no peer serves a snapshot that helps")

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

// DecodeOffers reads the checkpoints that a peer says it serves, within the
// limits. Errors: fetch.ErrOversize, fetch.ErrMalformed.
func DecodeOffers(raw []byte) (*OffersAnswer, error) {
	header, certificate := fetch.Bytes(chain.MaxHeaderBytes), fetch.Bytes(maxCertificate)
	return fetch.Decode[OffersAnswer](raw, MaxAnswerBytes, fetch.Fields(
		fetch.List(MaxOffers, fetch.Fields(header, fetch.List(light.MaxDescendants, header), certificate)),
	))
}

// DecodeRangeRequest reads a request for accounts or slots.
func DecodeRangeRequest(raw []byte) (*RangeRequest, error) {
	hash := fetch.Bytes(crypto.HashLength)
	return fetch.Decode[RangeRequest](raw, maxRequest, fetch.Fields(fetch.Number(), hash, fetch.Bytes(crypto.AddressLength), hash, hash, fetch.Number()))
}

// DecodeCodeRequest reads a request for code.
func DecodeCodeRequest(raw []byte) (*CodeRequest, error) {
	hash := fetch.Bytes(crypto.HashLength)
	return fetch.Decode[CodeRequest](raw, maxRequest, fetch.Fields(fetch.Number(), hash, hash))
}
