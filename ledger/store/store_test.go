package store

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
)

// edit opens the database with Pebble alone and changes one key.
func edit(t *testing.T, fs vfs.FS, k, value []byte) {
	t.Helper()
	db, err := pebble.Open("/home/node/ledger", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set(k, value, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	newer := func(t *testing.T, fs *vfs.MemFS) { edit(t, fs, formatKey, []byte{0, 0, 0, FormatVersion + 1}) }
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *vfs.MemFS)
		want    error
	}{
		{"newer key table", newer, ErrNewerFormat},
		{"version of wrong length", func(t *testing.T, fs *vfs.MemFS) { edit(t, fs, formatKey, []byte{1}) }, ErrCorrupt},
		{"version zero", func(t *testing.T, fs *vfs.MemFS) { edit(t, fs, formatKey, make([]byte, 4)) }, ErrCorrupt},
		{"torn head", func(t *testing.T, fs *vfs.MemFS) { edit(t, fs, headKey, []byte{1, 2}) }, ErrCorrupt},
		{"newer Pebble", newerPebble, ErrNewerFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewMem()
			if err := open(t, small(fs)).Close(); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, fs)
			if _, err := Open("/home/node/ledger", small(fs)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("foreign", func(t *testing.T) {
		t.Parallel()
		fs := vfs.NewMem()
		edit(t, fs, []byte("someone's key"), []byte("value"))
		if _, err := Open("/home/node/ledger", small(fs)); !errors.Is(err, ErrForeign) {
			t.Errorf("%v, want ErrForeign", err)
		}
	})
	t.Run("locked", func(t *testing.T) {
		t.Parallel()
		for name, o := range map[string]Options{"memory": small(vfs.NewMem()), "disk": small(vfs.Default)} {
			dir := t.TempDir()
			s, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, o); !errors.Is(err, ErrLocked) {
				t.Errorf("%s: %v, want ErrLocked", name, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// newerPebble raises the number in the name of Pebble's format marker.
func newerPebble(t *testing.T, fs *vfs.MemFS) {
	t.Helper()
	names, err := fs.List("/home/node/ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "marker.format-version.") {
			to := n[:strings.LastIndexByte(n, '.')+1] + "999"
			if err := fs.Rename("/home/node/ledger/"+n, "/home/node/ledger/"+to); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFormat: the newest format of Pebble is in use, and the first log has what
// it takes to tell damage from an end.
func TestFormat(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	if v := s.db.FormatMajorVersion(); v < pebble.FormatWALSyncChunks || v != pebble.FormatNewest {
		t.Errorf("format %s", v)
	}
}

// TestOpenOnDisk runs on the machine's file system.
func TestOpenOnDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	var heads []Head
	var parent *types.Header
	for i := range 3 {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := testBlock(parent, uint64(i), i, 3)
		parent = b.Header()
		if err := errors.Join(s.PutBody(b.Hash(), raw(b)), s.Commit(commitOf(b, true))); err != nil {
			t.Fatal(err)
		}
		at, err := s.Head()
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, at)
		if free, err := s.FreeBytes(); err != nil || free == 0 {
			t.Errorf("free %d: %v", free, err)
		}
		if i == 2 {
			copied := filepath.Join(t.TempDir(), "copy")
			if err := s.Checkpoint(copied); err != nil {
				t.Fatal(err)
			}
			c, err := Open(copied, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Head(); err != nil || got != at {
				t.Errorf("copy at %+v: %v", got, err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if heads[2].Height != 2 || heads[2].Floor.View != 2 {
		t.Errorf("heads %+v", heads)
	}
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		t.Error(err)
	}
}

func TestPutBody(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	b := testBlock(nil, 0, 0, 2)
	whole := raw(b)
	for name, bad := range map[string][]byte{
		"empty":          {},
		"no list":        {0x80},
		"cut":            whole[:len(whole)-1],
		"more":           append(bytes.Clone(whole), 0),
		"uncles":         append(bytes.Clone(whole[:len(whole)-1]), 0xc1, 0x80),
		"header too few": {0xc3, 0xc0, 0xc0, 0xc0},
	} {
		if err := s.PutBody(crypto.Keccak256([]byte{0xc0}), bad); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v, want ErrBody", name, err)
		}
	}
	if err := s.PutBody(crypto.Hash{1}, whole); !errors.Is(err, ErrBody) {
		t.Errorf("another hash: %v, want ErrBody", err)
	}
	for range 2 {
		if err := s.PutBody(b.Hash(), whole); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.HeightByHash(b.Hash()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a proposed block is final: %v", err)
	}
	if err := s.Commit(commitOf(b, true)); err != nil {
		t.Fatal(err)
	}
	late := testBlock(nil, 0, 7, 1)
	if err := s.PutBody(late.Hash(), raw(late)); err != nil {
		t.Fatal(err)
	}
	if held, err := s.HasBody(late.Hash()); err != nil || held {
		t.Errorf("a dead body is kept: %v %v", held, err)
	}
	big := testBlock(b.Header(), 9, 1, 900) // more than a memtable
	if err := s.PutBody(big.Hash(), raw(big)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Body(big.Hash()); err != nil || !bytes.Equal(got, raw(big)) {
		t.Errorf("a large body: %d bytes, %v", len(got), err)
	}
}

func TestCommitErrors(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	a := testBlock(nil, 0, 0, 2)
	b := testBlock(a.Header(), 1, 1, 2)
	if err := s.Commit(commitOf(a, true)); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a body: %v, want ErrNotFound", err)
	}
	if err := s.PutBody(b.Hash(), raw(b)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(commitOf(b, true)); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("height 1 first: %v, want ErrOutOfOrder", err)
	}
	if err := errors.Join(s.PutBody(a.Hash(), raw(a)), s.Commit(commitOf(a, true), commitOf(b, true))); err != nil {
		t.Fatal(err)
	}
	other := testBlock(a.Header(), 5, 3, 0)
	if err := s.Commit(commitOf(other, true)); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("another block at the head's height: %v, want ErrOutOfOrder", err)
	}
	if err := s.Certify(a.Hash(), nil, Floor{View: 9}, nil); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("certificate of another block than the head: %v, want ErrOutOfOrder", err)
	}
	if err := s.Certify(b.Hash(), nil, Floor{}, nil); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("floor moves back: %v, want ErrOutOfOrder", err)
	}
}

// TestSweepAboveHead: bodies of views that are over go whatever height they
// claim, bodies of later views stay.
func TestSweepAboveHead(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	a := testBlock(nil, 0, 0, 0)
	b := testBlock(a.Header(), 5, 1, 1)
	far := testBlock(&types.Header{Number: new(uint256.Int).SetUint64(math.MaxUint64 - 1).ToBig()}, 4, 2, 1)
	next := testBlock(b.Header(), 6, 3, 1)
	for _, x := range []*types.Block{a, b, far, next} {
		if err := s.PutBody(x.Hash(), raw(x)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(commitOf(a, false), commitOf(b, true)); err != nil {
		t.Fatal(err)
	}
	for x, want := range map[*types.Block]bool{a: true, b: true, far: false, next: true} {
		if held, err := s.HasBody(x.Hash()); err != nil || held != want {
			t.Errorf("block of height %d held: %v, want %v, %v", x.NumberU64(), held, want, err)
		}
		if _, err := s.Body(x.Hash()); (err == nil) != want {
			t.Errorf("body of height %d: %v", x.NumberU64(), err)
		}
	}
}

// TestEqualHashPrefixes: transactions whose hashes begin alike are all found.
func TestEqualHashPrefixes(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	b := testBlock(nil, 0, 0, 3)
	c := commitOf(b, true)
	for i := range c.Transactions {
		c.Transactions[i] = crypto.Hash{1, 2, 3, 4, 5, 6, 7, 8, byte(i)}
	}
	if err := errors.Join(s.PutBody(b.Hash(), raw(b)), s.Commit(c)); err != nil {
		t.Fatal(err)
	}
	places, err := s.TxLookup(c.Transactions[1])
	if err != nil || !slices.Equal(places, []Place{{0, 0}, {0, 1}, {0, 2}}) {
		t.Errorf("places %v: %v", places, err)
	}
	if places, err := s.TxLookup(crypto.Hash{1, 2, 3, 4, 5, 6, 7, 9}); err != nil || len(places) != 0 {
		t.Errorf("places %v: %v", places, err)
	}
}

func TestSmallValues(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	if _, err := s.Meta("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	if err := errors.Join(s.PutMeta("x", []byte("1")), s.PutMeta("x", []byte("2")), s.PutMeta("xy", nil)); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Meta("x"); err != nil || string(v) != "2" {
		t.Errorf("%q %v", v, err)
	}
	for i := range byte(3) {
		if err := s.PutLocalTx(crypto.Hash{i}, []byte{i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteLocalTx(crypto.Hash{1}); err != nil {
		t.Fatal(err)
	}
	txs, err := s.LocalTxs()
	if err != nil || !reflect.DeepEqual(txs, []LocalTx{{crypto.Hash{0}, []byte{0}}, {crypto.Hash{2}, []byte{2}}}) {
		t.Errorf("%v %v", txs, err)
	}
}

// TestSnapshot: a snapshot shows one version while commits go on.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := openMem(t)
	script := newScript(12)
	if err := errors.Join(s.PutBody(script.blocks[0].Hash(), raw(script.blocks[0])), s.Commit(commitOf(script.blocks[0], true))); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	b := script.blocks[1]
	if err := errors.Join(s.PutBody(b.Hash(), raw(b)), s.Commit(commitOf(b, true))); err != nil {
		t.Fatal(err)
	}
	at, err := snap.Head()
	slot, serr := snap.Slot(address(0), crypto.Hash{1})
	if err != nil || serr != nil || at.Height != 0 || slot != (crypto.Hash{}) {
		t.Errorf("head %d, slot %s: %v %v", at.Height, slot, err, serr)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestClose: it waits for readers, and every call after it says ErrClosed.
func TestClose(t *testing.T) {
	t.Parallel()
	s := open(t, small(vfs.NewMem()))
	var readers sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		readers.Go(func() {
			started <- struct{}{}
			for {
				if _, err := s.Meta("x"); errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	readers.Wait()
	_, snapErr := s.Snapshot()
	for name, err := range map[string]error{
		"Head": second(s.Head()), "Records": s.Records(nil), "PutMeta": s.PutMeta("x", nil), "Snapshot": snapErr,
		"Compact": s.Compact(), "Sync": s.Sync(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestNodeKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var walk func(path []byte)
	walk = func(path []byte) {
		for _, owner := range []crypto.Hash{{}, {1}} {
			k := string(nodeKey(owner, path))
			if seen[k] {
				t.Fatalf("path %x has the key of another", path)
			}
			seen[k] = true
		}
		if len(path) < 3 {
			for d := range byte(16) {
				walk(append(bytes.Clone(path), d))
			}
		}
	}
	walk(nil)
}

func TestAccountRoundTrip(t *testing.T) {
	t.Parallel()
	full := *chain.NewAccount(new(uint256.Int).Not(new(uint256.Int)))
	full.Nonce, full.StorageRoot, full.CodeHash = math.MaxUint64, crypto.Hash{1}, crypto.Hash{2}
	for _, a := range []*chain.Account{nil, chain.NewAccount(new(uint256.Int)), chain.NewAccount(uint256.NewInt(256)), &full} {
		indexes := []uint32{0, 7, 8, math.MaxUint32}
		got, rest, err := parseAccount(appendIndexes(appendAccount(nil, a), indexes))
		if err != nil || (got == nil) != (a == nil) || a != nil && !reflect.DeepEqual(got.Encode(), a.Encode()) {
			t.Errorf("%+v became %+v: %v", a, got, err)
		}
		if back, err := parseIndexes(rest); err != nil || !slices.Equal(back, indexes) {
			t.Errorf("indexes %v: %v", back, err)
		}
	}
}

func TestOutcomesRoundTrip(t *testing.T) {
	t.Parallel()
	log := &types.Log{Address: address(1), Topics: []crypto.Hash{{1}, {2}}, Data: []byte("data")}
	receipts := types.Receipts{
		{Status: 1, GasUsed: 21_000},
		{Status: 1, GasUsed: 21_000},
		{Status: 0, GasUsed: 21_000},
		{Status: 1, GasUsed: 21_000, Logs: []*types.Log{log, log}},
		{Status: 1, GasUsed: 21_000},
	}
	b, err := encodeOutcomes(receipts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeOutcomes(b)
	if err != nil || len(got) != len(receipts) {
		t.Fatalf("%d outcomes: %v", len(got), err)
	}
	for i, o := range got {
		r := receipts[i]
		if o.Status != r.Status || o.GasUsed != r.GasUsed || !reflect.DeepEqual(o.Logs, r.Logs) {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	same := make(types.Receipts, 5000)
	for i := range same {
		same[i] = receipts[0]
	}
	if b, err := encodeOutcomes(same); err != nil || len(b) > 6 {
		t.Errorf("5,000 plain transfers take %d bytes: %v", len(b), err)
	}
}

func FuzzParseAccount(f *testing.F) {
	f.Add(appendAccount(nil, chain.NewAccount(uint256.NewInt(1e18))))
	f.Add(appendIndexes(appendAccount(nil, nil), []uint32{1, 2, 300}))
	f.Add([]byte{3, 1, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, rest, err := parseAccount(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got, rest2, err := parseAccount(append(appendAccount(nil, a), rest...)); err != nil || !bytes.Equal(rest, rest2) || (got == nil) != (a == nil) {
			t.Fatalf("%+v became %+v: %v", a, got, err)
		}
		if _, err := parseIndexes(rest); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeOutcomes(f *testing.F) {
	f.Add([]byte{1, 2, 0})
	f.Add([]byte{1, 2, 1, 0xc0, 5, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decodeOutcomes(b); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzSplitBlock(f *testing.F) {
	f.Add(raw(testBlock(nil, 0, 0, 2)))
	f.Add([]byte{0xc3, 0xc0, 0xc0, 0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		header, transactions, err := splitBlock(b)
		if err != nil {
			return
		}
		if got := joinBlock(header, transactions); !bytes.Equal(got, b) {
			t.Fatalf("%x became %x", b, got)
		}
		_, _ = headerNumber(header)
	})
}

func FuzzCheckLog(f *testing.F) {
	mem := vfs.NewCrashableMem()
	s := open(f, small(mem))
	for i := range 5 {
		if err := s.PutRecords([]Record{{recordKey(uint64(i)), noise(i, 0)}}); err != nil {
			f.Fatal(err)
		}
	}
	names, err := mem.List("/home/node/ledger")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			file, err := mem.Open("/home/node/ledger/" + n)
			if err != nil {
				f.Fatal(err)
			}
			b := make([]byte, 4096)
			k, _ := file.Read(b)
			f.Add(b[:k], uint32(4))
			_ = file.Close()
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, number uint32) {
		l := logFile{b, number}
		if end := l.end(); end > len(b) {
			t.Fatalf("end %d of %d bytes", end, len(b))
		} else {
			l.syncedBeyond(end)
		}
	})
}
