package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/store"
)

// findings runs Check on an open database and answers what it found.
func findings(t *testing.T, st *store.Store, spec *genesis.Spec) (found []string, result CheckResult, err error) {
	t.Helper()
	result, err = Check(t.Context(), st, spec, CheckOptions{
		Finding:  func(text string) { found = append(found, text) },
		Note:     func(text string) { t.Logf("note: %s", text) },
		Progress: func(string, uint64, uint64) {},
	})
	return found, result, err
}

// checked is findings of a database of node 0, which is stopped.
func checked(t *testing.T, c *cluster, data string) ([]string, CheckResult) {
	t.Helper()
	h, err := OpenHome(c.homes[0], data)
	if err != nil {
		t.Fatal(err)
	}
	found, result, err := findings(t, h.Store, h.Spec)
	if err := errors.Join(err, h.Close()); err != nil {
		t.Fatal(err)
	}
	return found, result
}

// rows are the keys of a table, in order.
func rows(t *testing.T, db *pebble.DB, prefix byte) (keys, values [][]byte) {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		keys, values = append(keys, bytes.Clone(it.Key())), append(values, bytes.Clone(it.Value()))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if len(keys) == 0 {
		t.Fatalf("table %c is empty", prefix)
	}
	return keys, values
}

// TestCheck: a sound database has no findings; of planted damage each is named.
func TestCheck(t *testing.T) {
	t.Parallel()
	c := one(t, 0, nil)
	for i := range 8 {
		c.pay(0, i%4, 0)
	}
	c.stop(0)
	sound := filepath.Join(c.homes[0], DataDir)
	findings, result := checked(t, c, "")
	if len(findings) > 0 || result.Transactions != 8 || result.Height < 1 || result.Certificates != result.Height || result.Accounts < 6 || result.Slots == 0 {
		t.Fatalf("sound: %v %+v", findings, result)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	// last replaces a byte of the last row of a table.
	last := func(prefix byte, at int) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) {
			keys, values := rows(t, db, prefix)
			i := len(keys) - 1
			if err := db.Set(keys[i], flip(values[i], at), pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	// gone removes the n-th row of a table, counted from the end if negative.
	gone := func(prefix byte, n int) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) {
			keys, _ := rows(t, db, prefix)
			if err := db.Delete(keys[(n+len(keys))%len(keys)], pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	// hashOf gives a block's hash, by the order of the hashes, another height.
	hashOf := func(height func(heights [][]byte) []byte) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) {
			keys, values := rows(t, db, 'i')
			if err := db.Set(keys[0], height(values), pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	extra := func(key, value []byte) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) {
			if err := db.Set(key, value, pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}
	}
	nobody := make([]byte, 20)
	hashed := func(prefix byte, parts ...[]byte) []byte { // a key in the order of the trie
		k := []byte{prefix}
		for _, p := range parts {
			h := crypto.Keccak256(p)
			k = append(k, h[:]...)
		}
		return k
	}
	for name, tc := range map[string]struct {
		plant func(*testing.T, *pebble.DB)
		want  string
	}{
		"account value":        {last('a', -1), "the row says"},
		"account gone":         {gone('a', 2), "but there is no row for it"},
		"account too many":     {extra(hashed('a', nobody), append(nobody[:20:20], 0, 0, 1, 5)), "is not in the state root"},
		"account row torn":     {extra(hashed('a', nobody), append(nobody[:20:20], 9)), "accounts: the database is corrupt"},
		"account trie node":    {last('n', -1), "trie of account, node at path"},
		"account trie root":    {gone('n', 0), "node at path"},
		"slot value":           {last('s', -1), "the row says"},
		"slot gone":            {gone('s', 0), "but there is no row for it"},
		"slot of nobody":       {extra(hashed('s', nobody, make([]byte, 32)), append(make([]byte, 52), 1)), "has no storage"},
		"storage trie node":    {gone('o', -1), "trie of slot of"},
		"code":                 {last('k', 0), "the code of account"},
		"code gone":            {gone('k', 0), "code of account"},
		"transaction index":    {gone('t', 3), "is not in the index"},
		"index of nothing":     {extra(binary.AppendUvarint(binary.AppendUvarint([]byte("t12345678"), 1), 99), nil), "index 99, where there is none"},
		"receipt":              {last('q', 1), "receipts"},
		"receipts gone":        {gone('q', 1), "receipts 1: "},
		"header":               {last('h', -3), "header"},
		"header gone":          {gone('h', 1), "block 1: "},
		"body":                 {last('b', -1), "body"},
		"body gone":            {gone('b', 1), "body 1: "},
		"final hash":           {last('c', -1), "block"},
		"final hash gone":      {gone('c', 1), "block 1: "},
		"height by hash":       {hashOf(func(heights [][]byte) []byte { return heights[1] }), "is not final"},
		"height above head":    {hashOf(func(heights [][]byte) []byte { return flip(heights[0], 0) }), "not in the store"},
		"certificate":          {last('f', -1), "signature"},
		"certificate torn":     {extra(append([]byte{'f'}, 0, 0, 0, 0, 0, 0, 0, 1), []byte{1}), "certificate 1: "},
		"certificate gone":     {gone('f', -1), "has no finalization"},
		"certificate too high": {extra(append([]byte{'f'}, 9, 0, 0, 0, 0, 0, 0, 1), []byte{1}), "above the head"},
		"account history":      {last('y', 2), "than its history"},
		"account history gone": {gone('y', 0), "history"},
		"slot history":         {last('z', -1), "its history"},
		"slot history gone":    {gone('z', 0), "have a history"},
		"vote record":          {extra([]byte("r0123456789abc"), []byte{1, 2}), "vote record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			copyDir(t, data, sound)
			db, err := pebble.Open(data, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
			if err != nil {
				t.Fatal(err)
			}
			tc.plant(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			findings, result := checked(t, c, data)
			if !strings.Contains(strings.Join(findings, "\n"), tc.want) || int(result.Findings) != len(findings) {
				t.Errorf("want a finding with %q: %q %+v", tc.want, findings, result)
			}
		})
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(format) }

// TestCheckEnds: a check ends with its context.
func TestCheckEnds(t *testing.T) {
	t.Parallel()
	c := one(t, 1, nil)
	h := c.nodes[0].driver
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Check(ctx, h.store, c.spec, CheckOptions{Finding: func(string) {}, Note: func(string) {}, Progress: func(string, uint64, uint64) {}})
	if err != nil && !errors.Is(err, context.Canceled) { // a small database may be done before it looks
		t.Error(err)
	}
}

func TestOpenHome(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 0, nil)
	open := func(home, data string, want error) {
		t.Helper()
		h, err := OpenHome(home, data)
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if err == nil {
			_ = h.Close()
		}
	}
	open(t.TempDir(), "", ErrNoGenesis)
	open(c.homes[0], "", ErrNoData)
	open(c.homes[0], t.TempDir()+"/none", ErrNoData)
	c.start(0)
	open(c.homes[0], "", ErrLocked)
	open(c.homes[0], filepath.Join(c.homes[0], DataDir), store.ErrLocked)
	c.stop(0)
	open(c.homes[0], "", nil)
}
