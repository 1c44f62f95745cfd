package node

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
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
)

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

// certificatesRequest asks for the certificates of the views From to To of an
// epoch.
type certificatesRequest struct {
	Epoch    uint32
	From, To uint64
}

// encode is RLP of a value that is known to encode.
func encode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// decode reads exactly one RLP value of at most limit bytes.
func decode(b []byte, limit int, into any) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", errOversize, len(b), limit)
	}
	if err := rlp.DecodeBytes(b, into); err != nil {
		return fmt.Errorf("%w: %v", errMalformed, err)
	}
	return nil
}

func encodeCertificates(cs []consensus.Certificate) []byte {
	raws := make([][]byte, len(cs))
	for i := range cs {
		raws[i] = consensus.EncodeCertificate(&cs[i])
	}
	return encode(raws)
}

func decodeCertificates(b []byte) ([]consensus.Certificate, error) {
	var raws [][]byte
	if err := decode(b, maxCertificates*maxCertificateBytes, &raws); err != nil {
		return nil, err
	}
	if len(raws) > maxCertificates {
		return nil, fmt.Errorf("%w: %d certificates, at most %d", errOversize, len(raws), maxCertificates)
	}
	out := make([]consensus.Certificate, 0, len(raws))
	for _, raw := range raws {
		c, err := consensus.DecodeCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errMalformed, err)
		}
		out = append(out, *c)
	}
	return out, nil
}

// wireError is a rejection of what a peer sent.
type wireError string

func (e wireError) Error() string { return string(e) }

const (
	errOversize  = wireError("message is over its limit")
	errMalformed = wireError("message does not decode")
	errUnasked   = wireError("answer does not fit the question")
)
