package consensus

// Faults is the number of Byzantine members that n unweighted members tolerate:
// ⌊(n−1)/3⌋.
func Faults(n int) int { return (n - 1) / 3 }

// Quorum is the number of distinct members that makes a certificate:
// ⌊(n+f)/2⌋ + 1. Any two quorums share an honest member. 2f+1 is not the same
// and is unsafe at 2, 3, 5 and 6 members.
func Quorum(n int) int { return (n+Faults(n))/2 + 1 }
