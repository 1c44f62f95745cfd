package store

import (
	"context"
	"fmt"
)

// Metrics are figures of the database.
type Metrics struct {
	DiskBytes   uint64 // all files
	LogBytes    uint64 // of them, logs
	TableBytes  uint64 // of them, sorted tables that are in use
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
		DiskBytes: m.DiskSpaceUsage(), LogBytes: m.WAL.PhysicalSize, TableBytes: uint64(total.TablesSize),
		CacheBytes: m.BlockCache.Size, CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses,
		MemTables: m.MemTable.Size, WriteFactor: total.WriteAmp(),
	}
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
