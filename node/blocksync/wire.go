package blocksync

import (
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/node/fetch"
)

// Names of the requests; see docs/wire.md.
const (
	RequestBlocks   = "blocks"
	RequestEpochs   = "epochs"
	RequestReceipts = "receipts"
)

// Limits of the messages.
const (
	MaxBlocks      = 1024    // in one answer
	MaxRangeBytes  = 4 << 20 // of bodies and receipts, after which an answer takes no further block
	MaxSteps       = light.MaxSteps
	MaxStepBytes   = 256 << 10 // of one epoch's end in an answer: header, certificate, 256 members
	MaxEpochsBytes = 4 << 20   // after which an answer takes no further epoch
	maxRequest     = 64
)

// The shapes of what stands in several messages.
var (
	header      = fetch.Bytes(chain.MaxHeaderBytes)
	certificate = fetch.Bytes(consensus.MaxCertificateBytes)
)

// ErrorKind names one way in which a message of a peer is refused, beside those
// of fetch.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection.
const (
	ErrUnproven = ErrorKind("answer carries no finalization that proves it")
	ErrTrusted  = ErrorKind("a block is not the one that the configuration trusts")
)

// BlocksRequest asks for final blocks from a height upwards, at most Count, and
// for no further one after Bytes. It is the request for receipts, too.
type BlocksRequest struct {
	From  uint64
	Count uint64
	Bytes uint64
}

// RangedBlock is one final block (RLP) and, where the answering node holds one,
// the finalization of that very block.
type RangedBlock struct {
	Body         []byte
	Finalization []byte
}

// BlocksAnswer is a run of final blocks, lowest first. If the last has no
// finalization of its own, Headers are those of its descendants, from its child
// to one whose finalization is Finalization; else both are empty. No blocks: the
// peer does not have the first.
type BlocksAnswer struct {
	Blocks       []RangedBlock
	Headers      [][]byte
	Finalization []byte
}

// EpochsRequest asks for the ends of epochs, from one upwards.
type EpochsRequest struct {
	From  uint64 // epoch
	Count uint64
}

// EpochsAnswer are the ends of consecutive epochs that are over, from the one
// asked for.
type EpochsAnswer struct {
	Steps []light.Step
}

// ReceiptsAnswer are the receipts of consecutive blocks, each in its consensus
// encoding (type, status, cumulative gas, bloom, logs).
type ReceiptsAnswer struct {
	Blocks [][][]byte
}

// MaxAnswerBytes bounds one encoded answer under a network's rules: a range may
// take one block beyond its limit.
func MaxAnswerBytes(rules *genesis.Rules) int {
	return max(MaxRangeBytes+int(rules.BlockBytes)+(MaxBlocks+light.MaxDescendants)*(chain.MaxHeaderBytes+consensus.MaxCertificateBytes/8),
		MaxEpochsBytes+MaxStepBytes)
}

// MaxBlocksBytes bounds the encoded answer to an encoded request for blocks: what
// was asked for and one block more, with what proves the last.
func MaxBlocksBytes(request []byte, rules *genesis.Rules) int {
	const lengths = 16 // bytes of a block or header in the encoding, beside its own
	most := MaxAnswerBytes(rules)
	q, err := DecodeBlocksRequest(request)
	if err != nil {
		return most
	}
	blocks := int(min(q.Bytes, MaxRangeBytes)+rules.BlockBytes) + consensus.MaxCertificateBytes + int(min(q.Count, MaxBlocks))*lengths
	proof := light.MaxDescendants*(chain.MaxHeaderBytes+lengths) + consensus.MaxCertificateBytes + 4*lengths
	return min(most, blocks+proof)
}

// DecodeBlocksAnswer reads a range within the limits. It says nothing of whether
// it is true. Errors: fetch.ErrOversize, fetch.ErrMalformed.
func DecodeBlocksAnswer(raw []byte, rules *genesis.Rules) (*BlocksAnswer, error) {
	return fetch.Decode[BlocksAnswer](raw, MaxAnswerBytes(rules), fetch.Fields(
		fetch.List(MaxBlocks, fetch.Fields(fetch.Bytes(int(rules.BlockBytes)), certificate)),
		fetch.List(light.MaxDescendants, header),
		certificate,
	))
}

// DecodeEpochsAnswer is DecodeBlocksAnswer for the ends of epochs.
func DecodeEpochsAnswer(raw []byte) (*EpochsAnswer, error) {
	member := fetch.Fields(fetch.Bytes(crypto.AddressLength), fetch.Bytes(light.MaxTextBytes), fetch.Bytes(light.MaxTextBytes))
	return fetch.Decode[EpochsAnswer](raw, MaxEpochsBytes+MaxStepBytes, fetch.Fields(
		fetch.List(MaxSteps, fetch.Fields(header, certificate, fetch.List(genesis.MaxValidators, member))),
	))
}

// DecodeReceiptsAnswer is DecodeBlocksAnswer for receipts.
func DecodeReceiptsAnswer(raw []byte, rules *genesis.Rules) (*ReceiptsAnswer, error) {
	most := MaxAnswerBytes(rules)
	return fetch.Decode[ReceiptsAnswer](raw, most, fetch.Fields(
		fetch.List(MaxBlocks, fetch.List(int(rules.BlockTransactions), fetch.Between(types.BloomByteLength, most))),
	))
}

// DecodeBlocksRequest reads a request for blocks or receipts.
func DecodeBlocksRequest(raw []byte) (*BlocksRequest, error) {
	return fetch.Decode[BlocksRequest](raw, maxRequest, fetch.Fields(fetch.Number(), fetch.Number(), fetch.Number()))
}

// DecodeEpochsRequest reads a request for the ends of epochs.
func DecodeEpochsRequest(raw []byte) (*EpochsRequest, error) {
	return fetch.Decode[EpochsRequest](raw, maxRequest, fetch.Fields(fetch.Number(), fetch.Number()))
}
