package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"cairn/genesis"
)

// TestRepairFromPeers: a validator whose stored block is damaged is repaired up to
// it, gets the rest from the others, and votes again by itself.
func TestRepairFromPeers(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, func(s *genesis.Spec) { s.Rules.MinBlockInterval = 1 })
	for i := range 8 {
		c.pay(i%4, i%4, 0, 1, 2, 3)
	}
	c.stop(3)
	db, err := pebble.Open(filepath.Join(c.homes[3], DataDir), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	keys, values := rows(t, db, 'b')
	at := len(keys) / 2
	values[at][len(values[at])-1] ^= 1
	if err := errors.Join(db.Set(keys[at], values[at], pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	tell := func(string, uint64, uint64) {}
	r, err := Repair(t.Context(), c.homes[3], tell)
	if err != nil {
		t.Fatal(err)
	}
	if r.Height != uint64(at)-1 || r.Why == "" || !strings.HasSuffix(r.Kept, "data.damaged") {
		t.Errorf("%+v, block %d was damaged", r, at)
	}
	if _, err := Repair(t.Context(), c.homes[3], tell); !errors.Is(err, ErrKept) {
		t.Errorf("over a kept one: %v", err)
	}
	c.start(3)
	if why := c.nodes[3].driver.instance.doubt; why != "the database was repaired" {
		t.Errorf("doubt %q", why)
	}
	c.await("node 3 has caught up", func() bool { return c.height(3) >= c.height(0) })
	c.await("node 3 votes after a few final blocks", func() bool {
		if c.nodes[3].Status().Voting {
			return true
		}
		c.pay(0, 0, 0, 1, 2, 3)
		return false
	})
	c.sameChain()
}

// TestRollbackAndReturn: a full node that was rolled back catches up again.
func TestRollbackAndReturn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, func(s *genesis.Spec) { s.Rules.MinBlockInterval = 1 })
	c.startFirst(2)
	for i := range 8 {
		c.pay(0, i%4, 0, 1)
	}
	c.stop(1)
	tell := func(string, uint64, uint64) {}
	if _, err := Rollback(t.Context(), c.homes[1], 1<<40, tell); !errors.Is(err, ErrHeight) {
		t.Error(err)
	}
	r, err := Rollback(t.Context(), c.homes[1], 3, tell)
	if err != nil || r.Height != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	c.start(1)
	c.await("node 1 has caught up", func() bool { return c.height(1) == c.height(0) })
	c.sameChain()
	c.stop(0)
	if _, err := Rollback(t.Context(), c.homes[0], 3, tell); !errors.Is(err, ErrAlone) {
		t.Errorf("a validator alone: %v", err)
	}
}

// TestSwitch: a crash between any two steps of a change of the database leaves one
// that the next start finishes: the old one before the decision, the new one after.
func TestSwitch(t *testing.T) {
	t.Parallel()
	has := func(home, dir string) string {
		raw, err := os.ReadFile(filepath.Join(home, dir, "id"))
		if errors.Is(err, os.ErrNotExist) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	put := func(home, dir, id string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(home, dir, "id"), id)
	}
	for name, tc := range map[string]struct {
		dirs map[string]string // directory → id
		keep string
		data string // id afterwards
		kept string // id of data.KEEP afterwards
	}{
		"nothing":                     {map[string]string{}, "", "", ""},
		"no change":                   {map[string]string{DataDir: "old"}, "", "old", ""},
		"not finished":                {map[string]string{DataDir: "old", partDir: "new"}, "", "old", ""},
		"not decided, place named":    {map[string]string{DataDir: "old", partDir: "new"}, "x", "old", ""},
		"decided":                     {map[string]string{DataDir: "old", newDir: "new"}, "", "new", ""},
		"decided, kept":               {map[string]string{DataDir: "old", newDir: "new"}, "x", "new", "old"},
		"old one away":                {map[string]string{oldDir: "old", newDir: "new"}, "", "new", ""},
		"old one away, kept":          {map[string]string{"data.x": "old", newDir: "new"}, "x", "new", "old"},
		"new one there, old one left": {map[string]string{oldDir: "old", DataDir: "new"}, "", "new", ""},
		"new one there, name left":    {map[string]string{"data.x": "old", DataDir: "new"}, "x", "new", "old"},
		"first one":                   {map[string]string{newDir: "new"}, "x", "new", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			for dir, id := range tc.dirs {
				put(home, dir, id)
			}
			if tc.keep != "" {
				write(t, filepath.Join(home, keepTo), tc.keep)
			}
			for range 2 {
				if err := finishSwitch(home); err != nil {
					t.Fatal(err)
				}
			}
			if got := has(home, DataDir); got != tc.data {
				t.Errorf("data is %q, want %q", got, tc.data)
			}
			if got := has(home, "data.x"); got != tc.kept {
				t.Errorf("data.x is %q, want %q", got, tc.kept)
			}
			for _, left := range []string{partDir, newDir, oldDir, keepTo} {
				if exists(filepath.Join(home, left)) {
					t.Errorf("%s is left", left)
				}
			}
		})
	}
	home := t.TempDir()
	put(home, DataDir, "old")
	put(home, partDir, "new")
	if err := switchData(home, filepath.Join(home, partDir), "x"); err != nil || has(home, DataDir) != "new" || has(home, "data.x") != "old" {
		t.Errorf("%v", err)
	}
	put(home, partDir, "newer")
	if err := switchData(home, filepath.Join(home, partDir), "x"); !errors.Is(err, ErrKept) || has(home, DataDir) != "new" {
		t.Errorf("%v", err)
	}
}
