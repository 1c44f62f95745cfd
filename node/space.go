package node

import (
	"fmt"
	"time"

	"cairn/consensus"
)

// spaceEvery is how often the free space of the disk is looked at.
const spaceEvery = time.Second

// watchSpace stops voting while the disk has less free space than the reserve,
// before the database's log can fail, and lets it go on when there is half as
// much again.
func (d *driver) watchSpace() error {
	free, err := d.store.FreeBytes()
	if err != nil {
		return fmt.Errorf("free space of the data directory: %w", err)
	}
	d.meters.free.Set(float64(free))
	low := d.lowSpace.Load()
	switch {
	case !low && free < d.reserve:
		d.log.Error("the disk is nearly full: this node stops voting; make room", "freeMiB", free>>20, "reserveMiB", d.reserve>>20)
	case low && free > d.reserve+d.reserve/2:
		d.log.Info("there is room on the disk again: this node votes", "freeMiB", free>>20)
	default:
		return nil
	}
	d.lowSpace.Store(!low)
	return d.step(consensus.Pause{Paused: !low})
}
