package sim

// wakeCheck: a core asks to be woken when something is due, not again and again.
type wakeCheck struct {
	w     *world
	nodes []wakesOf
}

type wakesOf struct {
	window int64 // which Δ
	ticks  int
}

// mostTicks is what may be due within one Δ.
const mostTicks = 24

func (c *wakeCheck) woken(nd *node) {
	for len(c.nodes) <= nd.id {
		c.nodes = append(c.nodes, wakesOf{})
	}
	x := &c.nodes[nd.id]
	if window := c.w.now / c.w.delta(); window != x.window {
		*x = wakesOf{window: window}
	}
	if x.ticks++; x.ticks > mostTicks {
		c.w.violate("wake", "n%d asked to be woken %d times within %d ms", nd.id, x.ticks, c.w.plan.delta)
	}
}
