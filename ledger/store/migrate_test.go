package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store/storetest"
)

// toFormatOne rewrites a database of today as a program of format 1 wrote it, and
// adds accounts and slots of its own.
func toFormatOne(t *testing.T, fs vfs.FS, more int) {
	t.Helper()
	db, err := pebble.Open("/home/node/ledger", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key(), it.Value()
		n := map[byte]int{prefixAccount: 20, prefixSlot: 52}[k[0]]
		if n == 0 {
			continue
		}
		_ = b.Delete(k, nil)
		_ = b.Set(key(k[0], v[:n]), v[n:], nil)
	}
	for i := range more {
		a, slot := manyAddress(i), crypto.Hash(noise(i, 8))
		_ = b.Set(key(prefixAccount, a[:]), appendAccount(nil, chain.NewAccount(balance(i, 1))), nil)
		_ = b.Set(key(prefixSlot, a[:], slot[:]), []byte{byte(i) | 1}, nil)
	}
	_ = b.Set(formatKey, []byte{0, 0, 0, 1}, nil)
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func manyAddress(i int) crypto.Address { return crypto.Address(noise(i, 7)) }

// checkMigrated: everything that the blocks wrote is there, and the accounts and
// slots of toFormatOne, each once.
func checkMigrated(fs vfs.FS, s *script, more int) error {
	st, err := Open("/home/node/ledger", small(fs))
	if err != nil {
		return err
	}
	defer st.Close()
	if err := checkAt(st, s.blocks, func(h uint64) bool { return s.certified[h] }); err != nil {
		return err
	}
	accounts, slots := 0, 0
	if err := st.EachAccount(func(crypto.Address, *chain.Account) error { accounts++; return nil }); err != nil {
		return err
	}
	if err := st.EachSlot(func(crypto.Address, crypto.Hash, crypto.Hash) error { slots++; return nil }); err != nil {
		return err
	}
	if accounts != addresses+more || slots != 1+more {
		return fmt.Errorf("%d accounts and %d slots, want %d and %d", accounts, slots, addresses+more, 1+more)
	}
	for i := 0; i < more; i += 997 {
		acc, err := st.Account(manyAddress(i))
		if err != nil || acc == nil || !acc.Balance.Eq(balance(i, 1)) {
			return fmt.Errorf("account %d: %+v %w", i, acc, err)
		}
		v, err := st.Slot(manyAddress(i), crypto.Hash(noise(i, 8)))
		if err != nil || v[31] != byte(i)|1 {
			return fmt.Errorf("slot %d: %s %w", i, v, err)
		}
	}
	if raw, err := st.get("format", formatKey); err != nil || binary.BigEndian.Uint32(raw) != FormatVersion {
		return fmt.Errorf("format %x %w", raw, err)
	}
	return nil
}

// TestMigrateFormatOne: a database of format 1 has everything after it was opened
// once, wherever the power is cut meanwhile.
func TestMigrateFormatOne(t *testing.T) {
	t.Parallel()
	const more = migrateRows + 300
	mem := vfs.NewCrashableMem()
	s := newScript(11)
	st := open(t, small(mem))
	if err := s.run(st); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	toFormatOne(t, mem, more)
	var mu sync.Mutex
	var moments []*vfs.MemFS
	observe := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			moments = append(moments, mem.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	})
	if err := open(t, small(storetest.FS(errorfs.Wrap(mem, observe)))).Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkMigrated(mem, s, more); err != nil {
		t.Fatal(err)
	}
	if len(moments) < 10 {
		t.Fatalf("only %d moments", len(moments))
	}
	for i, fs := range moments {
		if i%(1+len(moments)/12) != 0 {
			continue
		}
		if err := checkMigrated(fs, s, more); err != nil {
			t.Fatalf("power lost at moment %d of %d: %v", i, len(moments), err)
		}
	}
}
