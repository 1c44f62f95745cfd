package consensus

import (
	"testing"

	"cairn/crypto"
)

// TestForgetful: a member of two that lost its records and was told to vote
// nevertheless takes back what the other one still holds of its votes, instead of
// taking itself for another process with its key: else no command could ever bring
// the two back.
func TestForgetful(t *testing.T) {
	t.Parallel()
	block := Block{Hash: crypto.Hash{1}, Height: 1, View: 1, Timestamp: 2}
	notarize := Subject{Kind: Notarize, View: 1, Block: block.Hash}
	start := func(forgetful bool, records ...Record) *Core {
		c, _, err := New(Config{
			Members: []crypto.Address{{1}, {2}}, Sign: func(crypto.Hash) (s crypto.Signature) { return s },
			Delta: 100, DeltaMax: 1000, Forgetful: forgetful,
		}, records, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	of := func(s Subject, signers ...int) Certificate {
		cert := Certificate{Subject: s, Signers: NewBitmap(2), Signatures: make([]crypto.Signature, len(signers))}
		for _, i := range signers {
			cert.Signers.Set(i)
		}
		return cert
	}
	both := of(notarize, 0, 1)

	c := start(false)
	if eff := c.Step(2, 2, CertificateReceived{From: 1, Certificate: both}); eff.Twin == nil {
		t.Error("who must remember takes an unknown vote for its own")
	}
	c = start(true)
	eff := c.Step(2, 2, CertificateReceived{From: 1, Certificate: both})
	kept := false
	for _, r := range eff.Persist {
		kept = kept || r.Vote != nil && r.Vote.Subject == notarize
	}
	if eff.Twin != nil || !kept || !c.Status().Voting {
		t.Fatalf("twin %v, persisted %v, voting %t", eff.Twin, kept, c.Status().Voting)
	}
	if v := c.sign(Subject{Kind: Notarize, View: 1, Block: crypto.Hash{9}}); v != nil {
		t.Error("it contradicts the vote that came back")
	}
	// A certificate in the records says the same as one that comes.
	if v := start(true, Record{Certificate: &both}).sign(Subject{Kind: Notarize, View: 1, Block: crypto.Hash{9}}); v != nil {
		t.Error("it contradicts a vote in a certificate of its own records")
	}
	// What contradicts is another process all the same.
	eff = c.Step(3, 3, VoteReceived{From: 1, Vote: Vote{Subject: Subject{Kind: Notarize, View: 1, Block: crypto.Hash{9}}}})
	if eff.Twin == nil || c.Status().Voting {
		t.Error("a contradicting vote of its own key is taken over")
	}

	// Its memory is whole two views above what the other one told.
	c = start(true)
	c.Step(2, 2, ViewReported{From: 1, View: 4})
	for view, whole := range map[uint64]bool{5: false, 6: true} {
		f := of(Subject{Kind: Finalize, View: view, ParentView: view - 1, Block: crypto.Hash{byte(view)}}, 0, 1)
		c := start(true)
		c.Step(2, 2, ViewReported{From: 1, View: 4})
		c.Step(3, 3, CertificateReceived{From: 1, Certificate: f})
		if got := !c.Status().Forgetful; got != whole {
			t.Errorf("final view %d: whole %t, want %t", view, got, whole)
		}
	}
	if start(true).Status().Forgetful != true {
		t.Error("whole before anybody told")
	}
}
