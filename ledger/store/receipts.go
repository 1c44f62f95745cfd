package store

import (
	"encoding/binary"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// Outcome is what of a receipt cannot be derived from its block: the rest
// (cumulative gas, effective price, bloom, places) follows from header and body.
type Outcome struct {
	Status  uint64 // 1 = done, 0 = reverted
	GasUsed uint64
	Logs    []*types.Log // Address, Topics and Data only
}

type storedLog struct {
	Address crypto.Address
	Topics  []crypto.Hash
	Data    []byte
}

// The receipts of a block are runs of equal outcomes:
//
//	uv count ‖ uv (gas used << 1 | status) ‖ uv length of logs ‖ logs, RLP
//
// A run with logs has count 1. A block of plain transfers takes 6 bytes.
func encodeOutcomes(receipts types.Receipts) ([]byte, error) {
	var out []byte
	for i := 0; i < len(receipts); {
		r := receipts[i]
		count := 1
		if len(r.Logs) == 0 {
			for i+count < len(receipts) && sameOutcome(r, receipts[i+count]) {
				count++
			}
		}
		var logs []byte
		if len(r.Logs) > 0 {
			stored := make([]storedLog, len(r.Logs))
			for j, l := range r.Logs {
				stored[j] = storedLog{l.Address, l.Topics, l.Data}
			}
			var err error
			if logs, err = rlp.EncodeToBytes(stored); err != nil {
				return nil, fmt.Errorf("encode logs: %w", err)
			}
		}
		out = binary.AppendUvarint(out, uint64(count))
		out = binary.AppendUvarint(out, r.GasUsed<<1|r.Status&1)
		out = binary.AppendUvarint(out, uint64(len(logs)))
		out = append(out, logs...)
		i += count
	}
	return out, nil
}

func sameOutcome(a, b *types.Receipt) bool {
	return len(b.Logs) == 0 && a.Status == b.Status && a.GasUsed == b.GasUsed
}

// maxOutcomes bounds what one row can claim, against corruption that the
// checksums of the tables let through.
const maxOutcomes = 1 << 22

func decodeOutcomes(b []byte) ([]Outcome, error) {
	var out []Outcome
	for len(b) > 0 {
		var field [3]uint64
		for i := range field {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return nil, corrupt("receipts", "torn number")
			}
			field[i], b = v, b[n:]
		}
		count, gas, size := field[0], field[1], field[2]
		if count == 0 || count > maxOutcomes || size > uint64(len(b)) || size > 0 && count != 1 {
			return nil, corrupt("receipts", "bad run")
		}
		o := Outcome{Status: gas & 1, GasUsed: gas >> 1}
		if size > 0 {
			var stored []storedLog
			if err := rlp.DecodeBytes(b[:size], &stored); err != nil {
				return nil, corrupt("logs", err)
			}
			for _, l := range stored {
				o.Logs = append(o.Logs, &types.Log{Address: l.Address, Topics: l.Topics, Data: l.Data})
			}
			b = b[size:]
		}
		if len(out)+int(count) > maxOutcomes {
			return nil, corrupt("receipts", "too many")
		}
		for ; count > 0; count-- {
			out = append(out, o)
		}
	}
	return out, nil
}
