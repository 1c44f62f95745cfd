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
			log.Error("a table of the database is damaged: reads that touch it fail; stop this node and run 'cairnd db repair'", "err", err)
		},
		Log: func(level, message string) {
			if level == "error" {
				log.Warn("database", "err", message)
			}
		},
	}
}

// ErrNoRoom is what wallets are told while the disk has no room for what they send.
const ErrNoRoom = ErrorKind("the disk of this node is nearly full: it answers reads only and takes no transactions; send them to another node")

// room is how much of it the disk has, in steps that this node answers with what
// it does less of.
type room int32

const (
	roomy     room = iota
	noVotes        // below the reserve: it follows, but signs nothing
	readsOnly      // below half the reserve, or below the reserve at the start: it writes no blocks and takes no transactions
)

func (d *driver) room() room { return room(d.space.Load()) }

// roomAtStart is the room before anything is signed: what a start below the
// reserve leaves on the disk is kept for what makes room again.
func (d *driver) roomAtStart() error {
	free, err := d.store.FreeBytes()
	if err != nil {
		return fmt.Errorf("free space of the data directory: %w", err)
	}
	if free < d.reserve {
		d.tellRoom(readsOnly, free)
	}
	return nil
}

// watchSpace follows the free space of the disk, so that this node stops before
// the database's log can fail. It goes on when there is half as much again as the
// reserve.
func (d *driver) watchSpace() error {
	free, err := d.store.FreeBytes()
	if err != nil {
		return fmt.Errorf("free space of the data directory: %w", err)
	}
	d.meters.free.Set(float64(free))
	was := d.room()
	now := was
	switch {
	case free < d.reserve/2:
		now = readsOnly
	case free < d.reserve:
		now = max(was, noVotes)
	case free > d.reserve+d.reserve/2:
		now = roomy
	}
	switch now {
	case was:
		return nil
	case readsOnly:
		if err := d.step(consensus.Pause{Paused: true}); err != nil {
			return err
		}
		d.tellRoom(now, free)
		d.sync.interrupt()
		return nil
	}
	d.tellRoom(now, free)
	if was == readsOnly {
		return d.goOn()
	}
	return d.step(consensus.Pause{Paused: d.mustPause()})
}

func (d *driver) tellRoom(now room, free uint64) {
	d.space.Store(int32(now))
	figures := []any{"freeMiB", free >> 20, "reserveMiB", d.reserve >> 20}
	switch now {
	case roomy:
		d.log.Info("there is room on the disk again: this node goes on", figures...)
	case noVotes:
		d.log.Error("the disk is nearly full: this node stops voting; make room", figures...)
	case readsOnly:
		d.log.Error("the disk is nearly full: this node answers reads only, it neither follows the chain nor takes transactions; make room", figures...)
	}
}

// goOn ends the time of reads only. The core stood still meanwhile, as in a
// process that was stopped, and messages were lost, as on a network that fails: it
// is made for both.
func (d *driver) goOn() error {
	if held := d.held; held != nil {
		d.held = nil
		if err := d.carryOut(*held); err != nil {
			return err
		}
	}
	d.poolChanged()
	d.sync.poke()
	return d.step(consensus.Pause{Paused: d.mustPause()})
}

// turnAway is handle while there are reads only: nothing reaches the core, and who
// waits for an answer gets one.
func (d *driver) turnAway(v any) {
	switch v := v.(type) {
	case *fetchedBlock:
		delete(d.fetching, v.hash)
	case *syncedRange:
		v.done <- appliedSlice{err: ErrNoRoom}
	case func():
		v()
	}
}
