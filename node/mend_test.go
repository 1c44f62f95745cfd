package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/ledger"
	"cairn/ledger/store"
)

// TestMendedBlocks: where a flipped bit hides a few blocks, a repair keeps all else,
// the node runs without them, says so, answers that it has not these, and fetches
// them from the others; then it answers as they do.
func TestMendedBlocks(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	for range 16 {
		c.burst(80)
	}
	c.await("all are in step", func() bool { return c.height(victim) == c.height(0) })
	for i := range 4 {
		c.stop(i)
	}
	c.hideBlocks(victim)
	if c.damageFound("hidden blocks") == "" {
		t.Fatal("db check finds nothing")
	}
	r, err := Repair(t.Context(), c.homes[victim], func(string, uint64, uint64) {})
	if err != nil || !r.Mended || r.Awaited == 0 || r.Why != "" || !strings.HasSuffix(r.Kept, "data.damaged") {
		t.Fatalf("%+v, %v", r, err)
	}
	if found := c.damageFound("mended"); found != "" {
		t.Fatalf("after the repair: %s", found)
	}
	c.start(victim)
	d := c.nodes[victim].driver
	awaited, err := d.store.Awaited()
	if err != nil || len(awaited) != r.Awaited {
		t.Fatalf("awaited %v, %v; %d were told", awaited, err, r.Awaited)
	}
	told := func() bool {
		return strings.Contains(strings.Join(c.nodes[victim].Status().Problems, "\n"), "damaged blocks are being fetched")
	}
	c.await("status says it", told)
	missing := 0
	for _, h := range awaited {
		if _, err := d.ledger.Receipts(h); errors.Is(err, ledger.ErrAwaited) {
			missing++
		} else if err != nil {
			t.Errorf("block %d: %v", h, err)
		}
	}
	if missing == 0 {
		t.Error("every awaited block is here")
	}
	if height := d.ledger.HeadInfo().Height; height != r.Height {
		t.Errorf("the head is %d, was %d", height, r.Height)
	}
	for i := range 3 {
		c.start(i)
	}
	c.await("every block is here", func() bool {
		left, err := d.store.Awaited()
		return err == nil && len(left) == 0 && !told()
	})
	c.payUntil(0, "node 3 votes again", func() bool { return c.votes(victim) })
	c.await("all are in step", func() bool { return c.height(victim) == c.height(0) })
	if err := c.alike("mended", d.ledger, c.nodes[0].driver.ledger); err != nil {
		t.Error(err)
	}
	c.sameChain()
	c.stop(victim)
	if found := c.damageFound("fetched"); found != "" {
		t.Errorf("at the end: %s", found)
	}
}

// hideBlocks flips a bit in the table files of a stopped node where it hides
// transactions of blocks and nothing else.
func (c *cluster) hideBlocks(i int) {
	c.t.Helper()
	data := filepath.Join(c.homes[i], DataDir)
	h, err := OpenHome(c.homes[i], "")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(h.Store.Compact(), h.Close()); err != nil {
		c.t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(data, "*.sst"))
	if err != nil || len(tables) == 0 {
		c.t.Fatal(tables, err)
	}
	const places = 64 // of each file: blocks of a table are a small part of that
	for _, name := range tables {
		whole, err := os.ReadFile(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for k := range places {
			damaged := append([]byte(nil), whole...)
			damaged[len(whole)*k/places] ^= 1
			write(c.t, name, string(damaged))
			if c.hidesBlocks(data) {
				return
			}
		}
		write(c.t, name, string(whole))
	}
	c.t.Fatal("no place hides transactions only")
}

func (c *cluster) hidesBlocks(data string) bool {
	c.t.Helper()
	st, err := store.Open(data, store.Options{})
	if errors.Is(err, store.ErrCorrupt) {
		return false
	}
	if err != nil {
		c.t.Fatal(err)
	}
	gaps, err := st.Gaps(c.t.Context())
	if err := errors.Join(st.Close()); err != nil {
		c.t.Fatal(err)
	}
	return err == nil && len(gaps) == 1 && gaps[0].From[0] == 'b' && len(gaps[0].To) > 0 && gaps[0].To[0] == 'b'
}
