// Package sim drives consensus cores over a virtual clock, network and disk, all
// drawn from one seed, and checks the protocol's rules at every step.
//
// A run has five stages. In the first, faults happen: loss, duplication, delay,
// reordering, partitions, one-way cuts, crashes at every point of a driver's
// work, blackouts, paused processes, clock steps, slow disks and processors, and
// scripted attacks; at most f members are Byzantine. Then all faults end, and
// within a bound every live honest node must have new final blocks. Then there is
// no more work and the network must fall silent, stay so, and answer the first
// transaction after that.
//
// Epochs end at drawn heights, and the set of validators changes with them.
//
// The drivers do what the contract of consensus.Effects says, and check every
// signature before a core sees it. The checkers, one file each, use nothing of the
// engine but its types. Mutants plants mistakes in cores and drivers, one at a
// time, to show that the checkers notice.
//
// The same seed gives the same run, event for event. A failing one is replayed by
//
//	make sim SEED=123 TRACE=1
package sim
