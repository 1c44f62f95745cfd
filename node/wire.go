package node

import (
	"fmt"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/node/blocksync"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

// Names of the requests between nodes; see docs/wire.md.
const (
	requestStatus       = "status"
	requestBlock        = "block"
	requestCertificates = "certificates"
)

// Limits of the answers.
const (
	maxCertificates      = 256  // certificates in one answer
	maxCertificateViews  = 1024 // views that one request may span
	maxCertificateBytes  = consensus.MaxCertificateBytes
	maxSmallRequestBytes = 256
	maxStatusBytes       = 2*maxCertificateBytes + chain.MaxHeaderBytes + maxSmallRequestBytes
	maxCertificatesBytes = maxCertificates * maxCertificateBytes
)

// answerLimit is how many bytes an answer to a request takes at most. Many peers
// are asked at once: with one limit for all, that of the largest, a few who send as
// much as they may would take all of the memory.
func answerLimit(name string, request []byte, rules *genesis.Rules) int {
	switch name {
	case requestStatus:
		return maxStatusBytes
	case requestBlock:
		return int(rules.BlockBytes)
	case requestSeen:
		return maxSeenAnswerBytes
	case requestCertificates:
		return maxCertificatesBytes
	case blocksync.RequestBlocks:
		return blocksync.MaxBlocksBytes(request, rules)
	case blocksync.RequestEpochs:
		return blocksync.MaxEpochsBytes + blocksync.MaxStepBytes
	case statesync.RequestSnapshots, statesync.RequestAccounts, statesync.RequestSlots, statesync.RequestCode:
		return statesync.MaxAnswerBytes
	default:
		return maxAnswerBytes(rules)
	}
}

// statusAnswer tells where a node stands. Finalization is the certificate of
// Head; empty at block 0, and for a moment at a head that is final by a
// descendant which is not here yet. With Header it proves Height to who knows
// the validators of its epoch.
type statusAnswer struct {
	Genesis      crypto.Hash
	Height       uint64
	Head         crypto.Hash
	Epoch        uint32
	View         uint64
	Finalization []byte
	Header       []byte // RLP of the header of Head

	// Where consensus is: view 0 = not started. Admitting is the certificate of
	// the view before, which is empty in view 1.
	CurrentEpoch uint32
	CurrentView  uint64
	Admitting    []byte

	// Signs says that this node signs votes, or would if it were a member: it
	// does not observe, has not halted, has no twin and has room on its disk.
	Signs bool
}

// decodeStatus reads where a peer says that it stands. Nothing of it is verified.
func decodeStatus(raw []byte) (*statusAnswer, error) {
	hash, certificate := fetch.Bytes(crypto.HashLength), fetch.Bytes(maxCertificateBytes)
	return fetch.Decode[statusAnswer](raw, maxStatusBytes, fetch.Fields(
		hash, fetch.Number(), hash, fetch.Number(), fetch.Number(), certificate, fetch.Bytes(chain.MaxHeaderBytes),
		fetch.Number(), fetch.Number(), certificate, fetch.Number(),
	))
}

// certificatesRequest asks for the certificates of the views From to To of an
// epoch.
type certificatesRequest struct {
	Epoch    uint32
	From, To uint64
}

func decodeCertificatesRequest(raw []byte) (*certificatesRequest, error) {
	return fetch.Decode[certificatesRequest](raw, maxSmallRequestBytes, fetch.Fields(fetch.Number(), fetch.Number(), fetch.Number()))
}

func encodeCertificates(cs []consensus.Certificate) []byte {
	raws := make([][]byte, len(cs))
	for i := range cs {
		raws[i] = consensus.EncodeCertificate(&cs[i])
	}
	return encode(raws)
}

func decodeCertificates(b []byte) ([]consensus.Certificate, error) {
	raws, err := fetch.Decode[[][]byte](b, maxCertificatesBytes, fetch.List(maxCertificates, fetch.Bytes(maxCertificateBytes)))
	if err != nil {
		return nil, err
	}
	out := make([]consensus.Certificate, 0, len(*raws))
	for _, raw := range *raws {
		c, err := consensus.DecodeCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errMalformed, err)
		}
		out = append(out, *c)
	}
	return out, nil
}

// encode is the RLP of what is sent, and of small things that are stored.
func encode(v any) []byte { return fetch.Encode(v) }

// What peers send is refused for the reasons of fetch, also where it is no answer.
const (
	errOversize  = fetch.ErrOversize
	errMalformed = fetch.ErrMalformed
	errUnasked   = fetch.ErrUnasked
)
