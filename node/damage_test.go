package node

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cairn/crypto"
	"cairn/internal/randtest"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

var damages = flag.Int("damages", 6, "places at which TestDamagedHome flips a bit")

// victim is the node of TestDamagedHome that is damaged.
const victim = 3

// outcomes counts what became of damage, by kind of file.
type outcomes map[string]map[string]int

func (o outcomes) add(file, what string) {
	kind := strings.TrimLeft(filepath.Ext(file), ".")
	if kind == "" {
		kind, _, _ = strings.Cut(filepath.Base(file), "-")
	}
	if o[kind] == nil {
		o[kind] = make(map[string]int)
	}
	o[kind][what]++
}

// TestDamagedHome flips bits anywhere in the database of a stopped validator and in
// the files beside it, and starts it: it refuses with ErrCorrupt, or runs and never
// answers anything that an honest node does not; db check names the damage, db
// repair mends it, and the node is in step again with the same blocks. Keys and the
// genesis file are spared: with others the home is another node's, and no repair
// brings them back.
func TestDamagedHome(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, fmt.Sprintf("./node -damages=%d", *damages))
	c := running(t, 4, 0, nil)
	for range 4 { // each start leaves a table, then a log
		c.burst(40)
		c.await("all are in step", func() bool { return c.height(victim) == c.height(0) })
		c.stop(victim)
		c.burst(2)
		c.start(victim)
		c.await("the victim is in step", func() bool { return c.height(victim) == c.height(0) })
	}
	c.stop(victim)
	count := make(outcomes)
	for i := range *damages {
		c.burst(1)
		file, at := c.flip(r, i)
		what := c.live(fmt.Sprintf("%s, bit %d", file, at))
		count.add(file, what)
		if t.Failed() {
			t.Fatalf("at %d of %d", i, *damages)
		}
	}
	c.start(victim)
	c.payUntil(0, "the victim votes", func() bool { return c.nodes[victim].Status().Voting }) // after a repair it observes first
	c.stop(0)
	c.pay(victim, 0, 1, 2, victim)
	c.sameChain()
	for kind, what := range count {
		t.Logf("%-10s %v", kind, what)
	}
}

// burst has the nodes make a few transfers final.
func (c *cluster) burst(transfers int) {
	c.t.Helper()
	for k := range transfers - 1 {
		c.submit(k%3, c.transfer(k%3, crypto.Address{18: byte(k % 7), 19: 5}))
	}
	c.pay(0, 3, 0, 1, 2)
	for k := range 3 { // the nonces of the others are in order: when the last is final, all are
		c.await("the transfers are final", func() bool {
			for i := range 3 {
				acc, err := c.nodes[i].driver.ledger.Account(c.keys[k].Address())
				if err != nil || acc.Nonce < c.nonce[c.keys[k].Address()] {
					return false
				}
			}
			return true
		})
	}
}

// flip flips a bit of a file of the stopped victim. Files take turns: most bytes
// are in few of them.
func (c *cluster) flip(r *rand.Rand, turn int) (file string, bit int64) {
	c.t.Helper()
	home := c.homes[victim]
	var files []string
	for _, pattern := range []string{DataDir + "/*.*", DataDir + "/OPTIONS-*", DataDir + "/MANIFEST-*", InstanceFile, "peers.json"} {
		found, err := filepath.Glob(filepath.Join(home, pattern))
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.Contains(pattern, "-") && len(found) > 0 {
			found = found[len(found)-1:] // the older ones are not read
		}
		files = append(files, found...)
	}
	files = slices.DeleteFunc(files, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || !info.Mode().IsRegular() || info.Size() == 0
	})
	name := files[turn%len(files)]
	b, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	bit = r.Int64N(8 * int64(len(b)))
	b[bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	file, err = filepath.Rel(home, name)
	if err != nil {
		c.t.Fatal(err)
	}
	return file, bit
}

// live takes the damaged victim through a start, a check and, if there is
// something to mend, a repair. It answers what became of the damage.
func (c *cluster) live(where string) string {
	c.t.Helper()
	noticed := ""
	var said error
	if said = c.tryStart(victim); said != nil {
		noticed = "refused to start"
		c.named(where, said)
	} else if said = c.follow(where); said != nil {
		noticed = "named while running"
		c.named(where, said)
	}
	found := c.damageFound(where)
	switch {
	case found == "" && noticed != "":
		c.t.Errorf("%s: %s, and db check finds nothing: %v", where, noticed, said)
		return noticed
	case found == "":
		c.start(victim)
		c.burst(2) // the next damage meets a log that is worth something
		if err := c.follow(where); err != nil {
			c.t.Errorf("%s: sound, and then: %v", where, err)
		}
		return "without effect"
	case noticed == "":
		noticed = "found by db check"
	}
	replaced, err := Repair(c.t.Context(), c.homes[victim], func(string, uint64, uint64) {})
	if err != nil {
		c.t.Errorf("%s: repair of %s: %v", where, found, err)
		return noticed
	}
	if err := os.RemoveAll(replaced.Kept); err != nil {
		c.t.Fatal(err)
	}
	if found := c.damageFound(where); found != "" {
		c.t.Errorf("%s: after the repair: %s", where, found)
	}
	c.start(victim)
	c.burst(2)
	if err := c.follow(where); err != nil {
		c.t.Errorf("%s: after the repair: %v", where, err)
	}
	return noticed
}

// named holds an error against what a damaged node may say.
func (c *cluster) named(where string, err error) {
	c.t.Helper()
	if !errors.Is(err, store.ErrCorrupt) {
		c.t.Errorf("%s: the error does not name the damage: %v", where, err)
	}
}

// follow waits until the victim is in step, compares what it answers with node 0,
// and stops it. Its error is what the victim said of damage.
func (c *cluster) follow(where string) error {
	c.t.Helper()
	r := c.nodes[victim]
	var failed error
	c.await(where+": the victim is in step or has failed", func() bool {
		select {
		case failed = <-r.done:
			r.done <- failed
			return true
		default:
			waits, err := r.store.Awaited() // blocks that a repair left to be fetched
			return c.height(victim) == c.height(0) && (err != nil || len(waits) == 0)
		}
	})
	said := c.alike(where, r.driver.ledger, c.nodes[0].driver.ledger)
	return errors.Join(said, c.end(victim))
}

// damageFound is what db check says of the stopped victim; empty = it is sound.
func (c *cluster) damageFound(where string) string {
	c.t.Helper()
	h, err := OpenHome(c.homes[victim], "")
	if err != nil {
		c.named(where, err)
		return err.Error()
	}
	found, _, err := findings(c.t, h.Store, h.Spec)
	if err := errors.Join(err, h.Close()); err != nil {
		c.named(where, err)
		found = append(found, err.Error())
	}
	return strings.Join(found, "; ")
}

// alike asks two ledgers for everything that JSON-RPC answers from, up to the head
// of got, which does not move meanwhile. A wrong answer fails the test; errors of got are answered.
func (c *cluster) alike(where string, got, want *ledger.Ledger) error {
	c.t.Helper()
	var said []error
	ask := func(what string, f func(*ledger.Ledger) (any, error)) {
		w, err := f(want)
		if err != nil {
			c.t.Fatalf("%s of an honest node: %v", what, err)
		}
		g, err := f(got)
		switch {
		case err != nil:
			said = append(said, fmt.Errorf("%s: %w", what, err))
			c.named(where+": "+what, err)
		case !reflect.DeepEqual(g, w):
			c.t.Errorf("%s: %s: %v, an honest node has %v", where, what, g, w)
		}
	}
	addresses := []crypto.Address{{19: 9}}
	for i := range byte(7) {
		addresses = append(addresses, crypto.Address{18: i, 19: 5})
	}
	for _, k := range c.keys {
		addresses = append(addresses, k.Address())
	}
	head := got.HeadInfo().Height
	for h := range head + 1 {
		ask(fmt.Sprintf("block %d", h), func(l *ledger.Ledger) (any, error) {
			b, err := l.BlockByHeight(h)
			if err != nil {
				return nil, err
			}
			return fmt.Sprintf("%x", chain.EncodeBlock(b)), nil
		})
		ask(fmt.Sprintf("receipts %d", h), func(l *ledger.Ledger) (any, error) {
			rs, err := l.Receipts(h)
			var out bytes.Buffer
			for _, r := range rs {
				raw, failure := r.MarshalJSON()
				err = errors.Join(err, failure)
				out.Write(raw)
			}
			return out.String(), err
		})
		for _, a := range addresses {
			ask(fmt.Sprintf("account %s at %d", a, h), func(l *ledger.Ledger) (any, error) { return l.AccountAt(a, h) })
		}
		b, err := want.BlockByHeight(h)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, tx := range b.Transactions() {
			ask(fmt.Sprintf("transaction %s", tx.Hash()), func(l *ledger.Ledger) (any, error) {
				_, block, height, index, err := l.Transaction(tx.Hash())
				return []any{block, height, index}, err
			})
		}
	}
	for _, a := range addresses {
		ask(fmt.Sprintf("account %s", a), func(l *ledger.Ledger) (any, error) {
			if l == want { // got may have failed before it was in step
				return l.AccountAt(a, head)
			}
			return l.Account(a)
		})
	}
	return errors.Join(said...)
}
