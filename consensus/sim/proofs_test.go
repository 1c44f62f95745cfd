package sim

import (
	"slices"
	"testing"

	"cairn/consensus"
	"cairn/crypto"
)

// finalize is a finalization of b in its view by the first q members of its epoch.
func (w *world) finalize(b *block, q int) *consensus.Certificate {
	c := &consensus.Certificate{Subject: consensus.Subject{Kind: consensus.Finalize, Epoch: b.Epoch, View: b.View, Block: b.Hash}}
	members := w.set(b.Epoch).members
	c.Signers = consensus.NewBitmap(len(members))
	for i := range q {
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, sign(members[i], w.digest(c.Subject)))
	}
	return c
}

// What is not proven to be final is not taken from a server, and it says why.
func TestRangesAreProven(t *testing.T) {
	t.Parallel()
	w := newWorld(Options{Seed: 1})
	w.plan.closeEvery = 3
	nd, q := w.nodes[0], w.set(w.plan.epoch).quorum
	child := func(parent *block, epoch uint32, salt uint64) *block {
		r := &consensus.BuildRequest{Epoch: epoch, View: parent.Height + 1, MinTimestamp: 1}
		return w.newBlock(0, r, parent, nil, salt)
	}
	first := child(w.genesis, w.plan.epoch, 1)
	second := child(first, w.plan.epoch, 1)
	closing := child(second, w.plan.epoch, 1)
	next := child(closing, w.plan.epoch+1, 1)
	blocks := []*block{first, second, closing, next}
	good := func() []*consensus.Certificate {
		return []*consensus.Certificate{nil, w.finalize(second, q), w.finalize(closing, q), w.finalize(next, w.set(next.Epoch).quorum)}
	}
	if err := nd.provesChain(blocks, good()); err != "" {
		t.Fatalf("a proven chain: %s", err)
	}
	for _, x := range []struct {
		name  string
		spoil func(b []*block, c []*consensus.Certificate)
	}{
		{"another block in the middle", func(b []*block, _ []*consensus.Certificate) { b[0] = child(w.genesis, w.plan.epoch, 2) }},
		{"another block at the end", func(b []*block, _ []*consensus.Certificate) { b[3] = child(closing, w.plan.epoch+1, 2) }},
		{"the last block without proof", func(_ []*block, c []*consensus.Certificate) { c[3] = nil }},
		{"the closing block without proof", func(_ []*block, c []*consensus.Certificate) { c[2] = nil }},
		{"a child of the closing block in its epoch", func(b []*block, c []*consensus.Certificate) {
			b[3] = child(closing, w.plan.epoch, 1)
			c[3] = w.finalize(b[3], q)
		}},
		{"a proof by too few", func(_ []*block, c []*consensus.Certificate) { c[1] = w.finalize(second, q-1) }},
		{"a proof of another block", func(_ []*block, c []*consensus.Certificate) { c[1] = w.finalize(first, q) }},
		{"a notarization for a finalization", func(_ []*block, c []*consensus.Certificate) {
			c[1].Kind = consensus.Notarize
			for i := range c[1].Signatures {
				c[1].Signatures[i] = sign(w.set(w.plan.epoch).members[i], w.digest(c[1].Subject))
			}
		}},
		{"a damaged signature", func(_ []*block, c []*consensus.Certificate) { c[1].Signatures[0][0] ^= 1 }},
	} {
		b, c := slices.Clone(blocks), good()
		x.spoil(b, c)
		if err := nd.provesChain(b, c); err == "" {
			t.Errorf("%s: taken", x.name)
		}
	}
	if err := nd.provesChain(blocks[1:], good()[1:]); err == "" {
		t.Error("blocks that do not follow on the head are taken")
	}
}

// A view that nobody admitted a peer to is no report, and its sender is not asked
// again; a body that was not asked for is not stored.
func TestLiarsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(Options{Seed: 1})
	nd := w.nodes[0]
	nd.marked = true
	w.nodes[1].adversary, w.nodes[2].adversary = obedient{}, obedient{}
	nd.accept(1, &response{view: 7, epoch: nd.coreEpoch})
	b := w.newBlock(0, &consensus.BuildRequest{View: 1, Epoch: w.plan.epoch}, w.genesis, nil, 0)
	nd.accept(2, &response{asked: crypto.Hash{1}, blocks: []*block{b}})
	if len(nd.inbox) > 0 || nd.disk.view.body(b.Hash) != nil {
		t.Errorf("the core is told %v", nd.inbox)
	}
	if nd.liars != setOf(1, 2) {
		t.Errorf("liars are %s, want {1 2}", nd.liars)
	}
	for range 100 {
		if peer := nd.randomPeer(); nd.liars.has(peer) {
			t.Fatalf("a liar, n%d, is asked again", peer)
		}
	}
	nd.accept(3, &response{view: 1, epoch: nd.coreEpoch})
	if len(nd.inbox) != 1 {
		t.Error("the first view of an epoch needs no certificate, and is no report")
	}
}
