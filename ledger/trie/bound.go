package trie

import "slices"

// Resident is the number of nodes of this version that are in memory. In a
// trie of 100,000 accounts a node takes 200 bytes on average (a leaf 160, a
// branch up to 750) and there are 1.4 nodes an account. Nodes that versions
// share are there once.
func (t *Trie) Resident() int { return t.resident }

// Bound is the same version with at most maxNodes nodes in memory; all others
// are read from the source again when they are needed. t and the versions that
// share nodes with it are as they were: memory is free once they are dropped.
//
// The nodes that stay are those that updates made most lately, of one update
// those nearest to the root. Since a node is at least as young as its
// children, they hang together. A version that is below maxNodes is answered
// as it is; one above is cut to three quarters, so that the cost, which is
// that of a walk through all nodes in memory, is shared by many updates.
//
// What Bound drops must be in the source: call it on versions that are stored.
func (t *Trie) Bound(maxNodes int) *Trie { return t.BoundAbove(t, maxNodes) }

// BoundAbove is Bound for a version whose own changes are not stored yet.
// stored is the version on disk that t was made from by Update, Bound,
// BoundAbove and WithSource. Nodes made after it stay whatever maxNodes says:
// they are nowhere else. So a chain of unfinalized blocks is bounded while
// each block is built on the one before it, and never on a version that was
// bounded after it was stored.
func (t *Trie) BoundAbove(stored *Trie, maxNodes int) *Trie {
	if t.resident <= max(maxNodes, 0) {
		return t
	}
	order := make([]rank, 0, t.resident)
	t.root.node.visit(0, func(n *node, depth int) { order = append(order, n.rank(depth)) })
	slices.SortFunc(order, func(a, b rank) int { return a.compare(b) })
	cut := order[max(maxNodes, 0)/4*3]
	if cut.gen > stored.gen {
		cut = rank{gen: stored.gen} // all that is stored
	}
	c := *t
	c.resident = 0
	c.root.node = t.root.node.trim(0, cut, &c.resident)
	return &c
}

// rank is the place of a node among those that may be dropped: the later
// update first, then the one nearer to the root. Nodes of one rank stay or go
// together.
type rank struct {
	gen   uint32
	depth int // nodes above it
}

func (n *node) rank(depth int) rank { return rank{gen: n.gen, depth: depth} }

func (r rank) compare(s rank) int {
	if r.gen != s.gen {
		if r.gen > s.gen {
			return -1
		}
		return 1
	}
	return r.depth - s.depth
}

// visit shows n and the nodes below it that are in memory.
func (n *node) visit(depth int, show func(n *node, depth int)) {
	if n == nil {
		return
	}
	show(n, depth)
	n.child.visit(depth+1, show)
	if n.kids != nil {
		for _, kid := range n.kids {
			kid.visit(depth+1, show)
		}
	}
}

// trim is n without the nodes below it whose rank is cut or after; nil if it
// is one itself. It copies what it changes and counts what stays.
func (n *node) trim(depth int, cut rank, kept *int) *node {
	if n == nil || n.rank(depth).compare(cut) >= 0 {
		return nil
	}
	*kept++
	if n.kids == nil {
		child := n.child.trim(depth+1, cut, kept)
		if child == n.child {
			return n
		}
		return &node{blob: n.blob, child: child, gen: n.gen, kind: n.kind}
	}
	var kids [16]*node
	some := false
	for digit, kid := range n.kids {
		kids[digit] = kid.trim(depth+1, cut, kept)
		some = some || kids[digit] != nil
	}
	if kids == *n.kids {
		return n
	}
	c := &node{blob: n.blob, gen: n.gen, kind: n.kind}
	if some {
		c.kids = &kids
	}
	return c
}
