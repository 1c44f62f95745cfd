package sim

import "cairn/consensus"

// learn adds a transaction to the pool unless it is known.
func (nd *node) learn(t uint32) {
	if !nd.known[t] {
		nd.known[t] = true
		nd.pool = append(nd.pool, t)
	}
}

func (nd *node) drop(t uint32) {
	for i, p := range nd.pool {
		if p == t {
			nd.pool = append(nd.pool[:i], nd.pool[i+1:]...)
			return
		}
	}
}

// submit takes a transaction from a client: it is kept over restarts and gossiped.
func (nd *node) submit(t uint32) {
	nd.own = append(nd.own, t)
	if !nd.up {
		return
	}
	nd.learn(t)
	p := &packet{from: nd.id, pending: []uint32{t}}
	for i := range nd.w.nodes {
		nd.w.network.send(nd.id, i, p)
	}
	nd.run()
}

// candidates are the transactions a block on parent would include.
func (nd *node) candidates(parent *block) []uint32 {
	var out []uint32
	for _, t := range nd.pool {
		if len(out) < blockLimit && !nd.included(parent, t) {
			out = append(out, t)
		}
	}
	return out
}

// included says whether an unfinalized ancestor from b on holds t.
func (nd *node) included(b *block, t uint32) bool {
	height := nd.disk.view.head().Height
	for at := b; at != nil && at.Height > height; at = at.parent {
		for _, have := range at.transactions {
			if have == t {
				return true
			}
		}
	}
	return false
}

// hasWork says whether a builder would include something in the next block. What
// a block of the current view holds does not count while it is likely to become
// final; what a block of a view that failed holds does.
func (nd *node) hasWork() bool {
	if len(nd.pool) == 0 {
		return false
	}
	base := nd.w.blocks[nd.status.Tip]
	if nd.newest != nil && nd.newest.View >= nd.status.View && nd.w.now-nd.newestAt < 4*nd.w.delta() {
		base = nd.newest
	}
	for _, t := range nd.pool {
		if !nd.included(base, t) {
			return true
		}
	}
	return false
}

// announceLimit bounds the transactions in one announcement.
const announceLimit = 512

// announce sends pending transactions again.
func (nd *node) announce(a consensus.Announce) {
	if a == consensus.AnnounceNone || len(nd.pool) == 0 {
		return
	}
	leader := nd.core.Status().Leader
	p := &packet{from: nd.id, pending: append([]uint32(nil), nd.pool[:min(len(nd.pool), announceLimit)]...)}
	for i, peer := range nd.w.nodes {
		if member := nd.memberOf(peer); member >= 0 && (a == consensus.AnnounceAll || member == leader) {
			nd.w.network.send(nd.id, i, p)
		}
	}
}
