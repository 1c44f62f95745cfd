package node

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/p2p"
)

// TestSilentMember: a member that connects and never says hello holds up nobody's
// owner goroutine, although transactions are announced to it again and again.
func TestSilentMember(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 0, nil)
	c.startFirst(2)
	key, err := p2p.LoadOrCreateKey(filepath.Join(c.homes[3], PeerKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	silent, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	addr, err := ma.NewMultiaddr(c.nodes[0].Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := silent.Connect(ctx, *info); err != nil {
		t.Fatal(err)
	}
	// Two of four are no quorum: the transfer waits and is announced again.
	c.submit(0, c.transfer(0, crypto.Address{19: 9}))
	stood := 0
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		done, begun := make(chan struct{}), time.Now()
		c.nodes[0].driver.deliver(ctx, func() { close(done) })
		<-done
		// A wait for the network took 5 s and more, at every announcement; a busy
		// machine may stand still that long, but not again and again.
		if took := time.Since(begun); took > 3*time.Second {
			if stood++; stood == 4 {
				t.Fatalf("the owner goroutine stood still for %s, not for the first time", took)
			}
			end = time.Now().Add(1500 * time.Millisecond)
		}
	}
}

// TestMalformedFrames: no bytes from a member make a node panic, and none reach
// the core.
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	c := running(t, 2, 0, nil)
	d := c.nodes[0].driver
	ctx := context.Background()
	good := consensus.EncodeEnvelope(&consensus.Envelope{Vote: &consensus.Vote{
		Subject: consensus.Subject{Kind: consensus.Nullify, View: 1}, Signer: 1, Signature: testKey(9).Sign(crypto.Hash{1}),
	}})
	frames := [][]byte{nil, {0}, {0xc0}, make([]byte, 1000), good} // the last is well formed, with a foreign signature
	for i := range good {
		frames = append(frames, good[:i], append(append([]byte(nil), good[:i]...), 0xff))
	}
	before := d.state.Load().View
	for _, f := range frames {
		d.onConsensus(ctx, c.nodes[1].host.ID(), f)
		d.onConsensus(ctx, "stranger", f)
		d.onFinalization(ctx, c.nodes[1].host.ID(), f)
		d.onTransactions(ctx, c.nodes[1].host.ID(), [][]byte{f})
		for name, serve := range d.handlers(ctx).Requests {
			if raw, err := serve(ctx, "stranger", f); err == nil && len(raw) > maxAnswerBytes(d.rules) {
				t.Errorf("%s: an answer of %d bytes", name, len(raw))
			}
		}
	}
	if after := d.state.Load().View; after != before {
		t.Errorf("view %d became %d", before, after)
	}
	c.pay(0, 0, 0, 1)
}

// TestLaterEpochJunk: finalizations of an epoch that has not begun cannot be
// checked, and do not make a node ask its peers more often than it may.
func TestLaterEpochJunk(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1, nil)
	c.startFirst(2)
	d := c.nodes[1].driver
	s := consensus.NewBitmap(1)
	s.Set(0)
	junk := consensus.Certificate{Subject: consensus.Subject{Kind: consensus.Finalize, Epoch: 9, View: 7, ParentView: 6, Block: crypto.Hash{1}}, Signers: s}
	junk.Signatures = []crypto.Signature{testKey(9).Sign(crypto.Hash{2})}
	raw := consensus.EncodeCertificate(&junk)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if v := d.onFinalization(context.Background(), c.nodes[0].host.ID(), raw); v != p2p.Ignore {
			t.Fatal(v)
		}
	}
	c.pay(1, 0, 0, 1)
}

// TestBodiesCache: proposals whose headers claim what they like do not displace
// the newest body for good.
func TestBodiesCache(t *testing.T) {
	t.Parallel()
	var b bodies
	for i := range 3 * maxBodies {
		b.put(types.NewBlockWithHeader(&types.Header{Number: new(big.Int).SetUint64(1<<63 + uint64(i))}))
	}
	honest := types.NewBlockWithHeader(&types.Header{Number: big.NewInt(2000)})
	b.put(honest)
	b.dropUpTo(1000)
	if b.get(honest.Hash()) == nil || len(b.order) > maxBodies || len(b.byHash) != len(b.order) {
		t.Errorf("%d bodies, honest one there: %v", len(b.order), b.get(honest.Hash()) != nil)
	}
	b.dropUpTo(2000)
	if b.get(honest.Hash()) != nil {
		t.Error("a body at a final height stays")
	}
}

// TestIntake: one proposal of each view near ours is decoded.
func TestIntake(t *testing.T) {
	t.Parallel()
	var in intake
	at := func(view uint64, block byte) consensus.Subject {
		return consensus.Subject{Kind: consensus.Notarize, View: view, Block: crypto.Hash{block}}
	}
	for _, step := range []struct {
		subject consensus.Subject
		view    uint64
		want    bool
	}{
		{at(10, 1), 10, true},
		{at(10, 1), 10, false},
		{at(10, 2), 10, false},
		{at(11, 1), 10, true},
		{at(12, 1), 10, false},
		{at(8, 1), 10, false},
		{at(9, 1), 10, true},
		{at(1<<63, 1), 10, false},
		{at(12, 1), 11, true},
	} {
		if got := in.take(step.subject, step.view); got != step.want {
			t.Errorf("view %d seen from %d: %v, want %v", step.subject.View, step.view, got, step.want)
		}
	}
	in.giveBack(at(12, 1))
	if !in.take(at(12, 1), 11) {
		t.Error("a body that did not fit keeps its view taken")
	}
}
