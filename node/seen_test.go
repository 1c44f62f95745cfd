package node

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/node/rpc"
)

// FuzzSeen: no bytes make the decoders panic or pass a limit, and what decodes
// encodes to the same bytes.
func FuzzSeen(f *testing.F) {
	f.Add(encode([]crypto.Hash{}), 0)
	f.Add(encode([]crypto.Hash{{1}, {2}}), 2)
	f.Add(encode(make([]crypto.Hash, maxSeenHashes+1)), maxSeenHashes)
	f.Add(encode([]byte{byte(placeFinal)}), 1)
	f.Add(encode([]byte{byte(placeFinal) + 1, 0}), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		hashes, err := decodeSeenRequest(b)
		again(t, "seen request", b, err, func() []byte { return encode(hashes) })
		if len(hashes) > maxSeenHashes {
			t.Errorf("%d transactions in a request", len(hashes))
		}
		if n < 0 || n > maxSeenHashes {
			return
		}
		found, err := decodeSeenAnswer(b, n)
		if err == nil && len(found) != n {
			t.Errorf("%d places for %d transactions", len(found), n)
		}
		again(t, "seen answer", b, err, func() []byte {
			raw := make([]byte, len(found))
			for i, p := range found {
				raw[i] = byte(p)
			}
			return encode(raw)
		})
	})
}

// TestSeen: who has a waiting transaction, who has not and who cannot be asked.
func TestSeen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 1, nil)
	c.startFirst(5)
	c.pay(0, 0, 0, 1, 2, 3, 4)
	statuses := func(w []rpc.Witness) (out []string) {
		for _, x := range w {
			out = append(out, x.Name+" "+x.Status)
		}
		slices.Sort(out) // the set is in the order of addresses
		return out
	}
	// see asks node i afresh until the answer is the one that is wanted.
	see := func(i int, tx *types.Transaction, by, notBy, notReached []string) {
		t.Helper()
		c.await("who has it", func() bool {
			d := c.nodes[i].driver
			d.seens.mu.Lock()
			clear(d.seens.known)
			d.seens.mu.Unlock()
			s := d.seen(t.Context(), tx.Hash())
			return s != nil && slices.Equal(statuses(s.By), by) && slices.Equal(statuses(s.NotBy), notBy) && slices.Equal(statuses(s.NotReached), notReached)
		})
	}
	early := c.transfer(1, crypto.Address{19: 1})
	late := c.transfer(1, crypto.Address{19: 1})
	c.submit(0, late)
	for _, r := range c.nodes { // gossip, too early for a peer, would not come again: nobody announces what has a gap
		if err := r.driver.pool.Add(late, false); err != nil && !errors.Is(err, chain.ErrAlreadyKnown) {
			t.Fatal(err)
		}
	}
	everywhere := []string{"node0 gapped", "node1 gapped", "node2 gapped", "node3 gapped"}
	see(0, late, everywhere, nil, nil)
	see(4, late, everywhere, nil, nil)
	if s := c.nodes[0].driver.seen(t.Context(), early.Hash()); s != nil {
		t.Errorf("others were asked for a transaction that is not in the pool: %+v", s)
	}
	// Without a quorum a transaction waits. Here one that no other validator has, and
	// is not told of, because it has a gap.
	c.stop(2)
	c.stop(3)
	c.nonce[c.keys[2].Address()]++
	only := c.transfer(2, crypto.Address{19: 1})
	if err := c.nodes[0].driver.pool.Add(only, true); err != nil {
		t.Fatal(err)
	}
	see(0, only, []string{"node0 gapped"}, []string{"node1 "}, []string{"node2 ", "node3 "})
	c.submit(0, early)
	c.await("seen at least", func() bool {
		s := c.nodes[1].driver.seen(t.Context(), early.Hash())
		return s != nil && len(s.By) == 2 && len(s.NotReached) == 2
	})
}

// TestSeenIsBounded: many callers share one round, a round is remembered, and
// beyond the rate nobody is asked.
func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	c := running(t, 2, 0, nil)
	d := c.nodes[0].driver
	c.nonce[c.keys[0].Address()]++ // behind a gap
	var txs []*types.Transaction
	for range 60 {
		tx := c.transfer(0, crypto.Address{19: 1})
		c.submit(0, tx)
		txs = append(txs, tx)
	}
	first := d.seen(t.Context(), txs[0].Hash())
	d.seens.mu.Lock()
	d.seens.known[txs[0].Hash()] = seenAnswer{time.Now().Add(time.Minute), d.seens.known[txs[0].Hash()].seen} // fresh, however long this machine takes
	d.seens.mu.Unlock()
	if first == nil || d.seen(t.Context(), txs[0].Hash()) != first {
		t.Error("a fresh answer was not remembered")
	}
	d.seens.limit.SetBurst(3)
	d.seens.limit.SetLimit(0)
	for i, tx := range txs[1:] {
		if s := d.seen(t.Context(), tx.Hash()); (s != nil) != (i < 3) {
			t.Fatalf("question %d beyond a burst of 3: %+v", i, s)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if s := d.seen(ended, txs[59].Hash()); s != nil {
		t.Errorf("an answer for a caller who left: %+v", s)
	}
	for what, req := range map[string][]byte{
		"too many": encode(make([]crypto.Hash, maxSeenHashes+1)), "no list": {0x80}, "a short hash": encode([][]byte{{1}}),
	} {
		if _, err := d.serveSeen(t.Context(), c.nodes[1].host.ID(), req); err == nil {
			t.Errorf("%s: answered", what)
		}
	}
	for what, answer := range map[string][]byte{"none": encode([]byte{}), "two": encode([]byte{1, 1}), "an unknown place": encode([]byte{byte(len(places))})} {
		if _, err := decodeSeenAnswer(answer, 1); err == nil {
			t.Errorf("%s: taken for an answer about one transaction", what)
		}
	}
}

// TestOpenPlaces: each transaction has the place that says most of the open
// blocks that hold it, and blocks that are not open any more are forgotten.
func TestOpenPlaces(t *testing.T) {
	t.Parallel()
	tx := func(nonce uint64) *types.Transaction { return types.NewTx(&types.LegacyTx{Nonce: nonce}) }
	block := func(height int64, txs ...*types.Transaction) *types.Block {
		return types.NewBlockWithHeader(&types.Header{Number: big.NewInt(height)}).WithBody(types.Body{Transactions: txs})
	}
	d := &driver{seens: newSeens()}
	see := func(nonce uint64, want place) {
		t.Helper()
		h := tx(nonce).Hash()
		if got := d.openPlaces([]crypto.Hash{{1}, h})[h]; got != want {
			t.Errorf("transaction %d is at %d, want %d", nonce, got, want)
		}
	}
	a, b, c := block(1, tx(0), tx(1)), block(2, tx(1), tx(2)), block(3, tx(3))
	see(0, placeUnknown)
	for range 2 { // the second time from what is remembered
		d.state.Store(&driverState{open: []openBlock{{a, true}, {b, false}}})
		see(0, placeNotarized)
		see(1, placeNotarized)
		see(2, placeProposed)
		see(3, placeUnknown)
	}
	d.state.Store(&driverState{open: []openBlock{{b, true}, {c, false}}})
	see(0, placeUnknown)
	see(2, placeNotarized)
	see(3, placeProposed)
	if n := len(d.seens.open); n != 2 {
		t.Errorf("%d blocks are remembered, 2 are open", n)
	}
}
