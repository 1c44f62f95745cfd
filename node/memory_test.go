package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cairn/ledger"
	"cairn/ledger/store"
)

// replaceData puts another database in the place of node i's, with what the old
// one must not forget, and answers whether that is all. make fills the new one.
func (c *cluster) replaceData(i int, make func(data string)) bool {
	c.t.Helper()
	data := filepath.Join(c.homes[i], DataDir)
	next := data + ".next"
	make(next)
	from, err := store.Open(data, store.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	to, err := store.Open(next, store.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	whole, err := carryMemory(to, from)
	if err := errors.Join(err, from.Close(), to.Close(), os.RemoveAll(data), os.Rename(next, data)); err != nil {
		c.t.Fatal(err)
	}
	return whole
}

// TestCarryMemory: a validator goes on with another database that is as far as
// its own, and observes with one that is not.
func TestCarryMemory(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	for i := range 3 {
		c.pay(i, i, 0, 1, 2, 3)
	}
	c.stop(3)
	c.pay(0, 3, 0, 1, 2)
	c.stop(2)
	other := filepath.Join(c.homes[2], DataDir)
	if !c.replaceData(3, func(data string) { copyDir(t, data, other); forget(t, data) }) {
		t.Error("a newer database does not take over the memory")
	}
	c.start(2)
	c.start(3)
	if !c.votes(3) {
		t.Fatalf("it does not vote: %+v", c.nodes[3].Status())
	}
	c.needed(3, 1)
	c.stop(3)
	if c.replaceData(3, func(data string) {
		st, err := store.Open(data, store.Options{})
		if err == nil {
			_, err = ledger.Open(st, c.spec)
		}
		if err := errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Error("a database that is behind takes over the memory")
	}
	c.start(3)
	c.observes(3, "deleted or replaced")
	c.payUntil(0, "node 3 votes again", func() bool { return c.votes(3) })
	c.noEvidence()
	c.sameChain()
}

// forget takes another node's memory out of a database.
func forget(t *testing.T, data string) {
	t.Helper()
	st, err := store.Open(data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	err = st.Records(func(key, _ []byte) error { keys = append(keys, key); return nil })
	if err := errors.Join(err, st.DeleteRecords(keys), st.Close()); err != nil {
		t.Fatal(err)
	}
}
