package cairn

import (
	"testing"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// TestOneVoteDigest: what the registry checks in a report is what consensus
// signs. They cannot share the code: neither may import the other.
func TestOneVoteDigest(t *testing.T) {
	t.Parallel()
	spec := genesis.Development()
	cfg := chain.NewConfig(spec, crypto.Hash{3})
	net := consensus.Network{ChainID: spec.ChainID, Genesis: cfg.Genesis}
	key := genesis.DevelopmentValidator()
	vote := func(s consensus.Subject) chain.SignedVote {
		v := chain.SignedVote{Kind: uint8(s.Kind), ParentView: s.ParentView, Block: s.Block}
		if got, want := chain.VoteDigest(cfg, s.Epoch, s.View, &v), s.Digest(net); got != want {
			t.Errorf("%+v: the registry's digest is %s, consensus has %s", s, got, want)
		}
		sig := key.Sign(s.Digest(net))
		v.Signature = sig[:]
		return v
	}
	at := consensus.Subject{Epoch: 0x01020304, View: 1 << 40, ParentView: 1<<40 - 2}
	of := func(kind consensus.Kind, block byte) chain.SignedVote {
		s := at
		s.Kind, s.Block = kind, crypto.Hash{block}
		return vote(s)
	}
	nullify := vote(consensus.Subject{Kind: consensus.Nullify, Epoch: at.Epoch, View: at.View})
	for name, pair := range map[string][2]chain.SignedVote{
		"notarizes": {of(consensus.Notarize, 1), of(consensus.Notarize, 2)},
		"finalizes": {of(consensus.Finalize, 1), of(consensus.Finalize, 2)},
		"both":      {nullify, of(consensus.Finalize, 1)},
	} {
		if err := chain.CheckEquivocation(cfg, key.Address(), at.Epoch, at.View, &pair[0], &pair[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
