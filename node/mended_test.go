package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/node/blocksync"
	"cairn/p2p"
)

// The tests of this file each name one mistake that this package once made. They
// call the driver where the mistake was, because a network of honest nodes rarely
// comes by.

// signed counts the finalizations of an epoch, as node at has them, and those
// that node i has signed.
func (c *cluster) signed(at, i int, epoch uint32) (all, own int) {
	c.t.Helper()
	d := c.nodes[at].driver
	member := d.era.Load().indexOf(c.nodes[i].host.ID())
	for h := c.height(at); h > 0; h-- {
		raw, err := d.ledger.Certificate(h)
		if err != nil {
			c.t.Fatal(err)
		}
		if raw == nil {
			continue // final with a later block
		}
		cert, err := consensus.DecodeCertificate(raw)
		if err != nil {
			c.t.Fatal(err)
		}
		if cert.Epoch != epoch {
			break
		}
		all++
		if cert.Signers.Has(member) {
			own++
		}
	}
	return all, own
}

// TestSilenceOutlivesEpoch: what keeps a node from signing keeps it from signing
// in the next epoch too, and from the first vote on: a halt, and a full disk.
func TestSilenceOutlivesEpoch(t *testing.T) {
	t.Parallel()
	for name, silence := range map[string]func(c *cluster){
		"halted": func(c *cluster) {
			c.stop(3)
			st, err := store.Open(filepath.Join(c.homes[3], DataDir), store.Options{})
			if err != nil {
				c.t.Fatal(err)
			}
			halt := voteRecord(consensus.Record{Halt: "a block that the others accepted"})
			if err := errors.Join(st.PutRecords([]store.Record{halt}), st.Close()); err != nil {
				c.t.Fatal(err)
			}
			c.start(3)
		},
		"no space": func(c *cluster) {
			free, err := c.nodes[3].store.FreeBytes()
			if err != nil {
				c.t.Fatal(err)
			}
			c.reserveOf(3, free+free/2) // no votes; below half of it nothing is followed either
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := running(t, 4, 0, nil)
			c.pay(0, 0, 0, 1, 2, 3)
			silence(c)
			c.connected(3)
			if s := c.nodes[3].Status(); s.Voting || len(s.Problems) == 0 {
				t.Fatalf("node 3 should not vote: %+v", s)
			}
			for voter := range 3 {
				c.call(voter, "vote", []any{testKey(3).Address(), false}, 0, 1)
			}
			c.payUntil(0, "node 3 is in the new epoch", func() bool { return c.nodes[3].Status().Epoch == 1 })
			for i := range 8 {
				c.pay(0, i%4, 0, 1)
			}
			if s := c.nodes[3].Status(); s.Voting || s.Role != "validator" || len(s.Problems) == 0 {
				t.Errorf("node 3 in the new epoch: %+v", s)
			}
			c.await("node 3 follows", func() bool { return c.height(3)+2 >= c.height(0) })
			if all, own := c.signed(0, 3, 1); all < 4 || own > 0 {
				t.Errorf("node 3 has signed %d of the %d finalizations of the new epoch", own, all)
			}
		})
	}
}

// TestBodyFarAbove: a body far above the final head is taken when only
// notarizations tell of it, since no range can bring it; beyond what consensus
// holds it is not.
func TestBodyFarAbove(t *testing.T) {
	t.Parallel()
	c := one(t, 2, nil)
	c.own(0, func(d *driver) {
		head, err := d.ledger.BlockByHeight(d.ledger.HeadInfo().Height)
		if err != nil {
			t.Error(err)
			return
		}
		for above, want := range map[uint64]bool{1: true, behindLimit + 5: true, consensus.MaxHeldBlocks + 1: false} {
			h := types.CopyHeader(head.Header())
			h.Number = new(big.Int).SetUint64(head.NumberU64() + above)
			b := types.NewBlockWithHeader(h)
			if err := d.handleFetched(&fetchedBlock{hash: b.Hash(), block: b, from: "a peer"}); err != nil {
				t.Error(err)
			}
			if got := d.bodies.get(b.Hash()) != nil; got != want {
				t.Errorf("%d above the head: taken %v, want %v", above, got, want)
			}
		}
	})
}

// TestOneCertificateOfEach: a certificate that says the same as a verified one is
// not verified again, and what is given on is the verified one.
func TestOneCertificateOfEach(t *testing.T) {
	t.Parallel()
	net := consensus.Network{ChainID: 77, Genesis: crypto.Hash{1}}
	var addrs []crypto.Address
	for i := range 4 {
		addrs = append(addrs, testKey(byte(i+1)).Address())
	}
	signed := func(s consensus.Subject, by ...int) *consensus.Certificate {
		c := &consensus.Certificate{Subject: s, Signers: consensus.NewBitmap(4)}
		for _, i := range by {
			c.Signers.Set(i)
			c.Signatures = append(c.Signatures, testKey(byte(i+1)).Sign(c.Digest(net)))
		}
		return c
	}
	v := newVerifier(net, 0, addrs)
	subject := consensus.Subject{Kind: consensus.Nullify, View: 5}
	first := signed(subject, 0, 1, 2)
	forged := signed(subject, 1, 2, 3)
	forged.Signatures[0] = crypto.Signature{1}
	if _, err := v.certificate(forged); err == nil {
		t.Fatal("a forged certificate passes")
	}
	for i, c := range []*consensus.Certificate{first, signed(subject, 1, 2, 3), forged} {
		if got, err := v.certificate(c); err != nil || got != first {
			t.Errorf("certificate %d: %v, %v; want the first one", i, got, err)
		}
	}
	subject.View = 6
	forged = signed(subject, 0, 1, 2)
	forged.Signatures[2] = crypto.Signature{1}
	if _, err := v.certificate(forged); err == nil {
		t.Error("a forged certificate of another view passes")
	}
	for view := range uint64(2 * maxVerified) {
		v.seen[consensus.Subject{View: 100 + view}] = first
		if view == maxVerified {
			if _, err := v.certificate(signed(consensus.Subject{Kind: consensus.Nullify, View: 7}, 0, 1, 2)); err != nil || len(v.seen) > maxVerified {
				t.Fatalf("%d certificates are remembered, %v", len(v.seen), err)
			}
		}
	}
}

// TestFetchesAreBounded: however many ranges of certificates the core asks for,
// few are fetched at once, and each once.
func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	c := one(t, 1, nil)
	var ask consensus.Effects
	for i := range uint64(3 * maxRanges) {
		ask.FetchCertificates = append(ask.FetchCertificates, consensus.ViewRange{From: 1000 * (i + 1), To: 1000*(i+1) + 5})
	}
	c.own(0, func(d *driver) {
		for range 3 {
			if d.fetch(&ask); len(d.ranges) != maxRanges {
				t.Errorf("%d ranges are fetched at once, want %d", len(d.ranges), maxRanges)
			}
		}
	})
	c.await("all fetches have ended", func() (done bool) {
		c.own(0, func(d *driver) { done = len(d.ranges) == 0 })
		return done
	})
}

// TestLocalsAreForgotten: a wallet's transaction is kept on disk until it is
// final, replaced, dropped or refused, and no longer.
func TestLocalsAreForgotten(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 0, nil)
	c.start(0) // alone: nothing becomes final
	d := c.nodes[0].driver
	kept := func(what string, want ...*types.Transaction) {
		t.Helper()
		onDisk, err := d.store.LocalTxs()
		if err != nil {
			t.Fatal(err)
		}
		d.locals.mu.Lock()
		inMemory := len(d.locals.hashes)
		d.locals.mu.Unlock()
		ok := len(onDisk) == len(want) && inMemory == len(want)
		for _, tx := range want {
			found := false
			for _, k := range onDisk {
				found = found || k.Hash == tx.Hash()
			}
			ok = ok && found
		}
		if !ok {
			t.Fatalf("%s: %d on disk, %d in memory, want these %d", what, len(onDisk), inMemory, len(want))
		}
	}
	priced := func(gwei int64) *types.Transaction {
		return c.signAs(c.keys[0], &types.DynamicFeeTx{
			To: &crypto.Address{19: 9}, Value: big.NewInt(1), Gas: 21_000, GasFeeCap: big.NewInt(gwei * 1e9), GasTipCap: big.NewInt(gwei),
		})
	}
	first, second, cheap := priced(10), priced(20), priced(11)
	submit := func(tx *types.Transaction) error { return d.submit(context.Background(), tx) }
	if err := submit(first); err != nil {
		t.Fatal(err)
	}
	kept("taken", first)
	if err := submit(second); err != nil {
		t.Fatal(err)
	}
	kept("replaced", second)
	if err := submit(cheap); err == nil {
		t.Fatal("a replacement that pays less is taken")
	}
	kept("a refused replacement", second)
	if err := submit(second); err == nil {
		t.Fatal("the same transaction is taken twice")
	}
	kept("the same again", second)
	c.start(1)
	c.await("the transfer is final", func() bool { return c.height(0) > 0 })
	c.await("it is forgotten", func() bool {
		onDisk, err := d.store.LocalTxs()
		return err == nil && len(onDisk) == 0
	})
	kept("final")
	if err := submit(first); err == nil {
		t.Fatal("a transaction with a used nonce is taken")
	}
	kept("refused")
}

// TestMovedKey: a node whose key is voted in under another peer id goes on as a
// full node and says so.
func TestMovedKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 2, nil)
	c.startFirst(2)
	c.ids[1] = c.ids[2] // the operator registers node 1's key for another machine
	c.register(1, 0, 1)
	c.call(0, "vote", []any{testKey(2).Address(), true}, 0, 1)
	c.members(2)
	s := c.nodes[1].Status()
	if s.Role != "full" || s.Voting || s.Epoch != 1 {
		t.Errorf("node 1: %+v", s)
	}
	select {
	case err := <-c.nodes[1].done:
		c.nodes[1].done <- err
		t.Errorf("node 1 has ended: %v", err)
	default:
	}
}

// TestBuildOnOldBlock: a parent that is final but not the head has no state to
// build on. The view fails; the node goes on.
func TestBuildOnOldBlock(t *testing.T) {
	t.Parallel()
	c := one(t, 3, nil)
	c.own(0, func(d *driver) {
		old, err := d.ledger.HashByHeight(1)
		if err != nil || !d.ledger.Executed(old) {
			t.Errorf("block 1: %v", err)
			return
		}
		for name, parent := range map[string]crypto.Hash{"final": old, "unknown": {1}} {
			got, err := d.build(&consensus.BuildRequest{View: 1 << 40, Parent: parent})
			if built, ok := got.(consensus.Built); err != nil || !ok || !built.Failed {
				t.Errorf("%s parent: %+v, %v; want a failed view", name, got, err)
			}
		}
	})
	c.pay(0, 0, 0)
}

// TestFirstProposalOfEpoch: the body of a proposal of the epoch that has just
// begun is not judged by the views of the one that is over.
func TestFirstProposalOfEpoch(t *testing.T) {
	t.Parallel()
	c := one(t, 5, nil)
	d := c.nodes[0].driver
	if state := d.state.Load(); state.Epoch != 0 || state.View < 4 {
		t.Fatalf("epoch %d, view %d: too early for this test", state.Epoch, state.View)
	}
	old := d.era.Load()
	next, err := newEra(d.net, 1, old.set, d.key, d.host.ID(), old)
	if err != nil {
		t.Fatal(err)
	}
	block, err := d.ledger.BlockByHeight(2)
	if err != nil {
		t.Fatal(err)
	}
	p := &consensus.ProposalEnvelope{Body: chain.EncodeBlock(block)}
	p.Vote.Subject = consensus.Subject{Kind: consensus.Notarize, Epoch: 1, View: 1, Block: block.Hash()}
	p.Vote.Signature = d.key.Sign(p.Vote.Digest(d.net))
	d.onProposal(t.Context(), d.host.ID(), next, p)
	c.own(0, func(d *driver) {
		if d.bodies.get(block.Hash()) == nil {
			t.Error("the body was dropped")
		}
	})
}

// TestClaimedView: the view that a header claims does not become the node's
// measure of what is new.
func TestClaimedView(t *testing.T) {
	t.Parallel()
	c := one(t, 2, nil)
	c.own(0, func(d *driver) {
		head := d.ledger.HeadInfo()
		block, err := d.ledger.Build(head.Hash, chain.BuildParams{
			View: 1 << 60, TimestampMillis: uint64(d.wall()) + 1000, Proposer: d.key.Address(),
		}, d.pool.Candidates(d.ledger.Included(head.Hash)))
		if err != nil {
			t.Error(err)
			return
		}
		d.bodies.put(block)
		answers, err := d.execute(block.Hash())
		if err != nil || len(answers) == 0 || answers[0].(consensus.Executed).Status != consensus.ExecutionOK {
			t.Errorf("execute: %+v, %v", answers, err)
		}
		if d.latest.view > d.core.Status().View+1 {
			t.Errorf("the newest block is of view %d, the core in view %d", d.latest.view, d.core.Status().View)
		}
	})
}

// TestProposalFits: a proposal with a full block, in the largest set, after as
// many failed views as are attached, is below the message limit with the smallest
// blocks that rules allow, and keeps the newest nullifications.
func TestProposalFits(t *testing.T) {
	t.Parallel()
	c := one(t, 1, func(s *genesis.Spec) { s.Rules.BlockBytes = genesis.MinBlockBytes })
	d := c.nodes[0].driver
	signers := consensus.NewBitmap(genesis.MaxValidators)
	var signatures []crypto.Signature
	for i := range consensus.Quorum(genesis.MaxValidators) {
		signers.Set(i)
		signatures = append(signatures, crypto.Signature{byte(i)})
	}
	certificate := func(kind consensus.Kind, view uint64) consensus.Certificate {
		return consensus.Certificate{Subject: consensus.Subject{Kind: kind, View: view}, Signers: signers, Signatures: signatures}
	}
	var all []consensus.Certificate
	for i := range uint64(consensus.MaxAttachedNullifications) {
		all = append(all, certificate(consensus.Nullify, 1000-i))
	}
	fit := d.fitting(all)
	if len(fit) == 0 || fit[0].View != 1000 || fit[len(fit)-1].View != 1000-uint64(len(fit))+1 {
		t.Fatalf("%d nullifications fit", len(fit))
	}
	parent := certificate(consensus.Notarize, 1)
	raw := consensus.EncodeEnvelope(&consensus.Envelope{Proposal: &consensus.ProposalEnvelope{
		Parent: &parent, Nullifications: fit, Body: make([]byte, genesis.MinBlockBytes),
	}})
	if len(raw) > d.maxConsensusBytes() {
		t.Errorf("the proposal has %d bytes, %d are allowed", len(raw), d.maxConsensusBytes())
	}
}

// TestClaimedHeight: what a peer says of its height counts for nothing without a
// proof: it neither keeps a node from joining by the others nor makes it say that
// it still has to sync.
func TestClaimedHeight(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, func(s *genesis.Spec) { s.Rules.MinBlockInterval = 1 })
	c.start(0)
	for i := range 3 * behindLimit {
		c.pay(0, i%4, 0)
	}
	d := c.nodes[0].driver
	honest, err := d.ledger.Certificate(c.height(0))
	if err != nil || honest == nil {
		t.Fatalf("no certificate of the head: %v", err)
	}
	c.start(1)
	for _, claim := range []statusAnswer{
		{Height: math.MaxUint64, Head: crypto.Hash{1}, View: 1 << 40},
		{Height: 1 << 40, Head: crypto.Hash{2}, View: 1 << 40, Epoch: math.MaxUint32},
		{Height: 1 << 41, Head: d.ledger.HeadInfo().Hash, View: d.ledger.HeadInfo().View, Finalization: honest},
	} {
		claim.Genesis = d.net.Genesis
		answer := func(context.Context, peer.ID, []byte) ([]byte, error) { return encode(claim), nil }
		c.liar(p2p.Handlers{Requests: map[string]p2p.Request{requestStatus: answer}}, 1)
	}
	c.await("node 1 has joined", func() bool {
		s := c.nodes[1].Status()
		return c.height(1) == c.height(0) && !s.Syncing && uint64(s.Target) == c.height(0)
	})
	c.pay(1, 0, 0, 1)
	if s := c.nodes[1].Status(); s.Syncing || uint64(s.Target) > c.height(0) {
		t.Errorf("status: %+v", s)
	}
}

// TestSilentStatus: a peer that keeps silent does not keep a node from what the
// others tell: a full node would be as far behind as it waits.
func TestSilentStatus(t *testing.T) {
	t.Parallel()
	c := besideHung(t, requestStatus)
	var took []time.Duration
	for range 5 { // one that waits for the silent peer takes fetchWait each time; a busy machine may once
		begun := time.Now()
		claims := c.nodes[1].driver.sync.claims(t.Context())
		took = append(took, time.Since(begun))
		if len(claims) == 1 && took[len(took)-1] < fetchWait-time.Second {
			return
		}
	}
	t.Errorf("never an answer without the silent peer's: after %s", took)
}

// liar connects a peer of the same network with other handlers to node i.
func (c *cluster) liar(handlers p2p.Handlers, i int) {
	c.t.Helper()
	key, err := p2p.LoadOrCreateKey(filepath.Join(c.t.TempDir(), PeerKeyFile))
	if err != nil {
		c.t.Fatal(err)
	}
	h, err := p2p.New(c.t.Context(), p2p.Config{
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Key: key, Genesis: c.nodes[i].driver.net.Genesis, UserAgent: "liar/1", Log: slog.New(slog.DiscardHandler),
	}, handlers)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			c.t.Error(err)
		}
	})
	if err := h.Connect(c.t.Context(), c.nodes[i].Addrs()[0]); err != nil {
		c.t.Fatal(err)
	}
}

// TestRangeOfOldEpoch: a range that was verified by the set of an epoch that ended
// meanwhile is refused, and is no failure of this node.
func TestRangeOfOldEpoch(t *testing.T) {
	t.Parallel()
	c := one(t, 2, nil)
	c.own(0, func(d *driver) {
		before := d.ledger.HeadInfo()
		block, err := d.ledger.Build(before.Hash, chain.BuildParams{
			View: 1 << 40, TimestampMillis: uint64(d.wall()) + 1000, Proposer: d.key.Address(),
		}, d.pool.Candidates(d.ledger.Included(before.Hash)))
		if err != nil {
			t.Error(err)
			return
		}
		finalization := &consensus.Certificate{Subject: consensus.Subject{Kind: consensus.Finalize, Epoch: 7, View: 1 << 40, Block: block.Hash()}}
		_, err = d.applyRange([]blocksync.Block{{Block: block, Finalization: finalization}})
		if !errors.Is(err, errUnasked) || failureOnly(err) != nil || !strings.Contains(fmt.Sprint(err), "epoch") {
			t.Errorf("a range of epoch 7: %v", err)
		}
		if after := d.ledger.HeadInfo(); after.Hash != before.Hash {
			t.Errorf("block %d became final", after.Height)
		}
	})
	if !t.Failed() { // or the ledger is of an epoch that consensus knows nothing of
		c.pay(0, 0, 0)
	}
}
