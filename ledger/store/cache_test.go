package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCache: what was read stays in the block cache, however large the memtables are.
func TestCache(t *testing.T) {
	t.Parallel()
	const records = 4000
	o := small(vfs.NewMem())
	o.CacheBytes, o.MemTableBytes = 1<<20, 1<<20
	st := open(t, o)
	for i := range records {
		if err := st.PutRecords([]Record{{recordKey(uint64(i)), append(noise(i, 0), make([]byte, 1000)...)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Compact(); err != nil {
		t.Fatal(err)
	}
	read := func() (misses int64) {
		before := st.Metrics().CacheMisses
		for i := 0; i < records; i += records / 10 {
			if _, err := st.get("a record", key(prefixRecord, recordKey(uint64(i)))); err != nil {
				t.Fatal(err)
			}
		}
		return st.Metrics().CacheMisses - before
	}
	first := read()
	if again := read(); first == 0 || again != 0 {
		t.Errorf("%d blocks were read from tables, and %d the second time", first, again)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
