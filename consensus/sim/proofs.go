package sim

import (
	"fmt"

	"cairn/consensus"
)

// This file is the driver's door for answers of servers: nothing that anybody says
// of what is final, or of how far it is, is taken without the signatures that say so.

// provesChain says what is missing for blocks to be final that follow on our head,
// each with its own finalization or nil; empty = nothing. Each must be the child of
// the one before and of the epoch that its place gives it; the last one and each
// closing block needs a finalization of its own by the set of that epoch.
func (nd *node) provesChain(blocks []*block, proofs []*consensus.Certificate) string {
	parent, epoch := nd.disk.view.head(), nd.disk.view.floor.epoch
	for i, b := range blocks {
		proof := proofs[i]
		switch {
		case b.Parent != parent.Hash || b.Height != parent.Height+1:
			return fmt.Sprintf("%s is no child of %s", b, parent)
		case b.Epoch != epoch:
			return fmt.Sprintf("%s is of epoch %d, not %d", b, b.Epoch, epoch)
		case proof == nil && (i == len(blocks)-1 || nd.w.closes(b)):
			return fmt.Sprintf("%s has no finalization of its own", b)
		case proof != nil && !nd.w.finalizes(proof, b, epoch):
			return fmt.Sprintf("%s does not make %s final", describeCertificate(proof), b)
		}
		if nd.w.closes(b) {
			epoch++
		}
		parent = b
	}
	return ""
}

// finalizes says whether a certificate of an epoch makes b itself final.
func (w *world) finalizes(c *consensus.Certificate, b *block, epoch uint32) bool {
	return c.Kind == consensus.Finalize && c.Epoch == epoch && c.Block == b.Hash && w.genuine(c)
}

// provesHead says whether a peer's head of our epoch is final.
func (nd *node) provesHead(r *response) bool {
	return nd.w.plants(AnswersUnchecked) || len(r.blocks) == 1 && nd.w.finalizes(r.finalization, r.blocks[0], nd.coreEpoch)
}

// admits says whether a report comes with the certificate that admitted its sender
// to the view that it names. To the first view of an epoch everybody is admitted.
func (nd *node) admits(r *response) bool {
	if r.view == 1 || nd.w.plants(AnswersUnchecked) {
		return true
	}
	for i := range r.certificates {
		if c := &r.certificates[i]; c.Epoch == nd.coreEpoch && c.View+1 == r.view && nd.w.genuine(c) {
			return true
		}
	}
	return false
}

// refuse drops a lie and asks its sender nothing more in this life. An honest
// server must never look like a liar.
func (nd *node) refuse(from int, format string, args ...any) {
	w, what := nd.w, fmt.Sprintf(format, args...)
	w.saw(sawLie)
	w.note(nd, "n%d lies: %s", from, what)
	nd.liars = nd.liars.with(from)
	if peer := w.nodes[from]; nd.honest() && peer.honest() {
		w.violate("slander", "n%d takes honest n%d for a liar: %s", nd.id, from, what)
	}
}
