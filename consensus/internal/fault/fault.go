// Package fault names the rules that a simulation may take out of a core, to
// show that its checkers notice. Being internal to consensus, it can be imported
// by the core and by its simulator only: a node cannot plant a fault by accident.
package fault

// Fault is one rule left out.
type Fault uint8

// The faults. Each names the rule it breaks.
const (
	// QuorumTooSmall counts one vote fewer as a quorum.
	QuorumTooSmall Fault = iota
	// NoNullifyFinalizeExclusion signs nullify after finalize, and finalize
	// after nullify, in one view.
	NoNullifyFinalizeExclusion
	// VotesNotRestored forgets own votes at a restart.
	VotesNotRestored
	// SkipNullificationCheck notarizes a child although views between it and
	// its parent are not nullified.
	SkipNullificationCheck
	// SkipParentCheck notarizes a block whose parent hash is not the block of
	// the view that the leader named.
	SkipParentCheck
	// NotarizeTwice signs a second notarize of a view, for another block.
	NotarizeTwice
	// FinalizeUnnotarized signs finalize together with notarize, before there
	// is a notarization.
	FinalizeUnnotarized
	// NotarizeUnexecuted notarizes before the block is executed.
	NotarizeUnexecuted
	// NoResend never repeats a nullify nor what goes with it.
	NoResend
	// NoIdle counts every view as armed, so that an idle network makes blocks.
	NoIdle
	// ResendNotRearmed does not take up resends again after a restart.
	ResendNotRearmed
	// CountTwice counts a vote as often as it comes.
	CountTwice
	// OldEpochReplayed restores own votes of an earlier epoch.
	OldEpochReplayed
	// StayAfterNullify does not follow a notarization of a view that we nullified.
	StayAfterNullify
	// DropNotarizationIfNullified drops a notarization of a view that we nullified.
	DropNotarizationIfNullified
	// DropNullificationIfNotarized drops a nullification beside a notarization.
	DropNullificationIfNotarized
	// BackoffUncapped doubles Δ without a cap.
	BackoffUncapped
	// BackoffNeverReset doubles Δ for rotations since the epoch began, whatever
	// was finalized.
	BackoffNeverReset
	// EverybodySilent lets any number of members count as silent, also while
	// finality is stuck.
	EverybodySilent
	// DeadlineFromEntry counts deadlines from the entry of a view, although there
	// was nothing to do.
	DeadlineFromEntry
	// ClosingBlockHasChild proposes and accepts children of a closing block.
	ClosingBlockHasChild
	// EpochEndsAtNotarization ends the epoch when the closing block is notarized.
	EpochEndsAtNotarization
	// TimestampUnchecked notarizes whatever the timestamp.
	TimestampUnchecked
	// ProposalReplaced takes every proposal of a view in place of the one before.
	ProposalReplaced
	// FutureVotesKept keeps votes of views however far ahead.
	FutureVotesKept
	// FetchOnce asks for what is missing only once.
	FetchOnce
	// NotarizationNotRecorded keeps notarizations in memory only.
	NotarizationNotRecorded
	// NotarizeUndurable notarizes before the body is durable.
	NotarizeUndurable
	// OwnBlockKept ignores a notarization of another block than the one we
	// notarized.
	OwnBlockKept
	// TipForgotten idles although the newest notarized block is not final.
	TipForgotten
	// NeverAnnounced never sends pending transactions again.
	NeverAnnounced
	// FloorIgnored signs at and below the last finalized view.
	FloorIgnored
	// ObserverImpatient ends observation as soon as a quorum reported.
	ObserverImpatient
	// NotarizeAfterNullify notarizes in a view that we gave up.
	NotarizeAfterNullify
	// ProposeOnFinal proposes on the last final block instead of the highest
	// notarized one.
	ProposeOnFinal
	// MissingIsInvalid gives a view up because a certificate is not here yet.
	MissingIsInvalid
	// TwoFPlusOne counts 2f+1 votes as a quorum, which is right for n = 3f+1 only.
	TwoFPlusOne

	numFaults
)

var names = [numFaults]string{
	"QuorumTooSmall", "NoNullifyFinalizeExclusion", "VotesNotRestored",
	"SkipNullificationCheck", "SkipParentCheck", "NotarizeTwice",
	"FinalizeUnnotarized", "NotarizeUnexecuted", "NoResend", "NoIdle",
	"ResendNotRearmed", "CountTwice", "OldEpochReplayed", "StayAfterNullify",
	"DropNotarizationIfNullified", "DropNullificationIfNotarized",
	"BackoffUncapped", "BackoffNeverReset", "EverybodySilent",
	"DeadlineFromEntry", "ClosingBlockHasChild", "EpochEndsAtNotarization",
	"TimestampUnchecked", "ProposalReplaced", "FutureVotesKept", "FetchOnce",
	"NotarizationNotRecorded", "NotarizeUndurable", "OwnBlockKept",
	"TipForgotten", "NeverAnnounced", "FloorIgnored", "ObserverImpatient",
	"NotarizeAfterNullify", "ProposeOnFinal", "MissingIsInvalid", "TwoFPlusOne",
}

// String is the fault's name.
func (f Fault) String() string {
	if f < numFaults {
		return names[f]
	}
	return "unknown fault"
}

// All lists every fault, in order.
func All() []Fault {
	out := make([]Fault, 0, numFaults)
	for f := Fault(0); f < numFaults; f++ {
		out = append(out, f)
	}
	return out
}

// Set is a set of faults; the zero value is a correct core.
type Set struct{ bits uint64 }

// Of is the set of the given faults.
func Of(faults ...Fault) Set {
	var s Set
	for _, f := range faults {
		s.bits |= 1 << f
	}
	return s
}

// Has says whether f is planted.
func (s Set) Has(f Fault) bool { return s.bits&(1<<f) != 0 }
