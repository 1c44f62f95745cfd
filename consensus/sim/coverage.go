package sim

import (
	"fmt"
	"slices"
	"strings"
)

// occurrence is something that a good mixture of seeds must bring about.
type occurrence uint8

const (
	sawCrashNow occurrence = iota // the first six are crashPoints
	sawCrashBeforePersist
	sawCrashTornPersist
	sawCrashAfterPersist
	sawCrashMidSend
	sawCrashMidWork
	sawLostWrites                                           // a crash that lost unsynced writes
	sawRestartWithVotes                                     // a restart that had votes to restore
	sawNullification                                        // a nullified view
	sawBoth                                                 // a view that is notarized and nullified
	sawIndirect                                             // a block final only through a descendant
	sawSync                                                 // blocks taken by range
	sawFetchBlock                                           // a body that came from a peer
	sawFetchCertificates                                    // certificates that came from a peer
	sawInvalid                                              // a block that an honest node found invalid
	sawEvidence                                             // a Byzantine member caught
	sawWithheld                                             // a packet stopped by a scripted attack
	sawOverflow                                             // a full inbox
	sawEpoch                                                // an epoch after the first
	sawRestore                                              // a member came back with an old disk
	sawReturn                                               // and votes again
	sawAhead                                                // a final view that only one node knew when it crashed or was cut off
	sawForged                                               // a message that does not verify, dropped
	sawJoined                                               // an epoch with a member that the one before had not
	sawLeft                                                 // an epoch without a member that the one before had
	sawLeaderLeft                                           // an epoch without the member that would have led
	sawShrunk                                               // from several members to one
	sawGrown                                                // from one member to several
	sawLarge                                                // more than 13 members
	sawDark                                                 // an hour without finality
	sawStill                                                // healing without new work
	sawJump                                                 // a wall clock that stepped by more than a second
	sawLazy                                                 // vote records that stay for long
	sawSlowBodies                                           // bodies written in the background
	sawLie                                                  // an answer refused as a lie
	sawObservedEnd                                          // an epoch that ended while a node observed
	sawObserverLeft                                         // a member that observes and is none in the next epoch
	sawObserverJoined                                       // the reverse
	sawReturnAmid                                           // a member that observed and votes in a later epoch than it came back to
	sawFault                                                // the kinds of incident
	sawAdversary         = sawFault + occurrence(faultSlow) // the adversaries, in the order of adversaryKinds

	occurrences = sawAdversary + 11
)

var occurrenceNames = [occurrences]string{
	"crash now", "crash before persist", "torn persist", "crash after persist", "crash mid-send", "crash mid-work",
	"writes lost", "restart with votes", "nullifications", "notarized and nullified", "final through a descendant",
	"range syncs", "bodies fetched", "certificates fetched", "invalid blocks", "evidence", "withheld packets",
	"inbox overflows", "epochs begun", "disks restored", "observers that vote again", "finalizations only one node committed at healing",
	"forged messages dropped", "epochs with a new member", "epochs without an old member", "epochs without the old one's next leader", "sets shrunk to one", "sets grown from one",
	"large sets", "dark hours", "healings without work", "far clock steps", "lazy stores", "stores that write bodies late",
	"lies refused", "epochs ended under an observer", "observers removed", "observers added", "observers that vote again in a later epoch",
	"cuts", "withholdings", "crashes planned", "blackouts", "strikes", "clock steps", "pauses", "mutes", "backups", "restores", "power losses", "slow links",
	"liars", "equivocators", "double voters", "withholders", "replayers", "laggards", "twins", "nullers", "garbage signers", "flooders", "forgers",
}

// Coverage counts what happened in one run or, added up, in many.
type Coverage [occurrences]uint64

// Add sums up.
func (c *Coverage) Add(o *Coverage) {
	for i := range c {
		c[i] += o[i]
	}
}

// String lists all occurrences with their counts.
func (c *Coverage) String() string {
	var parts []string
	for i, n := range c {
		parts = append(parts, fmt.Sprintf("%s %d", occurrenceNames[i], n))
	}
	return strings.Join(parts, ", ")
}

func (w *world) saw(o occurrence) { w.coverage[o]++ }

// adversaryKinds orders the counts of adversaries.
var adversaryKinds = [...]string{
	"liar", "equivocator", "double voter", "withholder", "replayer", "laggard", "twins", "nuller", "garbage signer", "flooder", "forger",
}

// countPlan notes what the plan of a run holds.
func (w *world) countPlan() {
	p := w.plan
	for _, a := range p.adversaries {
		w.saw(sawAdversary + occurrence(slices.Index(adversaryKinds[:], a.name)))
	}
	for _, x := range []struct {
		on   bool
		what occurrence
	}{
		{p.members > largeSet, sawLarge},
		{p.dark, sawDark},
		{p.still, sawStill},
		{p.jumps, sawJump},
		{p.lazyPrune, sawLazy},
		{p.slowBodies, sawSlowBodies},
	} {
		if x.on {
			w.saw(x.what)
		}
	}
}

// countChange notes how the set of an epoch differs from the one before.
func (w *world) countChange(epoch uint32) {
	old, now := w.set(epoch-1), w.set(epoch)
	for _, v := range now.members {
		if old.of(v) < 0 {
			w.saw(sawJoined)
			break
		}
	}
	for i, v := range old.members {
		if now.of(v) < 0 {
			w.saw(sawLeft)
			if top := w.checks.certificates[epoch-1].top; i == int((top+1+uint64(epoch-1))%uint64(len(old.members))) {
				w.saw(sawLeaderLeft)
			}
		}
	}
	switch {
	case len(old.members) > 1 && len(now.members) == 1:
		w.saw(sawShrunk)
	case len(old.members) == 1 && len(now.members) > 1:
		w.saw(sawGrown)
	}
}

// countObserved notes what a new epoch is to a node that observes.
func (nd *node) countObserved(epoch uint32) {
	if !nd.marked || epoch <= nd.coreEpoch {
		return
	}
	nd.w.saw(sawObservedEnd)
	before, now := nd.w.set(nd.coreEpoch).of(nd.validator), nd.w.set(epoch).of(nd.validator)
	switch {
	case before >= 0 && now < 0:
		nd.w.saw(sawObserverLeft)
	case before < 0 && now >= 0:
		nd.w.saw(sawObserverJoined)
	}
}

// countAhead looks, before healing, for a height that one honest ledger alone has.
func (w *world) countAhead() {
	var first, second uint64
	for _, nd := range w.nodes {
		if !nd.honest() {
			continue
		}
		if h := nd.disk.durable.head().Height; h > first {
			first, second = h, first
		} else if h > second {
			second = h
		}
	}
	if first > second && len(w.nodes) > 1 {
		w.saw(sawAhead)
	}
}
