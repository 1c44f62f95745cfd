package consensus

import "cairn/crypto"

func (s Subject) Digest(n Network) crypto.Hash                                    { panic("soon") }
func VerifyVote(n Network, epoch uint32, members []crypto.Address, v *Vote) error { panic("soon") }
func VerifyCertificate(n Network, epoch uint32, members []crypto.Address, c *Certificate) error {
	panic("soon")
}
func VerifyProposal(n Network, epoch uint32, members []crypto.Address, p *ProposalEnvelope) error {
	panic("soon")
}
