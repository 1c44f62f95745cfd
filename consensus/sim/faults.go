package sim

import "slices"

// DriverFault is a mistake of a driver that a run may plant in every honest node,
// to show that the checkers notice it. Those of cores are in
// consensus/internal/fault.
type DriverFault string

// The mistakes of drivers.
const (
	// SendBeforeSync hands messages to the network before their records are synced.
	SendBeforeSync DriverFault = "SendBeforeSync"
	// Unverified passes messages to the core without checking a signature.
	Unverified DriverFault = "Unverified"
	// TwoProcesses runs the key of validator 0 a second time.
	TwoProcesses DriverFault = "TwoProcesses"
	// CopyVotes lets a disk restored from an old copy vote at once.
	CopyVotes DriverFault = "CopyVotes"
	// ShortDeadlines sets Δ below delay, execution and fsync.
	ShortDeadlines DriverFault = "ShortDeadlines"
	// EarlyHandover takes the notarization of a closing block for its finalization.
	EarlyHandover DriverFault = "EarlyHandover"
	// BodyForgotten tells the core that a body is durable and never writes it.
	BodyForgotten DriverFault = "BodyForgotten"
	// AnswersUnchecked takes what servers answer for true.
	AnswersUnchecked DriverFault = "AnswersUnchecked"
	// LogEmptied starts without the vote log.
	LogEmptied DriverFault = "LogEmptied"
)

// DriverFaults are all of them.
func DriverFaults() []DriverFault {
	return []DriverFault{
		SendBeforeSync, Unverified, TwoProcesses, CopyVotes, ShortDeadlines,
		EarlyHandover, BodyForgotten, LogEmptied, AnswersUnchecked,
	}
}

// plants says whether this run makes a driver's mistake.
func (w *world) plants(f DriverFault) bool {
	return len(w.mistakes) > 0 && slices.Contains(w.mistakes, f)
}
