package chain

import (
	"cairn/crypto"
	"cairn/genesis"
)

// ReadCandidates reads the first candidates of the registry's list, at most
// limit, and how many there are.
func ReadCandidates(r Reader, limit uint64) (candidates []genesis.Validator, total uint64, err error) {
	g, err := loadRegistry(r)
	if err != nil {
		return nil, 0, err
	}
	total = g.candidateCount()
	candidates, err = g.candidateRange(0, min(limit, total, maxCandidateAnswer))
	if g.err != nil {
		err = notInvalid(g.err)
	}
	return candidates, total, err
}

// ReadVotes reads, for each subject, the validators whose vote on it counts now:
// to remove it if it is a validator, else to add it.
func ReadVotes(r Reader, subjects []crypto.Address) ([][]crypto.Address, error) {
	g, err := loadRegistry(r)
	if err != nil {
		return nil, err
	}
	out := make([][]crypto.Address, len(subjects))
	for i, s := range subjects {
		out[i] = g.voters(s)
	}
	if g.err != nil {
		return nil, notInvalid(g.err)
	}
	return out, nil
}
