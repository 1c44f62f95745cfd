package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/internal/randtest"
)

// mendLife is a database whose blocks fill many blocks of table files, and all of
// its rows.
func mendLife(t *testing.T) (*vfs.MemFS, []*types.Block, map[string]string) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	st := open(t, small(mem))
	blocks := extend(t, st, nil, 250, 40)
	if err := errors.Join(st.Compact(), st.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := contents(mem)
	if err != nil {
		t.Fatal(err)
	}
	return mem, blocks, rows
}

// filling is a block as another node would give it.
func filling(blocks []*types.Block, height uint64) Filling {
	c := commitOf(blocks[height], true)
	return Filling{Block: blocks[height], Receipts: c.Receipts, Certificate: c.Certificate}
}

// TestMend: wherever a bit is flipped in the tables, the damage is either beyond
// mending, and named, or mended: every row that can be read is the one it was, what
// is gone is listed and answered with ErrAwaited, and after Refill of just those
// blocks no row differs.
func TestMend(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/store")
	fs, blocks, want := mendLife(t)
	var tables []string
	for _, name := range dataFiles(t, fs) {
		if kindOf(name) == ".sst" {
			tables = append(tables, name)
		}
	}
	count := map[string]int{}
	for i := range (*places + 3) / 4 { // each is opened, mended and compacted
		damaged := fs.CrashClone(vfs.CrashCloneCfg{})
		name := tables[i%len(tables)]
		where := fmt.Sprintf("%s, bit %d", name, flipAt(t, damaged, name, r))
		what, err := mended(t, damaged, blocks, want)
		if count[what]++; err != nil {
			t.Errorf("%s: %s: %v", where, what, err)
		}
	}
	t.Log(count)
	if few := count["mended"]; few == 0 || few < count["mended, a table without its index"] {
		t.Error("one bit costs more than a few blocks")
	}
}

// mended mends a damaged database, fetches what is awaited and compares all rows.
func mended(t *testing.T, fs *vfs.MemFS, blocks []*types.Block, want map[string]string) (what string, err error) {
	t.Helper()
	st, err := Open("/home/node/ledger", small(fs))
	if errors.Is(err, ErrCorrupt) {
		return "not opened", nil
	}
	if err != nil {
		return "open", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	gaps, err := st.Gaps(t.Context())
	switch {
	case errors.Is(err, ErrCorrupt):
		return "beyond mending", nil
	case err != nil:
		return "gaps", err
	case len(gaps) == 0:
		return "no gap", nil
	}
	awaited, err := st.Mend(t.Context(), gaps)
	if errors.Is(err, ErrCorrupt) {
		return "beyond mending, by its neighbours", nil
	}
	if err != nil {
		return "mend", err
	}
	heights, err := st.Awaited()
	if err != nil || len(heights) != awaited {
		return "awaited", fmt.Errorf("%d of %d: %w", len(heights), awaited, err)
	}
	for h := range uint64(len(blocks)) {
		_, err := st.Body(blocks[h].Hash())
		if _, failed := st.Receipts(h); failed != nil {
			err = failed
		}
		if err != nil && (!errors.Is(err, ErrAwaited) || !slices.Contains(heights, h)) {
			return "read", fmt.Errorf("block %d: %w", h, err)
		}
	}
	for _, h := range heights {
		if err := st.Refill(filling(blocks, h)); err != nil {
			return "refill", err
		}
	}
	if err := errors.Join(checkAt(st, blocks, always), st.Compact()); err != nil {
		return "check", err
	}
	if what = "mended"; len(heights) > 60 {
		what = "mended, a table without its index" // one bit of that costs all of its blocks
	}
	return what, sameRows(st, want)
}

func sameRows(st *Store, want map[string]string) error {
	got := map[string]string{}
	for _, t := range tables {
		if err := st.scan(t.name, []byte{t.prefix}, []byte{t.prefix + 1}, func(k, v []byte) error {
			got[string(k)] = string(v)
			return nil
		}); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[k]; !ok || v != want[k] {
			return fmt.Errorf("row %x is %x, was %x", k, v, want[k])
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(got), len(want))
	}
	return nil
}

// TestRefill: only the awaited block is put back, and Forgo ends the wait.
func TestRefill(t *testing.T) {
	t.Parallel()
	st := openMem(t)
	blocks := extend(t, st, nil, 5, 2)
	hash := blocks[3].Hash()
	b := st.db.NewBatch()
	for _, k := range [][]byte{blockKey(prefixBody, 3, hash), heightKey(prefixReceipts, 3), heightKey(prefixCertificate, 3)} {
		_ = b.Delete(k, nil)
	}
	_ = b.Set(heightKey(prefixAwaited, 3), nil, nil)
	if err := st.apply("damage", b, true); err != nil {
		t.Fatal(err)
	}
	read := map[string]func() error{
		"body":        func() error { _, err := st.Body(hash); return err },
		"receipts":    func() error { _, err := st.Receipts(3); return err },
		"certificate": func() error { _, err := st.Certificate(3); return err },
	}
	for what, f := range read {
		if err := f(); !errors.Is(err, ErrAwaited) {
			t.Errorf("%s: %v, want ErrAwaited", what, err)
		}
	}
	other := testBlock(blocks[2].Header(), 99, 99, 2)
	if err := st.Refill(Filling{Block: other}); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("another block: %v, want ErrOutOfOrder", err)
	}
	if err := st.Refill(filling(blocks, 3)); err != nil {
		t.Fatal(err)
	}
	for what, f := range read {
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if heights, err := st.Awaited(); err != nil || len(heights) > 0 {
		t.Errorf("still awaited: %v, %v", heights, err)
	}
	b = st.db.NewBatch()
	_ = b.Set(heightKey(prefixAwaited, 2), nil, nil)
	if err := errors.Join(st.apply("damage", b, true), st.Forgo(2)); err != nil {
		t.Fatal(err)
	}
	if heights, err := st.Awaited(); err != nil || len(heights) > 0 {
		t.Errorf("still awaited: %v, %v", heights, err)
	}
}

// TestReadLocal: damage of rows that only this node has is found.
func TestReadLocal(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	st := open(t, small(mem))
	for i := range 100 { // nearly all of the table
		var value []byte
		for j := range 32 {
			value = append(value, noise(i, j)...)
		}
		if err := st.PutMeta(fmt.Sprint(i), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(st.Compact(), st.ReadLocal(), st.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("/home/node/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if kindOf(name) == ".sst" {
			f, err := mem.OpenReadWrite("/home/node/ledger/"+name, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("damage"), info.Size()/2); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	st = open(t, small(mem))
	if err := st.ReadLocal(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefillPruned: of a damaged block that was pruned meanwhile only what pruning
// leaves is put back.
func TestRefillPruned(t *testing.T) {
	t.Parallel()
	st := openMem(t)
	blocks := extend(t, st, nil, 5, 2)
	if err := st.RaiseBounds(Bounds{FirstBody: 4}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.PruneBodies(0, 100); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, table := range tables {
		if err := st.scan(table.name, []byte{table.prefix}, []byte{table.prefix + 1}, func(k, v []byte) error {
			want[string(k)] = string(v)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	hash := blocks[2].Hash()
	b := st.db.NewBatch()
	for _, k := range [][]byte{blockKey(prefixHeader, 2, hash), heightKey(prefixCertificate, 2), key(prefixHeight, hash[:])} {
		_ = b.Delete(k, nil)
	}
	_ = b.Set(heightKey(prefixAwaited, 2), nil, nil)
	if err := st.apply("damage", b, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.HeaderByHeight(2); !errors.Is(err, ErrAwaited) {
		t.Fatalf("the header: %v, want ErrAwaited", err)
	}
	if err := errors.Join(st.Refill(filling(blocks, 2)), sameRows(st, want)); err != nil {
		t.Error(err)
	}
}

// TestMendAgain: damage of an index is mended in a database that still waits for a
// block.
func TestMendAgain(t *testing.T) {
	t.Parallel()
	st := openMem(t)
	blocks := extend(t, st, nil, 5, 2)
	hash := blocks[3].Hash()
	k := key(prefixHeight, blocks[2].Hash().Bytes())
	b := st.db.NewBatch()
	_ = b.Delete(blockKey(prefixHeader, 3, hash), nil)
	_ = b.Set(heightKey(prefixAwaited, 3), nil, nil)
	_ = b.Delete(k, nil)
	if err := st.apply("damage", b, true); err != nil {
		t.Fatal(err)
	}
	gap := Gap{From: key(prefixHeight), To: key(prefixHeight + 1)}
	if err := st.mendIndexes(t.Context(), []Gap{gap}); err != nil {
		t.Fatal(err)
	}
	if height, err := st.heldHeight(blocks[2].Hash()); err != nil || height != 2 {
		t.Errorf("the place of block 2: %d, %v", height, err)
	}
}
