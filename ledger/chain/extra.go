package chain

import (
	"encoding/binary"

	"github.com/ethereum/go-ethereum/core/types"
)

// ExtraLength is the length of a header's extraData in bytes. Some clients
// refuse more than 32.
const ExtraLength = 21

// ExtraVersion is the only layout of extraData there is.
const ExtraVersion = 1

// MaxTimestampMillis bounds a header's time. It is the bound that vote records
// have (consensus.MaxTimestamp): a block above it could be voted for and the record
// of that never be read again.
const MaxTimestampMillis = 1 << 62

// Extra is what a header's extraData says: in which view of which epoch the
// block was first proposed, and its time in milliseconds since 1970 (at most
// MaxTimestampMillis). The bytes are big-endian:
//
//	version(1) epoch(4) view(8) timestampMillis(8)
type Extra struct {
	Version         uint8
	Epoch           uint32
	View            uint64
	TimestampMillis uint64
}

// Encode is the 21 bytes.
func (e Extra) Encode() []byte {
	b := make([]byte, 0, ExtraLength)
	b = append(b, e.Version)
	b = binary.BigEndian.AppendUint32(b, e.Epoch)
	b = binary.BigEndian.AppendUint64(b, e.View)
	return binary.BigEndian.AppendUint64(b, e.TimestampMillis)
}

// DecodeExtra reads a header's extraData. Errors: ErrExtra.
func DecodeExtra(header *types.Header) (Extra, error) {
	b := header.Extra
	if len(b) != ExtraLength {
		return Extra{}, invalid(ErrExtra, "%d bytes, want %d", len(b), ExtraLength)
	}
	if b[0] != ExtraVersion {
		return Extra{}, invalid(ErrExtra, "version %d, want %d", b[0], ExtraVersion)
	}
	e := Extra{
		Version:         b[0],
		Epoch:           binary.BigEndian.Uint32(b[1:5]),
		View:            binary.BigEndian.Uint64(b[5:13]),
		TimestampMillis: binary.BigEndian.Uint64(b[13:21]),
	}
	if e.TimestampMillis > MaxTimestampMillis {
		return Extra{}, invalid(ErrExtra, "timestamp %d ms is above %d", e.TimestampMillis, uint64(MaxTimestampMillis))
	}
	return e, nil
}
