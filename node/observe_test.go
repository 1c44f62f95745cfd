package node

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/store"
)

// payUntil makes blocks through node i until check is true.
func (c *cluster) payUntil(i int, what string, check func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for n := 0; !check(); n++ {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %d blocks; %+v", what, n, c.nodes[i].Status())
		}
		c.pay(i, n%4, i)
	}
}

// noEvidence fails if any running node saw a validator contradict itself.
func (c *cluster) noEvidence() {
	c.t.Helper()
	for i, r := range c.nodes {
		if r == nil {
			continue
		}
		if kept, err := r.driver.evidence(); err != nil || len(kept) > 0 {
			c.t.Errorf("node %d has evidence: %v, %v", i, kept, err)
		}
	}
}

// observes checks that node i signs nothing and says why.
func (c *cluster) observes(i int, why string) {
	c.t.Helper()
	s := c.nodes[i].Status()
	if s.Voting || !s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), why) {
		c.t.Fatalf("node %d should observe, because %s: %+v", i, why, s)
	}
}

func (c *cluster) votes(i int) bool {
	s := c.nodes[i].Status()
	return s.Voting && !strings.Contains(strings.Join(s.Problems, "\n"), "observes")
}

// votesAgain sees node 3, which observes, vote again by itself when others make
// blocks: node j can go then, and a plain restart changes nothing.
func (c *cluster) votesAgain(j int) {
	c.t.Helper()
	c.payUntil(0, "node 3 votes again", func() bool { return c.votes(3) })
	c.needed(3, j)
	c.stop(3)
	c.start(3)
	if !c.votes(3) {
		c.t.Errorf("a plain restart after it observes again: %+v", c.nodes[3].Status())
	}
	c.pay(3, 1, 0, 1, 2, 3)
	c.noEvidence()
	c.sameChain()
}

// needed shows that node i counts: with node j gone, no quorum is without it.
func (c *cluster) needed(i, j int) {
	c.t.Helper()
	c.stop(j)
	c.pay(i, 0, i)
	c.start(j)
	c.await("the stopped node is back", func() bool { return c.height(j) == c.height(i) })
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestObserver: a validator whose store is not the one that it used last signs
// nothing until what the others tell and what becomes final make it safe; then
// it votes, and its next restart is a plain one.
func TestObserver(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, c *cluster, before string)
		why   string
	}{
		"deleted data": {func(t *testing.T, c *cluster, _ string) {
			if err := os.RemoveAll(filepath.Join(c.homes[3], DataDir)); err != nil {
				t.Fatal(err)
			}
		}, "deleted"},
		"older copy": {func(t *testing.T, c *cluster, before string) {
			copyDir(t, filepath.Join(c.homes[3], DataDir), before)
		}, "not the one that this home used last"},
		"another home's store": {func(t *testing.T, c *cluster, _ string) {
			c.stop(2)
			copyDir(t, filepath.Join(c.homes[3], DataDir), filepath.Join(c.homes[2], DataDir))
			c.start(2)
		}, "not the one that this home used last"},
		"store in a new home": {func(t *testing.T, c *cluster, _ string) {
			if err := os.Remove(filepath.Join(c.homes[3], InstanceFile)); err != nil {
				t.Fatal(err)
			}
		}, "of another home"},
		"a backup": {func(t *testing.T, c *cluster, _ string) {
			data := filepath.Join(c.homes[3], DataDir)
			st, err := store.Open(data, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(backup(st, data+".copy"), st.Close(), os.RemoveAll(data), os.Rename(data+".copy", data)); err != nil {
				t.Fatal(err)
			}
		}, "restored from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := running(t, 4, 0, nil)
			c.pay(0, 0, 0, 1, 2, 3)
			c.stop(3)
			before := t.TempDir()
			copyDir(t, before, filepath.Join(c.homes[3], DataDir))
			c.start(3)
			c.await("a plain restart votes at once", func() bool { return c.votes(3) })
			for i := range 3 {
				c.pay(i, i, 0, 1, 2, 3)
			}
			c.stop(3)
			tc.spoil(t, c, before)
			c.start(3)
			c.observes(3, tc.why)
			// A restart in between changes nothing.
			c.stop(3)
			c.start(3)
			c.observes(3, tc.why)
			c.votesAgain(1)
		})
	}
}

// TestTwin: a vote of our own key that we did not make ends our voting, says so,
// and makes the next start an observer.
func TestTwin(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	d := c.nodes[3].driver
	now := d.era.Load()
	v := consensus.Vote{Subject: consensus.Subject{Kind: consensus.Nullify, Epoch: 0, View: d.state.Load().View + 7}, Signer: uint16(now.self)}
	v.Signature = d.key.Sign(v.Digest(d.net))
	d.deliver(t.Context(), consensus.VoteReceived{From: 1, Vote: v})
	c.await("node 3 stops voting", func() bool { return !c.nodes[3].Status().Voting })
	if s := c.nodes[3].Status(); s.Healthy || !strings.Contains(s.Problems[0], "another process signs with this validator's key") {
		t.Errorf("status: %+v", s)
	}
	c.pay(3, 1, 0, 1, 2, 3) // reads and submissions go on
	c.stop(3)
	c.start(3)
	c.observes(3, "another process signed with the key")
	c.payUntil(0, "node 3 votes again", func() bool { return c.votes(3) })
	c.needed(3, 2)
}

// TestViewWithoutProof: an observer believes no view that nothing proves.
func TestViewWithoutProof(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	d := c.nodes[0].driver
	now, state := d.era.Load(), d.state.Load()
	good := consensus.EncodeCertificate(state.admitting)
	forged := *state.admitting
	forged.View += 5
	for name, tc := range map[string]struct {
		view uint64
		cert []byte
		want error
	}{
		"proven":      {state.View, good, nil},
		"first view":  {1, nil, nil},
		"no proof":    {state.View, nil, errMalformed},
		"other view":  {state.View + 1, good, errUnasked},
		"highest":     {math.MaxUint64, good, errUnasked},
		"no sense":    {state.View, []byte{1, 2}, errMalformed},
		"too long":    {state.View, make([]byte, maxCertificateBytes+1), errOversize},
		"forged view": {state.View + 5, consensus.EncodeCertificate(&forged), consensus.ErrSignature},
	} {
		if err := now.admits(&statusAnswer{CurrentView: tc.view, Admitting: tc.cert}); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestInstanceFiles: which files and store values fit together, and that a crash
// between any two steps of a renewal leaves a pair that does.
func TestInstanceFiles(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	signer := crypto.Address{1}
	open := func() *instance {
		t.Helper()
		st, err := store.Open(filepath.Join(home, DataDir), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, err := openInstance(home, st, signer)
		if err := errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
		return in
	}
	want := func(what, doubt string) {
		t.Helper()
		if in := open(); doubt == "" && in.doubt != "" || !strings.Contains(in.doubt, doubt) {
			t.Errorf("%s: doubt %q, want %q", what, in.doubt, doubt)
		}
	}
	file, next := filepath.Join(home, InstanceFile), filepath.Join(home, newInstanceFile)
	want("a key from elsewhere", doubtUnknown)
	want("still from elsewhere", doubtUnknown)
	if err := BeginKey(home, crypto.Address{7}); err != nil {
		t.Fatal(err)
	}
	want("another key was drawn here", doubtUnknown)
	if err := BeginKey(home, signer); err != nil {
		t.Fatal(err)
	}
	if begun, err := KeyBegun(home, signer); !begun || err != nil {
		t.Errorf("begun %t, %v", begun, err)
	}
	want("first start", "")
	if begun, err := KeyBegun(home, signer); begun || err != nil {
		t.Errorf("begun after the first start: %t, %v", begun, err)
	}
	if err := BeginKey(home, signer); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(file)
	want("second start", "")
	if second, _ := os.ReadFile(file); string(first) == string(second) {
		t.Error("the id of the second start is that of the first")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	write(t, next, "00112233445566778899aabbccddeeff\n")
	want("crash before the store", "")
	// Crash after the store: the old file is still there, the new one fits.
	was, err := readInstanceFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "00112233445566778899aabbccddeeff\n")
	if err := was.write(next); err != nil {
		t.Fatal(err)
	}
	want("crash before the rename", "")
	write(t, file, "nonsense")
	want("damaged file", "not the one that this home used last")
	want("still", "not the one that this home used last")
	if err := (instanceFile{id: open().kept.ID}).write(file); err != nil {
		t.Fatal(err)
	}
	want("mended", "")
	if err := (instanceFile{id: open().kept.ID, floor: voteFloor{Epoch: 2, View: 9}}).write(file); err != nil {
		t.Fatal(err)
	}
	in := open()
	if in.doubt != "the validator key was imported" || in.floor != (voteFloor{2, 9}) {
		t.Errorf("imported: %q %v", in.doubt, in.floor)
	}
	for epoch, above := range map[uint32]uint64{1: math.MaxUint64, 2: 9, 3: 0} {
		var cfg consensus.Config
		(&driver{instance: in}).observation(&cfg, &era{epoch: epoch})
		if !cfg.Observer || cfg.ObserveAbove != above {
			t.Errorf("epoch %d: observe above %d, want %d", epoch, cfg.ObserveAbove, above)
		}
	}
	if err := (instanceFile{id: in.kept.ID}).write(file); err != nil {
		t.Fatal(err)
	}
	signer[0] = 2
	want("another key", "the validator key was replaced")
}

// TestCopiedHome: a home that was put back whole matches its own old database, so
// nothing shows at the start. The first certificate with a vote that it does not
// remember ends its voting; its next start observes.
func TestCopiedHome(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 1, nil)
	c.pay(0, 0, 0, 1, 2, 3)
	c.stop(3)
	copyDir(t, c.homes[4], c.homes[3])
	for _, name := range []string{ValidatorKeyFile, PeerKeyFile} {
		if err := os.Chmod(filepath.Join(c.homes[4], name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.start(3)
	c.stop(2) // every certificate needs node 3 now
	for i := range 3 {
		c.pay(0, i, 0, 1, 3)
	}
	c.stop(3)
	c.start(4)
	c.await("the copy notices", func() bool {
		return strings.Contains(strings.Join(c.nodes[4].Status().Problems, "\n"), "another process signs")
	})
	c.stop(4)
	c.start(4)
	c.observes(4, "another process signed with the key")
	c.start(2)
	c.payUntil(0, "the copy votes again", func() bool { return c.votes(4) })
	c.noEvidence()
	c.sameChain()
}
