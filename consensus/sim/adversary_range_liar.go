package sim

import "cairn/consensus"

// rangeLiar serves others, be it a member or not, with forged answers: branches of
// its own making, blocks that are notarized and not final, finalizations of other
// blocks or by too few, chains with a piece left out, views that nobody reached.
// What it is besides, another adversary decides.
type rangeLiar struct{ adversary }

func (a *rangeLiar) answers(nd *node, r *request, out *response) {
	if nd.w.rng.chance(200) {
		return // the truth, now and then
	}
	switch {
	case r.views != nil:
		for i := range out.certificates {
			out.certificates[i] = nd.damage(&out.certificates[i])
		}
	case r.report:
		a.report(nd, out)
	case r.head:
		a.head(nd, out)
	case r.chain:
		a.chain(nd, out)
	case len(out.blocks) > 0:
		out.blocks = []*block{nd.branch(out.blocks[0].parent, out.blocks[0])}
	}
}

// report names a view beyond all others, which would keep an observer waiting for
// ever, or the first one, as if nothing had happened.
func (a *rangeLiar) report(nd *node, out *response) {
	if nd.w.rng.chance(500) {
		out.view, out.certificates = 1, nil
		return
	}
	out.view += uint64(nd.w.rng.between(1, 1000))
	for i := range out.certificates {
		c := out.certificates[i]
		c.View = out.view - 1
		out.certificates[i] = c
	}
}

func (a *rangeLiar) head(nd *node, out *response) {
	if out.finalization == nil {
		return
	}
	bad := *out.finalization
	switch nd.w.rng.intn(3) {
	case 0: // signatures for something else
		bad = nd.damage(out.finalization)
	case 1: // far ahead
		bad.View += uint64(nd.w.rng.between(1, 1000))
	case 2: // of the next epoch, in which nobody has voted
		bad.Epoch++
	}
	out.finalization = &bad
}

// chain forges the final blocks above a height.
func (a *rangeLiar) chain(nd *node, out *response) {
	r, top := nd.w.rng, len(out.blocks)-1
	out.blocks, out.proofs = append([]*block(nil), out.blocks...), append([]*consensus.Certificate(nil), out.proofs...)
	at := r.intn(top + 1)
	switch r.intn(6) {
	case 0: // another branch, with the proofs of the true one
		a.fork(nd, out, at)
	case 1: // or with its signatures under other words
		a.fork(nd, out, at)
		for i := at; i <= top; i++ {
			if out.proofs[i] != nil {
				bad := *out.proofs[i]
				bad.Block = out.blocks[i].Hash
				out.proofs[i] = &bad
			}
		}
	case 2: // one more block, which is at most notarized
		if !a.notarized(nd, out) {
			out.proofs[top] = nil
		}
	case 3: // what proves the blocks at and above one is left out
		for i := at; i <= top; i++ {
			out.proofs[i] = nil
		}
	case 4: // a block is left out
		out.blocks = append(out.blocks[:at], out.blocks[at+1:]...)
		out.proofs = append(out.proofs[:at], out.proofs[at+1:]...)
	case 5: // too few have signed
		bad := nd.damage(out.proofs[top])
		out.proofs[top] = &bad
	}
}

// fork replaces the blocks from the at-th on by others.
func (a *rangeLiar) fork(nd *node, out *response, at int) {
	parent := out.blocks[at].parent
	for i := at; i < len(out.blocks); i++ {
		out.blocks[i] = nd.branch(parent, out.blocks[i])
		parent = out.blocks[i]
	}
}

// notarized adds a child of the last block that this node holds a notarization of,
// and calls that a finalization.
func (a *rangeLiar) notarized(nd *node, out *response) bool {
	top := out.blocks[len(out.blocks)-1]
	held := nd.core.Certificates(0, nd.status.View)
	for i := range held {
		c := held[i]
		if b := nd.w.blocks[c.Block]; c.Kind == consensus.Notarize && b != nil && b.parent == top {
			if nd.w.rng.chance(500) {
				c.Kind = consensus.Finalize
			}
			out.blocks, out.proofs = append(out.blocks, b), append(out.proofs, &c)
			return true
		}
	}
	return false
}

// branch makes another block on a parent, in the place of an old one.
func (nd *node) branch(parent, old *block) *block {
	b := *old
	b.transactions = nil
	if parent != nil {
		b.parent, b.Parent = parent, parent.Hash
	}
	return nd.w.register(&b, nd.w.rng.next())
}
