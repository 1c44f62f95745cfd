package node

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"cairn/consensus"
	"cairn/ledger/store"
)

// spaceEvery is how often the free space of the disk is looked at.
const spaceEvery = time.Second

// storeOptions says how the database tells of its failures: each names itself in
// the log, with what to do, before the process ends or the read fails.
func storeOptions(cfg Config, log *slog.Logger) store.Options {
	return store.Options{
		CacheBytes: int64(cfg.Store.CacheMiB) << 20,
		OnFailure: func(err error) {
			log.Error("the database cannot write any more and this node stops: look at the disk, then start it again; nothing final is lost", "err", err)
			os.Exit(store.ExitFailure)
		},
		OnCorruption: func(err error) {
			log.Error("a table of the database is damaged: reads that touch it fail; stop this node and resync it from its peers", "err", err)
		},
		Log: func(level, message string) {
			if level == "error" {
				log.Warn("database", "err", message)
			}
		},
	}
}

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
	return d.step(consensus.Pause{Paused: d.mustPause()})
}
