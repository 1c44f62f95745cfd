package consensus

import (
	"testing"

	"cairn/crypto"
)

func chain(n int) []Block {
	out := []Block{testRoot}
	for h := 1; h <= n; h++ {
		p := out[h-1]
		out = append(out, Block{
			Hash: crypto.Keccak256(p.Hash[:], []byte{byte(h)}), Parent: p.Hash, Height: uint64(h), View: uint64(h),
			Proposer: testMembers(4)[Leader(0, uint64(h), 4)], Timestamp: int64(h),
		})
	}
	return out
}

func testCertificate(kind Kind, view, parentView uint64, block crypto.Hash) Certificate {
	c := Certificate{Subject: Subject{Kind: kind, View: view, ParentView: parentView, Block: block}, Signers: NewBitmap(4)}
	for i := range 3 {
		c.Signers.Set(i)
		c.Signatures = append(c.Signatures, crypto.Signature{byte(i)})
	}
	return c
}

// TestLongGap: a finalization far above the ledger. The core walks back as far as
// MaxHeldBlocks, says that it is behind, and goes on from where a sync leaves it.
func TestLongGap(t *testing.T) {
	const height = 2*MaxHeldBlocks + 100
	blocks := chain(height)
	c, _, err := New(testConfig(4, 0), nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1000)
	eff := c.Step(now, now, CertificateReceived{From: 1, Certificate: testCertificate(Finalize, height, height-1, blocks[height].Hash)})
	byHash := map[crypto.Hash]Block{}
	for _, b := range blocks {
		byHash[b.Hash] = b
	}
	serve := func(eff Effects) (commits int) {
		queue := []Effects{eff}
		for len(queue) > 0 {
			e := queue[0]
			queue = queue[1:]
			commits += len(e.Commit)
			for _, h := range e.FetchBlocks {
				queue = append(queue, c.Step(now, now, BlockDurable{Block: byHash[h]}))
			}
			for _, h := range e.Execute {
				queue = append(queue, c.Step(now, now, Executed{Block: h, Status: ExecutionOK}))
			}
		}
		return commits
	}
	if commits := serve(eff); commits != 0 {
		t.Fatalf("%d commits over a gap", commits)
	}
	s := c.Status()
	if !s.Behind || s.Blocks != MaxHeldBlocks {
		t.Fatalf("after the walk: %+v", s)
	}
	sync := func(h int) int {
		now += 10_000
		return serve(c.Step(now, now, Synced{Block: blocks[h], Finalization: testCertificate(Finalize, uint64(h), uint64(h-1), blocks[h].Hash)}))
	}
	if commits := sync(height / 2); commits != 0 || c.Status().CommittedHeight != height/2 {
		t.Fatalf("%d commits after a sync to the middle: %+v", commits, c.Status())
	}
	if commits := sync(height - 2); commits != 1 {
		t.Fatalf("%d commits after a sync to near the end: %+v", commits, c.Status())
	}
	if s := c.Status(); s.Behind || s.CommittedHeight != height || s.Blocks != 1 {
		t.Fatalf("at the end: %+v", s)
	}
}

// TestSyncForgetsFinalized: finalized blocks whose bodies never came are neither
// held nor asked for once a sync has brought a descendant.
func TestSyncForgetsFinalized(t *testing.T) {
	c, _, err := New(testConfig(4, 0), nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	const height = 50
	for h := uint64(1); h <= height; h += 2 {
		c.Step(int64(h), 1, CertificateReceived{From: 1, Certificate: testCertificate(Finalize, h, h-1, crypto.Hash{byte(h)})})
	}
	if s := c.Status(); s.Blocks < height/2 {
		t.Fatalf("%d blocks are wanted", s.Blocks)
	}
	top := Block{Hash: crypto.Hash{height}, Parent: crypto.Hash{height - 1}, Height: height, View: height, Timestamp: 1}
	c.Step(100, 1, Synced{Block: top, Finalization: testCertificate(Finalize, height, height-1, top.Hash)})
	if s := c.Status(); s.Blocks != 1 || s.CommittedHeight != height {
		t.Errorf("after the sync: %+v", s)
	}
	if eff := c.Step(100_000, 1, Tick{}); len(eff.FetchBlocks) > 0 {
		t.Errorf("%d blocks below the head are asked for", len(eff.FetchBlocks))
	}
}

// TestBodiesOfDeadViewsAreEvicted: leaders that propose and never get a quorum
// cannot fill the memory, nor keep a certified block from being tracked.
func TestBodiesOfDeadViewsAreEvicted(t *testing.T) {
	c, _, err := New(testConfig(4, 0), nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for v := uint64(1); v < MaxHeldBlocks+50; v++ {
		b := Block{
			Hash: crypto.Keccak256([]byte{byte(v), byte(v >> 8)}), Parent: testRoot.Hash, Height: 1, View: v,
			Proposer: testMembers(4)[Leader(0, v, 4)], Timestamp: 1,
		}
		leader := Leader(0, v, 4)
		c.Step(int64(v), 1, ProposalReceived{From: leader, Proposal: Proposal{Block: b, Vote: Vote{
			Subject: Subject{Kind: Notarize, View: v, Block: b.Hash}, Signer: uint16(leader),
		}}})
		c.Step(int64(v), 1, CertificateReceived{From: 1, Certificate: testCertificate(Nullify, v, 0, crypto.Hash{})})
	}
	s := c.Status()
	if s.Blocks > MaxHeldBlocks || s.Behind {
		t.Fatalf("%+v", s)
	}
	last := crypto.Hash{1}
	c.Step(10_000, 1, CertificateReceived{From: 1, Certificate: testCertificate(Notarize, s.View, 0, last)})
	if c.blocks[last] == nil {
		t.Error("no place for a certified block")
	}
}

// TestVotesAreForgotten: votes cost their senders nothing, so views that hold
// nothing else do not stay.
func TestVotesAreForgotten(t *testing.T) {
	c, _, err := New(testConfig(4, 0), nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	view := uint64(1)
	for range 200 {
		for v := view; v < view+2*futureWindow; v++ {
			c.Step(1, 1, VoteReceived{From: 3, Vote: Vote{Subject: Subject{Kind: Notarize, View: v, Block: crypto.Hash{9}}, Signer: 3}})
		}
		view += 1000
		c.Step(1, 1, CertificateReceived{From: 1, Certificate: testCertificate(Nullify, view, 0, crypto.Hash{})})
	}
	if s := c.Status(); s.Views > 200+2*(pastWindow+futureWindow) {
		t.Errorf("%d views held after 200 certificates", s.Views)
	}
}
