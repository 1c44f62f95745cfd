package sim

import "cairn/consensus"

// liar leads its views badly: it skips a notarized view, names another parent
// view than that of its block's parent, or gives its block another parent than
// the view it names has.
type liar struct {
	obedient
	proven []*consensus.Certificate // notarizations and finalizations seen, newest last
	nulls  []consensus.Certificate  // nullifications seen, newest first
}

// remembered bounds what the liar keeps of certificates.
const remembered = 32

func (a *liar) receive(nd *node, p *packet) bool {
	for _, c := range certificatesIn(p.message) {
		a.remember(c)
	}
	return true
}

func (a *liar) remember(c *consensus.Certificate) {
	if c.Kind == consensus.Nullify {
		for i := range a.nulls {
			if a.nulls[i].Subject == c.Subject {
				return
			}
		}
		if len(a.nulls) > 0 && a.nulls[0].Epoch != c.Epoch {
			a.nulls = nil
		}
		a.nulls = append([]consensus.Certificate{*c}, a.nulls...)
		a.nulls = a.nulls[:min(len(a.nulls), consensus.MaxAttachedNullifications)]
		return
	}
	for _, old := range a.proven {
		if old.Epoch == c.Epoch && old.View == c.View {
			return
		}
	}
	a.proven = append(a.proven, c)
	if len(a.proven) > remembered {
		a.proven = a.proven[1:]
	}
}

func (a *liar) send(nd *node, to int, m *consensus.Message) {
	for _, c := range certificatesIn(m) {
		a.remember(c)
	}
	if m.Proposal == nil || len(a.proven) == 0 || nd.w.rng.chance(200) {
		nd.transmit(to, m, everyNode)
		return
	}
	nd.transmit(to, &consensus.Message{Proposal: a.lie(nd, m.Proposal)}, everyNode)
}

// lie makes a false proposal out of a true one.
func (a *liar) lie(nd *node, p *consensus.Proposal) *consensus.Proposal {
	// Mostly a recent one: others execute only on the head or above it.
	i := len(a.proven) - 1 - nd.w.rng.intn(min(4, len(a.proven)))
	if nd.w.rng.chance(200) {
		i = nd.w.rng.intn(len(a.proven))
	}
	older := a.proven[i]
	parent := nd.w.blocks[older.Block]
	if parent == nil || older.View >= p.Vote.View || older.View == p.Vote.ParentView || older.Epoch != p.Vote.Epoch {
		return p
	}
	b := *nd.w.blocks[p.Block.Hash]
	b.transactions = nil
	out := *p
	s := p.Vote.Subject
	switch nd.w.rng.intn(3) {
	case 0: // an honest child of an older block: skips what came since
		b.parent, b.Parent, b.Height = parent, parent.Hash, parent.Height+1
		s.ParentView = older.View
		out.Parent, out.Nullifications = older, a.nulls
	case 1: // the parent view is another one than that of the parent
		s.ParentView = older.View
		out.Parent = older
	case 2: // the parent is another block than that of the parent view
		b.parent, b.Parent, b.Height = parent, parent.Hash, parent.Height+1
	}
	made := nd.w.register(&b, nd.w.rng.next())
	nd.store(made)
	s.Block = made.Hash
	out.Block, out.Vote = made.Block, *nd.cast(s)
	return &out
}
