package sim

import (
	"slices"

	"cairn/consensus"
	"cairn/crypto"
)

// garbageSigner sends what does not verify: votes in the name of others, damaged
// signatures, certificates with too few signers, with one signature for many, or
// with signers that are no members, and true proposals with such attachments.
type garbageSigner struct {
	obedient
	seen []consensus.Certificate
}

func (a *garbageSigner) receive(_ *node, p *packet) bool {
	if c := p.message.Certificate; c != nil {
		a.seen = append(a.seen, *c)
		if len(a.seen) > 16 {
			a.seen = a.seen[1:]
		}
	}
	return true
}

func (a *garbageSigner) send(nd *node, to int, m *consensus.Message) {
	if m.Proposal == nil || nd.w.rng.chance(300) {
		nd.transmit(to, m, everyNode)
		return
	}
	out := *m.Proposal // what is attached is the sender's fault, not the leader's
	if out.Parent != nil {
		bad := nd.damage(out.Parent)
		out.Parent = &bad
	}
	out.Nullifications = nil
	for i := range m.Proposal.Nullifications {
		out.Nullifications = append(out.Nullifications, nd.damage(&m.Proposal.Nullifications[i]))
	}
	nd.transmit(to, &consensus.Message{Proposal: &out}, everyNode)
}

func (a *garbageSigner) disrupt(nd *node) {
	r, all := nd.w.rng, len(nd.w.nodes)
	others := len(nd.w.set(nd.coreEpoch).members)
	for range 1 + r.intn(6) {
		v := nd.cast(consensus.Subject{Kind: consensus.Nullify, Epoch: nd.coreEpoch, View: nd.status.View + uint64(r.intn(3))})
		if r.chance(700) {
			v.Signer = uint16(r.intn(others + 2))
		}
		if int(v.Signer) == nd.self || r.chance(300) {
			v.Signature[r.intn(crypto.HashLength)] ^= 1 << r.intn(8) // not in the part that names the signer
		}
		nd.whisper(r.subset(all), &consensus.Message{Vote: v})
	}
	if len(a.seen) > 0 {
		bad := nd.damage(&a.seen[r.intn(len(a.seen))])
		nd.whisper(r.subset(all), &consensus.Message{Certificate: &bad})
	}
}

// damage makes a certificate that must not be believed out of a true one.
func (nd *node) damage(c *consensus.Certificate) consensus.Certificate {
	r, bad := nd.w.rng, *c
	bad.Signers, bad.Signatures = slices.Clone(c.Signers), slices.Clone(c.Signatures)
	n := len(nd.w.set(nd.coreEpoch).members)
	switch r.intn(6) {
	case 0: // another view, as if the same members had voted there
		bad.View++
	case 1: // another kind
		bad.Kind = consensus.Nullify
		bad.ParentView, bad.Block = 0, crypto.Hash{}
		if c.Kind == consensus.Nullify {
			bad.View += 2
		}
	case 2: // too few
		bad.Signers = consensus.NewBitmap(n)
		if nd.self >= 0 {
			bad.Signers.Set(nd.self)
		}
		bad.Signatures = []crypto.Signature{sign(nd.validator, nd.w.digest(bad.Subject))}
	case 3: // one signature for all
		for i := range bad.Signatures {
			bad.Signatures[i] = sign(nd.validator, nd.w.digest(bad.Subject))
		}
		if len(bad.Signatures) == 1 {
			bad.Signatures[0][1] ^= 1
		}
	case 4: // signers beyond the set
		bad.Signers = append(bad.Signers, 0xff)
		for range 8 {
			bad.Signatures = append(bad.Signatures, sign(nd.validator, nd.w.digest(bad.Subject)))
		}
	case 5: // one bit
		bad.Signatures[r.intn(len(bad.Signatures))][r.intn(32)] ^= 1
	}
	return bad
}
