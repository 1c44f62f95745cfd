package consensus

import (
	"encoding/binary"
	"fmt"
	"testing"

	"cairn/crypto"
)

// cluster is n cores on a network that delivers every message at once, in order.
// The simulator does everything else; this shows that the parts fit.
type cluster struct {
	t       testing.TB
	now     int64
	cores   []*Core
	queues  [][]Event
	bodies  []map[crypto.Hash]Block
	commits [][]crypto.Hash
	records [][]Record
	cfgs    []Config
	down    []bool
	steps   int
}

var testNetwork = Network{ChainID: 7, Genesis: crypto.Keccak256([]byte("genesis"))}

func testMembers(n int) []crypto.Address {
	out := make([]crypto.Address, n)
	for i := range out {
		binary.BigEndian.PutUint32(out[i][:], uint32(i+1))
	}
	return out
}

// testSign stands in for a key: the core never looks into a signature.
func testSign(self int) func(crypto.Hash) crypto.Signature {
	return func(h crypto.Hash) (s crypto.Signature) {
		copy(s[:], h[:])
		s[40] = byte(self)
		return s
	}
}

var testRoot = Block{Hash: testNetwork.Genesis}

func testConfig(n, self int) Config {
	cfg := Config{
		Network: testNetwork, Members: testMembers(n), Self: self,
		Delta: 500, DeltaMax: 4000, Root: Root{Block: testRoot},
	}
	if self >= 0 {
		cfg.Sign = testSign(self)
	}
	return cfg
}

func newCluster(t testing.TB, n int) *cluster {
	k := &cluster{t: t, now: 1000}
	for i := range n {
		k.cfgs = append(k.cfgs, testConfig(n, i))
		k.cores = append(k.cores, nil)
		k.queues = append(k.queues, nil)
		k.bodies = append(k.bodies, map[crypto.Hash]Block{})
		k.commits = append(k.commits, nil)
		k.records = append(k.records, nil)
		k.down = append(k.down, false)
	}
	for i := range n {
		k.start(i)
	}
	return k
}

func (k *cluster) start(i int) {
	c, eff, err := New(k.cfgs[i], k.records[i], k.now, k.now)
	if err != nil {
		k.t.Fatalf("start core %d: %v", i, err)
	}
	k.cores[i], k.queues[i], k.down[i] = c, nil, false
	k.carry(i, eff)
}

func (k *cluster) push(i int, ev Event) {
	if !k.down[i] {
		k.queues[i] = append(k.queues[i], ev)
	}
}

func (k *cluster) deliver(from, to int, m Message) {
	switch {
	case k.down[to]:
	case m.Vote != nil:
		k.push(to, VoteReceived{From: from, Vote: *m.Vote})
	case m.Certificate != nil:
		k.push(to, CertificateReceived{From: from, Certificate: *m.Certificate})
	case m.Proposal != nil:
		if m.Proposal.Parent != nil {
			k.push(to, CertificateReceived{From: from, Certificate: *m.Proposal.Parent})
		}
		for _, c := range m.Proposal.Nullifications {
			k.push(to, CertificateReceived{From: from, Certificate: c})
		}
		k.bodies[to][m.Proposal.Block.Hash] = m.Proposal.Block
		k.push(to, ProposalReceived{From: from, Proposal: *m.Proposal})
	}
}

// carry does what effects ask.
func (k *cluster) carry(i int, eff Effects) {
	k.records[i] = append(k.records[i], eff.Persist...)
	for _, m := range eff.Broadcast {
		for to := range k.cores {
			if to != i {
				k.deliver(i, to, m)
			}
		}
	}
	for _, d := range eff.SendTo {
		for _, m := range d.Messages {
			k.deliver(i, d.To, m)
		}
	}
	if len(eff.Persist) > 0 {
		k.push(i, Persisted{})
	}
	if b := eff.Build; b != nil {
		parent := k.block(b.Parent)
		nb := Block{
			Parent: b.Parent, Height: parent.Height + 1, Epoch: b.Epoch, View: b.View,
			Proposer: k.cfgs[i].Members[i], Timestamp: b.MinTimestamp,
		}
		nb.Hash = crypto.Keccak256([]byte(fmt.Sprint(nb)))
		k.bodies[i][nb.Hash] = nb
		k.push(i, Built{View: b.View, Block: nb})
	}
	for _, h := range eff.Execute {
		k.push(i, Executed{Block: h, Status: ExecutionOK})
		k.push(i, BlockDurable{Block: k.bodies[i][h]})
	}
	for _, h := range eff.FetchBlocks {
		b := k.block(h)
		k.bodies[i][h] = b
		k.push(i, BlockDurable{Block: b})
	}
	for _, r := range eff.FetchCertificates {
		for from := range k.cores {
			for v := r.From; v <= r.To && from != i && !k.down[from]; v++ {
				if vs := k.cores[from].lookup(v); vs != nil {
					for _, c := range vs.certs {
						if c != nil {
							k.push(i, CertificateReceived{From: from, Certificate: *c})
						}
					}
				}
			}
		}
	}
	for _, c := range eff.Commit {
		b := k.block(c.Block)
		k.commits[i] = append(k.commits[i], c.Block)
		k.cfgs[i].Root = Root{Block: b, View: c.View, Finalization: &c}
	}
	if eff.Halt != "" {
		k.t.Fatalf("core %d halted: %s", i, eff.Halt)
	}
	if len(eff.Evidence) > 0 {
		k.t.Fatalf("core %d has evidence: %+v", i, eff.Evidence)
	}
}

func (k *cluster) block(h crypto.Hash) Block {
	if h == testRoot.Hash {
		return testRoot
	}
	for i := range k.bodies {
		if b, ok := k.bodies[i][h]; ok {
			return b
		}
	}
	k.t.Fatalf("nobody has block %s", h)
	return Block{}
}

// drain steps every core, in turn, until no event is left or steps are.
func (k *cluster) drain(limit int) {
	for range limit {
		idle := true
		for i := range k.cores {
			if k.down[i] || len(k.queues[i]) == 0 {
				continue
			}
			idle = false
			ev := k.queues[i][0]
			k.queues[i] = k.queues[i][1:]
			k.steps++
			k.carry(i, k.cores[i].Step(k.now, k.now, ev))
		}
		if idle {
			return
		}
	}
}

// run lets time pass.
func (k *cluster) run(ms, step int64) {
	for end := k.now + ms; k.now < end; k.now += step {
		for i := range k.cores {
			k.push(i, Tick{})
		}
		k.drain(20)
	}
}

func (k *cluster) work(on bool) {
	for i := range k.cores {
		k.push(i, WorkPending{Pending: on})
	}
}

func TestClusterCommitsAndIdles(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7} {
		t.Run(fmt.Sprintf("n=%d", n), func(t *testing.T) {
			k := newCluster(t, n)
			k.run(2000, 50)
			if k.commits[0] != nil {
				t.Fatalf("an idle network made %d blocks", len(k.commits[0]))
			}
			k.work(true)
			k.run(1000, 50)
			k.work(false)
			k.run(5000, 50)
			busy := len(k.commits[0])
			if busy < 10 {
				t.Fatalf("%d blocks in 1 s without delays", busy)
			}
			k.run(60000, 100)
			for i := range k.commits {
				if got := len(k.commits[i]); got < busy-1 || got > busy+3 {
					t.Errorf("core %d committed %d blocks, core 0 %d while busy: it is not idle", i, got, busy)
				}
				if v := k.cores[i].Status(); v.LastFinalizedView != v.CommittedView || v.TipView != v.LastFinalizedView {
					t.Errorf("core %d idles with an unfinalized tip: %+v", i, v)
				}
			}
		})
	}
}

func TestClusterGoesOnWithoutOne(t *testing.T) {
	k := newCluster(t, 4)
	k.work(true)
	k.run(1000, 50)
	k.down[2] = true
	k.run(20000, 50)
	before := len(k.commits[0])
	k.run(10000, 50)
	if made := len(k.commits[0]) - before; made < 50 {
		t.Fatalf("%d blocks in 10 s with one of four down: the silent leader is not skipped", made)
	}
	k.start(2)
	k.work(true)
	k.run(10000, 50)
	last := k.cores[2].Status()
	if first := k.cores[0].Status(); last.CommittedHeight+3 < first.CommittedHeight {
		t.Fatalf("core 2 came back at height %d, core 0 is at %d", last.CommittedHeight, first.CommittedHeight)
	}
}

func TestClusterRestartsWhole(t *testing.T) {
	k := newCluster(t, 4)
	k.work(true)
	for round := range 20 {
		k.run(300, 50)
		k.drain(round)
		heights := len(k.commits[0])
		for i := range k.cores {
			k.down[i] = true
		}
		for i := range k.cores {
			k.start(i)
		}
		k.work(true)
		k.run(3000, 50)
		if len(k.commits[0]) <= heights {
			t.Fatalf("round %d: stuck at %d blocks after everyone restarted: %+v", round, heights, k.cores[0].Status())
		}
	}
}
