package consensus

import (
	"testing"

	"cairn/crypto"
)

// One Byzantine member of four proposes early (while the view before runs) blocks whose
// header claims a huge height and view. Nothing ever drops them.
func TestHugeHeaders(t *testing.T) {
	c, _, err := New(testConfig(4, 0), nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1)
	parent, parentView := testRoot, uint64(0)
	for v := uint64(1); v < 4*(MaxHeldBlocks+20); v++ {
		now++
		if Leader(0, v+1, 4) == 1 { // the Byzantine leader of the next view
			b := Block{Hash: crypto.Keccak256([]byte{byte(v), byte(v >> 8), 9}), Parent: crypto.Hash{9}, Height: 1 << 63, View: 1 << 63, Timestamp: 1}
			c.Step(now, now, ProposalReceived{From: 1, Proposal: Proposal{Block: b, Vote: Vote{
				Subject: Subject{Kind: Notarize, View: v + 1, ParentView: v, Block: b.Hash}, Signer: 1,
			}}})
		}
		leader := Leader(0, v, 4)
		if leader == 1 { // nullified: Byzantine; its proposal came while we were in v-1
			c.Step(now, now, CertificateReceived{From: 1, Certificate: testCertificate(Nullify, v, 0, crypto.Hash{})})
		} else { // honest view: block of v executed, notarized, finalized
			b := Block{
				Hash: crypto.Keccak256([]byte{byte(v), byte(v >> 8), 7}), Parent: parent.Hash, Height: parent.Height + 1, View: v,
				Proposer: testMembers(4)[leader], Timestamp: now,
			}
			c.Step(now, now, CertificateReceived{From: 2, Certificate: testCertificate(Finalize, v, parentView, b.Hash)})
			eff := c.Step(now, now, BlockDurable{Block: b})
			if len(eff.Execute) != 1 {
				t.Fatalf("view %d: the finalized block finds no place: %+v", v, c.Status())
			}
			eff = c.Step(now, now, Executed{Block: b.Hash, Status: ExecutionOK})
			if len(eff.Commit) != 1 {
				t.Fatalf("view %d: no commit %+v", v, c.Status())
			}
			parent, parentView = b, v
		}
		if v%512 == 0 {
			t.Logf("view %d blocks held %d behind %v", v, c.Status().Blocks, c.Status().Behind)
		}
	}
}
