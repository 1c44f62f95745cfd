package sim

// memoryCheck: what a core holds in memory is bounded, and views only grow.
type memoryCheck struct {
	w     *world
	nodes []memoryOf
}

type memoryOf struct {
	generation  uint32
	epoch       uint32
	view, final uint64
	highest     uint64
}

// Of the views and blocks above the last finalized one a core may know all;
// beyond that only so many.
const (
	spareViews  = 120
	spareBlocks = 40
	heldBlocks  = 1100
)

func (c *memoryCheck) of(nd *node) *memoryOf {
	for len(c.nodes) <= nd.id {
		c.nodes = append(c.nodes, memoryOf{})
	}
	return &c.nodes[nd.id]
}

func (c *memoryCheck) highest(nd *node) uint64 { return c.of(nd).highest }

func (c *memoryCheck) stepped(nd *node) {
	m, s := c.of(nd), &nd.status
	if m.generation != nd.generation || m.epoch != nd.coreEpoch {
		*m = memoryOf{generation: nd.generation, epoch: nd.coreEpoch, highest: m.highest}
	}
	if s.View < m.view || s.LastFinalizedView < m.final {
		c.w.violate("view", "n%d went from view %d (final %d) back to %d (final %d)", nd.id, m.view, m.final, s.View, s.LastFinalizedView)
	}
	m.view, m.final = s.View, s.LastFinalizedView
	m.highest = max(m.highest, s.View)
	open := int(s.View - s.LastFinalizedView)
	gap := len(c.w.checks.agreement.chain) - int(s.CommittedHeight) // blocks still to come
	if tip := c.w.blocks[s.Tip]; tip != nil && tip.Height > s.CommittedHeight {
		gap = max(gap, int(tip.Height-s.CommittedHeight)) // final or notarized, and committed by nobody yet
	}
	if s.Views > open+spareViews || s.Blocks > int(s.View-s.CommittedView)+gap+spareBlocks || s.Blocks > heldBlocks {
		c.w.violate("memory", "n%d holds %d views and %d blocks at view %d, final %d", nd.id, s.Views, s.Blocks, s.View, s.LastFinalizedView)
	}
}
