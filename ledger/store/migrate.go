package store

import (
	"encoding/binary"
	"fmt"

	"cairn/crypto"
)

// migrateRows is how many rows go into one batch of a migration.
const migrateRows = 2_000

// formatOneKeys are the keys of format 1 that format 2 has in another form, by
// their length: it keyed the newest state by address 20 and by address 20 ‖ slot
// 32, and had neither in the value.
var formatOneKeys = map[byte]int{prefixAccount: 1 + 20, prefixSlot: 1 + 20 + 32}

// migrate turns format 1 into format 2. The rows of both differ in the length of
// their keys, so that it can be done again after it was interrupted anywhere; the
// version is written last, and that write makes all others durable.
func (s *Store) migrate() error {
	for prefix, length := range formatOneKeys {
		if err := s.migrateTable(prefix, length); err != nil {
			return fmt.Errorf("bring %s to format %d: %w", s.dir, FormatVersion, err)
		}
	}
	b := s.db.NewBatch()
	_ = b.Set(formatKey, binary.BigEndian.AppendUint32(nil, FormatVersion), nil)
	return s.apply("the format version", b, true)
}

// migrateTable replaces the rows of a table whose keys are of format 1.
func (s *Store) migrateTable(prefix byte, length int) error {
	b, rows := s.db.NewBatch(), 0
	flush := func() error {
		old := b
		b, rows = s.db.NewBatch(), 0
		return s.apply("migrated rows", old, false)
	}
	err := s.scan("rows of format 1", []byte{prefix}, []byte{prefix + 1}, func(k, value []byte) error {
		if len(k) != length {
			return nil
		}
		a := crypto.Address(k[1:21])
		to := accountKey(a)
		if prefix == prefixSlot {
			to = slotKey(a, crypto.Hash(k[21:]))
		}
		_ = b.Set(to, append(append([]byte(nil), k[1:]...), value...), nil)
		_ = b.Delete(k, nil)
		if rows++; rows < migrateRows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}
