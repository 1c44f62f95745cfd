package sim

import "cairn/consensus"

// happen begins a fault of the plan.
func (w *world) happen(f *incident) {
	if w.healed {
		return
	}
	w.trace.line(w, nil, "fault %s", f)
	w.saw(sawFault + occurrence(f.kind) - 1)
	switch f.kind {
	case faultCut, faultWithhold, faultStrike, faultSlow:
		w.network.active = append(w.network.active, *f)
	case faultCrash:
		w.nodes[f.node].arm(f.point, f.amount)
	case faultBlackout:
		for _, nd := range w.nodes {
			if f.src.has(nd.id) {
				nd.arm(crashNow, w.rng.between(0, f.amount))
			}
		}
	case faultPower:
		for _, nd := range w.nodes {
			if f.src.has(nd.id) && nd.up {
				nd.armed, nd.downFor = crashNow, w.rng.between(0, f.amount)
				nd.crash(0)
			}
		}
	case faultClock:
		w.nodes[f.node].wallSkew += f.amount / millisecond
	case faultMute:
		w.nodes[f.node].mute(true)
		w.queue.push(event{at: w.now + f.amount, kind: evUnmute, node: int32(f.node), generation: w.nodes[f.node].generation})
	case faultBackup:
		copied := w.nodes[f.node].disk.durable.clone()
		w.nodes[f.node].backup = &copied
	case faultRestore:
		w.nodes[f.node].restore(f.amount)
	case faultPause:
		nd := w.nodes[f.node]
		if nd.up && !nd.paused {
			nd.paused = true
			w.queue.push(event{at: w.now + f.amount, kind: evResume, node: int32(nd.id), generation: nd.generation})
		}
	}
}

// arm makes a node crash at a point of its next effects.
func (nd *node) arm(point crashPoint, down int64) {
	if !nd.up {
		return
	}
	nd.armed, nd.downFor, nd.crashArmed = point, down, true
	nd.dies(crashNow, -1)
}

// strike arms the crash of a scripted attack, if this node is about to persist a
// vote that the attack waits for.
func (nd *node) strike() {
	for i := range nd.w.network.active {
		f := &nd.w.network.active[i]
		if f.kind != faultStrike || !f.src.has(nd.id) || nd.w.now >= f.until {
			continue
		}
		for j := range nd.effects.Persist {
			if v := nd.effects.Persist[j].Vote; v != nil && f.kinds.has(v.Kind) {
				nd.armed, nd.crashArmed, nd.downFor = f.point, true, nd.w.rng.between(0, f.amount)
			}
		}
	}
}

// mute tells the core to sign nothing, as for want of disk space, or to go on.
func (nd *node) mute(on bool) {
	if nd.up {
		nd.inbox = append(nd.inbox, input{event: consensus.Pause{Paused: on}})
		nd.run()
	}
}

// restore puts an old copy of the disk in place of a node's own. The copy is
// marked: its votes are not all that this key has cast.
func (nd *node) restore(down int64) {
	if nd.backup == nil {
		return
	}
	nd.downFor, nd.armed = down, crashNow
	nd.crash(0)
	nd.disk.durable, nd.marked = nd.backup.clone(), true
	nd.disk.view, nd.disk.log = nd.disk.durable.clone(), nil
	nd.markedAt = nd.disk.view.floor.epoch
	nd.w.saw(sawRestore)
	nd.w.note(nd, "restored at height %d", nd.disk.view.head().Height)
}

// heal ends all faults: links are whole, processes run, clocks are nearly right.
// Adversaries stay, and so do the members that the plan leaves dead.
func (w *world) heal() {
	w.countAhead()
	w.healed, w.healedAt = true, w.now
	w.network.active = nil
	for _, nd := range w.nodes {
		nd.crashArmed = false
		nd.mute(false)
		nd.wallSkew = max(min(nd.wallSkew, healedSkew), -healedSkew)
		if w.plan.dead.has(nd.id) {
			nd.kill()
			continue
		}
		if nd.paused {
			nd.paused = false
			nd.run()
		}
		if !nd.up {
			nd.generation++ // the planned restart is off
			nd.start()
			nd.run()
		}
	}
}

// healedSkew is how far wall clocks may be off after healing, in milliseconds.
const healedSkew = 100

// kill ends a process for good.
func (nd *node) kill() {
	if nd.up {
		nd.downFor, nd.armed = -1, crashNow
		nd.crash(-1)
		return
	}
	nd.generation++
}
