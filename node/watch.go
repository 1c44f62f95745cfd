package node

import "cairn/consensus"

// watchQuorum tells the log when the network cannot make a block final any more,
// and when it can again.
func (d *driver) watchQuorum() {
	now := d.era.Load()
	members, _ := d.connectedMembers(now)
	quorum := consensus.Quorum(now.set.Len())
	if lost := now.self >= 0 && members < quorum; lost != d.noQuorum {
		d.noQuorum = lost
		if lost {
			d.log.Warn("no quorum: nothing becomes final until more validators run and can be reached",
				"connected", members, "quorum", quorum, "validators", now.set.Len())
		} else {
			d.log.Info("quorum", "connected", members, "quorum", quorum, "validators", now.set.Len())
		}
	}
}
