package sim

// agreementCheck: one block at each height, on every honest node; heights are
// committed in order and no transaction twice.
type agreementCheck struct {
	w     *world
	chain []*block
	where map[uint32]uint64 // height of a final transaction
}

func (c *agreementCheck) committed(nd *node, b *block) {
	height := uint64(len(c.chain))
	switch {
	case b.Height > height:
		c.w.violate("agreement", "n%d commits %s, and nobody has committed height %d", nd.id, b, height)
	case b.Height == height:
		if b.parent != c.chain[height-1] {
			c.w.violate("agreement", "n%d commits %s, not a child of final %s", nd.id, b, c.chain[height-1])
		}
		c.chain = append(c.chain, b)
		for _, t := range b.transactions {
			if at, ok := c.where[t]; ok {
				c.w.violate("replay", "transaction %d is in heights %d and %d", t, at, height)
			}
			c.where[t] = height
		}
	case c.chain[b.Height] != b:
		c.w.violate("agreement", "n%d commits %s, others have %s", nd.id, b, c.chain[b.Height])
	}
}

// holds says whether a transaction is final on a node.
func (c *agreementCheck) holds(nd *node, t uint32) bool {
	height, ok := c.where[t]
	return ok && nd.disk.durable.head().Height >= height
}
