package rpc

import (
	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
)

// Evidence is two votes of one validator that contradict each other. Anyone can
// check it: each signature recovers the validator's address from the digest, and
// docs/protocol.md says how the digest is made from the other fields.
type Evidence struct {
	Epoch     uint32         `json:"epoch"`
	Validator crypto.Address `json:"validator"`
	Name      string         `json:"name"`
	Votes     [2]SignedVote  `json:"votes"`
}

// SignedVote is one vote with its signature r ‖ s ‖ v, v in {0, 1}.
type SignedVote struct {
	Kind       string        `json:"kind"` // notarize, nullify or finalize
	View       uint64        `json:"view"`
	ParentView uint64        `json:"parentView"`
	Block      crypto.Hash   `json:"block"`
	Digest     crypto.Hash   `json:"digest"`
	Signature  hexutil.Bytes `json:"signature"`
}
