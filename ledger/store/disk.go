package store

import (
	"context"
	"fmt"
)

// Metrics are figures of the database.
type Metrics struct {
	DiskBytes   uint64 // all files
	LogBytes    uint64 // of them, logs
	CacheBytes  int64  // block cache in use
	CacheHits   int64
	CacheMisses int64
	MemTables   uint64  // bytes in memtables
	WriteFactor float64 // bytes written to disk for each byte given
}

// Metrics reads the figures.
func (s *Store) Metrics() Metrics {
	if !s.guard.enter() {
		return Metrics{}
	}
	defer s.guard.leave()
	m := s.db.Metrics()
	total := m.Total()
	return Metrics{
		DiskBytes: m.DiskSpaceUsage(), LogBytes: m.WAL.PhysicalSize,
		CacheBytes: m.BlockCache.Size, CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses,
		MemTables: m.MemTable.Size, WriteFactor: total.WriteAmp(),
	}
}

// tables names the prefixes for people.
var tables = []struct {
	name   string
	prefix byte
}{
	{"bodies", prefixBody}, {"headers", prefixHeader}, {"heights", prefixHeight}, {"canonical", prefixCanonical},
	{"receipts", prefixReceipts}, {"transactions", prefixTransaction}, {"certificates", prefixCertificate},
	{"accounts", prefixAccount}, {"history", prefixHistory}, {"slots", prefixSlot}, {"slot history", prefixSlotHistory},
	{"codes", prefixCode}, {"trie nodes", prefixNode}, {"storage trie nodes", prefixStorageNode},
	{"records", prefixRecord}, {"own transactions", prefixLocal}, {"local values", prefixMeta},
}

// Usage estimates the bytes of each table of keys.go in the sorted files; what
// is only in logs and memtables is not counted.
func (s *Store) Usage() (map[string]uint64, error) {
	if !s.guard.enter() {
		return nil, ErrClosed
	}
	defer s.guard.leave()
	out := make(map[string]uint64, len(tables))
	for _, t := range tables {
		n, err := s.db.EstimateDiskUsage([]byte{t.prefix}, []byte{t.prefix + 1})
		if err != nil {
			return nil, fmt.Errorf("size of %s: %w", t.name, err)
		}
		out[t.name] = n
	}
	return out, nil
}

// FreeBytes is the space left where the database is.
func (s *Store) FreeBytes() (uint64, error) {
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	return u.AvailBytes, nil
}

// Compact rewrites the whole database in its smallest form.
func (s *Store) Compact() error {
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush the database: %w", err)
	}
	if err := s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, true); err != nil {
		return fmt.Errorf("compact the database: %w", err)
	}
	return nil
}

// Checkpoint copies the running database, with everything written so far, to a
// directory that does not exist yet.
func (s *Store) Checkpoint(dir string) error {
	if err := s.Sync(); err != nil {
		return err
	}
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	if err := s.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("copy the database to %s: %w", dir, err)
	}
	return nil
}
