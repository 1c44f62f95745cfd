package sim

import "cairn/consensus"

// kept: a notarization and a nullification of one view are both kept until a
// finalization at or above it, whatever we signed there ourselves.
func (c *checks) kept(nd *node, ev consensus.Event) {
	e, ok := ev.(consensus.CertificateReceived)
	s := &nd.status
	if !ok || !nd.honest() || s.Halted != "" || e.Certificate.View <= s.LastFinalizedView || c.w.plants(Unverified) {
		return
	}
	if !nd.core.Has(e.Certificate.Subject) {
		c.w.violate("kept", "n%d was given %s above its last final view %d and does not hold it", nd.id,
			describeCertificate(&e.Certificate), s.LastFinalizedView)
	}
}
