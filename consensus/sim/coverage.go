package sim

import (
	"fmt"
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
	sawLostWrites        // a crash that lost unsynced writes
	sawRestartWithVotes  // a restart that had votes to restore
	sawNullification     // a nullified view
	sawBoth              // a view that is notarized and nullified
	sawIndirect          // a block final only through a descendant
	sawSync              // blocks taken by range
	sawFetchBlock        // a body that came from a peer
	sawFetchCertificates // certificates that came from a peer
	sawInvalid           // a block that an honest node found invalid
	sawEvidence          // a Byzantine member caught
	sawWithheld          // a packet stopped by a scripted attack
	sawOverflow          // a full inbox
	sawEpoch             // an epoch after the first
	sawRestore           // a member came back with an old disk
	sawReturn            // and votes again
	sawAhead             // a final view that only one node knew when it crashed or was cut off

	occurrences
)

var occurrenceNames = [occurrences]string{
	"crash now", "crash before persist", "torn persist", "crash after persist", "crash mid-send", "crash mid-work",
	"writes lost", "restart with votes", "nullifications", "notarized and nullified", "final through a descendant",
	"range syncs", "bodies fetched", "certificates fetched", "invalid blocks", "evidence", "withheld packets",
	"inbox overflows", "epochs begun", "disks restored", "observers that vote again", "finalizations only one node committed at healing",
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
