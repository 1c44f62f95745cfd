package rpc

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"cairn/crypto"
)

// TestSeen: the status of a transaction that waits names the validators that
// have it; of any other, and when too much was asked, it does not.
func TestSeen(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	have := Witness{Validator: crypto.Address{1}, Name: "a", Status: StagePending}
	away := Witness{Validator: crypto.Address{2}, Name: "b"}
	var answer *Seen
	asked := 0
	f.server.service.Seen = func(context.Context, crypto.Hash) *Seen { asked++; return answer }
	status := func(hash crypto.Hash) (s transactionStatus, fields string) {
		raw, err := json.Marshal(f.call("cairn_transactionStatus", hash))
		check(t, err)
		decode(t, raw, &s)
		return s, string(raw)
	}
	waiting, gapped, never, final := transfer(key(0), 0), transfer(key(1), 1), transfer(key(2), 0), transfer(key(3), 0)
	f.add(final)
	f.seal()
	f.add(waiting, gapped, transfer(key(0), 1))
	for _, hash := range []crypto.Hash{never.Hash(), final.Hash()} {
		_, fields := status(hash)
		if asked != 0 || strings.Contains(fields, "seenBy") {
			t.Errorf("validators were asked about %s", fields)
		}
	}
	s, fields := status(waiting.Hash())
	if asked != 1 || strings.Contains(fields, "seenBy") || strings.Contains(fields, "notReached") {
		t.Errorf("nobody was asked, and the answer is %s", fields)
	}
	equal(t, "why", s.Why, "it waits for the next leader that has room")
	s, _ = status(transfer(key(0), 1).Hash())
	equal(t, "why", s.Why, "1 of its sender's transactions come before it")
	answer = &Seen{By: []Witness{have}, NotReached: []Witness{away}}
	for _, tx := range []crypto.Hash{waiting.Hash(), gapped.Hash()} {
		s, fields = status(tx)
		equal(t, "seen by", *s.SeenBy, []Witness{have})
		equal(t, "not reached", *s.NotReached, []Witness{away})
		if !strings.Contains(fields, `"notSeenBy":[]`) {
			t.Errorf("an empty list is not there: %s", fields)
		}
	}
	answer = &Seen{NotBy: []Witness{away}}
	s, _ = status(waiting.Hash())
	contains(t, s.Why, "none of the 1 validators that answered has it yet")
	for range 3 { // the pool is told of a block with room that did not take it
		f.resetPool(nil)
	}
	s, _ = status(waiting.Hash())
	contains(t, s.Why, "3 blocks that had room left it out")
}
