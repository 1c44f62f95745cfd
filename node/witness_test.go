package node

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/store"
)

// TestWitness: the newer slot counts, one that is torn leaves the other, and
// neither a missing file nor one of another run says anything.
func TestWitness(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	path := filepath.Join(home, WitnessFile)
	run, other := instanceID{1}, instanceID{2}
	lost := func(what string, id instanceID, written, want uint64) {
		t.Helper()
		if got, err := lostWrites(home, id, written); err != nil || got != want {
			t.Errorf("%s: %d writes are lost, want %d; %v", what, got, want, err)
		}
	}
	lost("no file", run, 0, 0)
	failures := 0
	open := func() *witness {
		return openWitness(home, slog.New(slog.DiscardHandler), func() { failures++ })
	}
	w := open()
	lost("a new file", run, 0, 0)
	w.note(run, 7)
	lost("one note", run, 7, 0)
	lost("one note, none there", run, 0, 7)
	w.note(run, 8)
	lost("two notes", run, 7, 1)
	w.close()
	w = open() // goes on with the older slot
	w.note(run, 9)
	w.close()
	w.close()
	lost("opened again", run, 7, 2)
	lost("another run", other, 0, 0)
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) != 2*witnessSector {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for slot, left := range []uint64{1, 2} { // 9 is in the first, 8 in the second
		for at := range witnessLength {
			torn := slices.Clone(whole)
			torn[slot*witnessSector+at] ^= 4
			write(t, path, string(torn))
			lost("a torn slot", run, 7, left)
		}
	}
	for _, length := range []int{0, 3, witnessLength - 1} {
		write(t, path, string(whole[:length]))
		lost("cut short", run, 7, 0)
	}
	write(t, path, string(whole)+"more")
	lost("too long", run, 7, 2)
	w = open()
	w.note(run, 11)
	w.close()
	lost("after too long a file", run, 7, 4)
	if w.problem() != "" || failures > 0 {
		t.Errorf("%d failures: %s", failures, w.problem())
	}
}

// FuzzWitness: a slot is one that encode makes, or none.
func FuzzWitness(f *testing.F) {
	f.Add(testimony{instanceID{1, 2}, 3}.encode())
	f.Add(testimony{}.encode()[1:])
	f.Add([]byte(witnessMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := decodeTestimony(b); ok && !bytes.Equal(s.encode(), b[:witnessLength]) {
			t.Errorf("%x is read as %+v", b, s)
		}
	})
}

// TestLostVote: a validator whose database lost its last vote, in a way that the
// database takes for a power loss, observes and says why; then it votes again.
func TestLostVote(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, data, earlier string){
		"a flipped bit in the last write": func(t *testing.T, data, _ string) { flipLast(t, data) },
		"a database of earlier in the same run": func(t *testing.T, data, earlier string) {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(earlier, data); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := running(t, 4, 0, nil)
			c.pay(0, 0, 0, 1, 2, 3)
			killed := c.killedAfterVote(spoil)
			if err := os.RemoveAll(c.homes[3]); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(killed, c.homes[3]); err != nil {
				t.Fatal(err)
			}
			c.start(3)
			c.observes(3, "of its synced writes of votes")
			if lost := c.metric(3, "cairn_lost_vote_writes"); lost < 1 {
				t.Errorf("cairn_lost_vote_writes is %v", lost)
			}
			c.stop(3)
			c.start(3)
			c.observes(3, "of its synced writes of votes")
			for i := range 3 {
				c.start(i)
			}
			c.votesAgain(1)
		})
	}
}

// killedAfterVote stops every node, and answers a copy of the home of node 3 as
// kill -9 leaves it: the last write of its log is a vote. spoil changes the
// database of the copy; it is also given one from before the vote.
func (c *cluster) killedAfterVote(spoil func(t *testing.T, data, earlier string)) (home string) {
	c.t.Helper()
	r := c.nodes[3]
	earlier := filepath.Join(c.t.TempDir(), "earlier")
	var before uint64
	// On a slow machine node 3 may have given up the view that it is in, and
	// without the others it comes to no other one in which it could vote.
	c.payUntil(0, "node 3 has not given its view up", func() bool {
		before = r.store.Written()
		if err := errors.Join(os.RemoveAll(earlier), r.store.Checkpoint(earlier)); err != nil {
			c.t.Fatal(err)
		}
		return !c.gaveUp(3)
	})
	for i := range 3 {
		c.stop(i)
	}
	c.submit(3, c.sign(testKey(4), crypto.Address{19: 9}, 1, 21_000, nil))
	c.await("node 3 gives the view up", func() bool { return c.gaveUp(3) && r.store.Written() > before })
	r.stop()
	if err := <-r.done; err != nil {
		c.t.Fatal(err)
	}
	r.done <- nil // for the clean stop of what was copied
	home = filepath.Join(c.t.TempDir(), "killed")
	copyDir(c.t, home, c.homes[3])
	for _, name := range []string{ValidatorKeyFile, PeerKeyFile, InstanceFile, WitnessFile} {
		if err := os.Chmod(filepath.Join(home, name), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	c.stop(3)
	spoil(c.t, filepath.Join(home, DataDir), earlier)
	return home
}

// gaveUp says whether node i has voted to nullify the view that it is in.
func (c *cluster) gaveUp(i int) (nullified bool) {
	c.t.Helper()
	if err := c.nodes[i].store.Records(func(_, value []byte) error {
		rec, err := consensus.DecodeRecord(value)
		nullified = nullified || err == nil && rec.Vote != nil && rec.Vote.Kind == consensus.Nullify && rec.Vote.View == c.view(i)
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	return nullified
}

// flipLast flips a bit in the last byte that was written to the newest log.
func flipLast(t *testing.T, data string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(data, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	slices.Sort(logs)
	name := logs[len(logs)-1]
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	written := bytes.TrimRight(b, "\x00")
	b[len(written)-1] ^= 1
	write(t, name, string(b))
	st, err := store.Open(data, store.Options{})
	if err != nil {
		t.Fatalf("the database notices by itself: %v", err) // then this test has the wrong place
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWitnessFails: a witness that cannot be written is told, and the validator
// votes on.
func TestWitnessFails(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 0, nil)
	if err := os.Symlink("/dev/full", filepath.Join(c.homes[3], WitnessFile)); err != nil { // every write fails: no room
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(c.homes[2], WitnessFile), 0o700); err != nil {
		t.Fatal(err)
	}
	c.startFirst(4)
	c.stop(1) // nodes 2 and 3 are needed
	c.pay(0, 0, 0, 2, 3)
	for _, i := range []int{2, 3} {
		s := c.nodes[i].Status()
		if !s.Voting || !s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), "the witness of the vote log is not written") {
			t.Errorf("node %d: %+v", i, s)
		}
		if failures := c.metric(i, "cairn_witness_failures_total"); failures < 1 {
			t.Errorf("node %d: cairn_witness_failures_total is %v", i, failures)
		}
	}
	if s := c.nodes[0].Status(); len(s.Problems) > 0 {
		t.Errorf("node 0: %v", s.Problems)
	}
}

// metric is a metric without labels of node i.
func (c *cluster) metric(i int, name string) float64 {
	c.t.Helper()
	families, err := c.nodes[i].driver.meters.registry.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is nil
		}
	}
	c.t.Fatalf("there is no metric %s", name)
	return 0
}
