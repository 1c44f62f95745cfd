package sim

import (
	"cairn/consensus"
	"cairn/crypto"
)

// digest is what a vote of s signs.
func (w *world) digest(s consensus.Subject) crypto.Hash {
	d, ok := w.digests[s]
	if !ok {
		d = s.Digest(consensus.Network{ChainID: w.plan.seed, Genesis: w.genesis.Hash})
		w.digests[s] = d
	}
	return d
}

// begun says whether a set was ever drawn for this epoch: garbage may name any.
func (w *world) begun(epoch uint32) bool {
	return uint64(epoch-w.plan.epoch) < uint64(len(w.plan.sets))
}

// authentic says whether the member that a vote names signed it.
func (w *world) authentic(v *consensus.Vote) bool {
	if !w.begun(v.Epoch) || v.Subject.Check() != nil {
		return false
	}
	set := w.set(v.Epoch)
	return int(v.Signer) < len(set.members) && v.Signature == sign(set.members[v.Signer], w.digest(v.Subject))
}

// genuine says whether a quorum of distinct members signed a certificate.
func (w *world) genuine(c *consensus.Certificate) bool {
	if !w.begun(c.Epoch) || c.Subject.Check() != nil {
		return false
	}
	set, digest, count := w.set(c.Epoch), w.digest(c.Subject), 0
	for i := range 8 * len(c.Signers) {
		if !c.Signers.Has(i) {
			continue
		}
		if i >= len(set.members) || count == len(c.Signatures) || c.Signatures[count] != sign(set.members[i], digest) {
			return false
		}
		count++
	}
	return count >= set.quorum && count == len(c.Signatures) && len(c.Signers) == (len(set.members)+7)/8
}

// verified is the driver's door: only what is authentic passes to the core. What
// a peer attached to a proposal is checked on its own and comes first; a bad
// attachment is dropped and is not the leader's fault.
func (nd *node) verified(in input, all *consensus.Effects) bool {
	w := nd.w
	open := w.plants(Unverified)
	switch e := in.event.(type) {
	case consensus.VoteReceived:
		if !open && !w.authentic(&e.Vote) {
			w.saw(sawForged)
			return false
		}
	case consensus.CertificateReceived:
		if !open && !w.genuine(&e.Certificate) {
			w.saw(sawForged)
			return false
		}
	case consensus.ProposalReceived:
		p := &e.Proposal
		leader := int((p.Vote.View + uint64(p.Vote.Epoch)) % uint64(len(w.set(nd.coreEpoch).members)))
		if !open && (!w.authentic(&p.Vote) || int(p.Vote.Signer) != leader) {
			w.saw(sawForged)
			return false
		}
		for _, c := range certificatesIn(&consensus.Message{Proposal: p}) {
			if c.Epoch == nd.coreEpoch && w.genuine(c) {
				nd.step(consensus.CertificateReceived{From: e.From, Certificate: *c}, all)
			}
		}
	}
	return true
}
