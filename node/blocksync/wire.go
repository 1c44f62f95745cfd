package blocksync

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
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

// ErrorKind names one way in which a message of a peer is refused.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection.
const (
	ErrOversize  = ErrorKind("message is over its limit")
	ErrMalformed = ErrorKind("message does not decode")
	ErrUnasked   = ErrorKind("answer does not fit the question")
	ErrUnproven  = ErrorKind("answer carries no finalization that proves it")
	ErrRoot      = ErrorKind("the receipts are not those of the block")
	ErrTrusted   = ErrorKind("a block is not the one that the configuration trusts")
)

func refuse(kind ErrorKind, format string, args ...any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}

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

// Encode is the RLP of a message.
func Encode[T BlocksRequest | BlocksAnswer | EpochsRequest | EpochsAnswer | ReceiptsAnswer](m *T) []byte {
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

// counted checks, before an answer is decoded, that its lists have no more items
// than most says of each: an item of one byte takes 24 and more in memory.
func counted(raw []byte, most ...int) error {
	fields, _, err := rlp.SplitList(raw)
	for _, limit := range most {
		var list []byte
		if err == nil {
			list, fields, err = rlp.SplitList(fields)
		}
		n := 0
		if err == nil {
			n, err = rlp.CountValues(list)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if n > limit {
			return refuse(ErrOversize, "%d items, at most %d", n, limit)
		}
	}
	return nil
}

// MaxAnswerBytes bounds one encoded answer under a network's rules: a range may
// take one block beyond its limit.
func MaxAnswerBytes(rules *genesis.Rules) int {
	return max(MaxRangeBytes+int(rules.BlockBytes)+(MaxBlocks+light.MaxDescendants)*(chain.MaxHeaderBytes+consensus.MaxCertificateBytes/8),
		MaxEpochsBytes+MaxStepBytes)
}

// DecodeBlocksAnswer reads a range within the limits. It says nothing of whether
// it is true. Errors: ErrOversize, ErrMalformed.
func DecodeBlocksAnswer(raw []byte, rules *genesis.Rules) (*BlocksAnswer, error) {
	if err := counted(raw, MaxBlocks, light.MaxDescendants); err != nil {
		return nil, err
	}
	a := new(BlocksAnswer)
	if err := decode(raw, MaxAnswerBytes(rules), a); err != nil {
		return nil, err
	}
	switch {
	case len(a.Blocks) > MaxBlocks:
		return nil, refuse(ErrOversize, "%d blocks", len(a.Blocks))
	case len(a.Headers) > light.MaxDescendants:
		return nil, refuse(ErrOversize, "%d headers of descendants", len(a.Headers))
	case len(a.Finalization) > consensus.MaxCertificateBytes:
		return nil, refuse(ErrOversize, "a finalization of %d bytes", len(a.Finalization))
	}
	for i := range a.Blocks {
		if n := len(a.Blocks[i].Finalization); n > consensus.MaxCertificateBytes {
			return nil, refuse(ErrOversize, "a finalization of %d bytes", n)
		}
	}
	return a, nil
}

// DecodeEpochsAnswer is DecodeBlocksAnswer for the ends of epochs.
func DecodeEpochsAnswer(raw []byte) (*EpochsAnswer, error) {
	if err := counted(raw, MaxSteps); err != nil {
		return nil, err
	}
	a := new(EpochsAnswer)
	if err := decode(raw, MaxEpochsBytes+MaxStepBytes, a); err != nil {
		return nil, err
	}
	if len(a.Steps) > MaxSteps {
		return nil, refuse(ErrOversize, "the ends of %d epochs", len(a.Steps))
	}
	return a, nil
}

// DecodeReceiptsAnswer is DecodeBlocksAnswer for receipts.
func DecodeReceiptsAnswer(raw []byte, rules *genesis.Rules) (*ReceiptsAnswer, error) {
	if err := counted(raw, MaxBlocks); err != nil {
		return nil, err
	}
	a := new(ReceiptsAnswer)
	if err := decode(raw, MaxAnswerBytes(rules), a); err != nil {
		return nil, err
	}
	if len(a.Blocks) > MaxBlocks {
		return nil, refuse(ErrOversize, "receipts of %d blocks", len(a.Blocks))
	}
	for i := range a.Blocks {
		if uint64(len(a.Blocks[i])) > rules.BlockTransactions {
			return nil, refuse(ErrOversize, "%d receipts of one block", len(a.Blocks[i]))
		}
	}
	return a, nil
}

// DecodeBlocksRequest reads a request for blocks or receipts.
func DecodeBlocksRequest(raw []byte) (*BlocksRequest, error) {
	q := new(BlocksRequest)
	return q, decode(raw, maxRequest, q)
}

// DecodeEpochsRequest reads a request for the ends of epochs.
func DecodeEpochsRequest(raw []byte) (*EpochsRequest, error) {
	q := new(EpochsRequest)
	return q, decode(raw, maxRequest, q)
}
