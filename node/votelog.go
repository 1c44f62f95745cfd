package node

import (
	"encoding/binary"
	"fmt"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/ledger/store"
)

// A vote record's key is epoch(4) ‖ view(8) ‖ type(1) ‖ detail, big-endian, so
// that one range deletion prunes everything at or below the ledger's floor. The
// reason of a halt lies above every epoch and is never pruned.
//
//	v kind        own vote
//	c kind        certificate
//	b hash(32)    header facts of a durable body
//	h             halt
const haltEpoch = 0xffffffff

func recordKey(epoch uint32, view uint64, detail ...byte) []byte {
	k := make([]byte, 0, 12+len(detail))
	k = binary.BigEndian.AppendUint32(k, epoch)
	k = binary.BigEndian.AppendUint64(k, view)
	return append(k, detail...)
}

// voteRecord turns one record of the core into a key and a value of the store.
func voteRecord(r consensus.Record) store.Record {
	var key []byte
	switch {
	case r.Vote != nil:
		key = recordKey(r.Vote.Epoch, r.Vote.View, 'v', byte(r.Vote.Kind))
	case r.Certificate != nil:
		key = recordKey(r.Certificate.Epoch, r.Certificate.View, 'c', byte(r.Certificate.Kind))
	case r.Block != nil:
		key = recordKey(r.Block.Epoch, r.Block.View, append([]byte{'b'}, r.Block.Hash[:]...)...)
	default:
		key = recordKey(haltEpoch, 0, 'h')
	}
	return store.Record{Key: key, Value: consensus.EncodeRecord(r)}
}

// loadVoteLog reads the records above the floor, in key order: by epoch, then
// view. A record that does not decode means that the log was damaged, and a
// validator must not vote on half a memory.
func loadVoteLog(st *store.Store) ([]consensus.Record, error) {
	var out []consensus.Record
	err := st.Records(func(key, value []byte) error {
		r, err := consensus.DecodeRecord(value)
		if err != nil {
			return fmt.Errorf("vote record %x is damaged (run 'cairnd db repair', or restore a copy): %w", key, err)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// prunable is the range of records at or below a floor.
func prunable(floor ledger.Floor) store.RecordRange {
	return store.RecordRange{From: recordKey(0, 0), To: recordKey(floor.Epoch, floor.View+1)}
}
