package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"cairn/consensus"
	"cairn/genesis"
	"cairn/ledger"
)

// ErrObserves says why votes need no reset: the network tells this validator
// when it is safe to vote again.
const ErrObserves = ErrorKind("this validator needs no reset as long as enough others vote: start it, and it votes again by itself after a few final blocks")

// VoteReset is what ResetVotes did.
type VoteReset struct {
	Validators int    // of the set
	Why        string // the validator would have observed; empty = it would not
	Damaged    int    // vote records that did not decode and are gone
}

// ResetVotes makes the next start of a home vote at once, whatever it may have
// forgotten. It is for a set of one or two, where no quorum of others can tell,
// and refused elsewhere unless stuck says that too many validators observe for
// anything to become final. Whole vote records stay: they are promises.
// The risk is the caller's to tell: votes that this validator cast and forgot
// may be contradicted, and with them what others hold to be final.
// Errors: ErrObserves, those of OpenHome.
func ResetVotes(home string, stuck bool) (r VoteReset, err error) {
	key, err := ReadKeyFile(filepath.Join(home, ValidatorKeyFile))
	if err != nil {
		return r, err
	}
	signer := key.Address
	h, err := OpenHome(home, "")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	live, err := ledger.Open(h.Store, h.Spec)
	if err != nil {
		return r, fmt.Errorf("open the ledger: %w", err)
	}
	set, _ := live.Validators()
	r.Validators = set.Len()
	others := r.Validators
	if _, member := set.Index(signer); member {
		others--
	}
	if quorum := genesis.Quorum(r.Validators); others >= quorum && !stuck {
		return r, fmt.Errorf("%w (there are %d other validators, %d are enough)", ErrObserves, others, quorum)
	}
	if r.Damaged, err = dropDamaged(h); err != nil {
		return r, err
	}
	in, err := openInstance(home, h.Store, signer)
	if err != nil {
		return r, err
	}
	r.Why = in.doubt
	if in.others {
		return r, fmt.Errorf("the vote records here are of another key than %s: delete %s and sync again", signer, filepath.Join(home, DataDir))
	}
	if in.doubt == "" && r.Damaged == 0 {
		return r, nil // opened, so renewed
	}
	return r, in.forget()
}

// dropDamaged forgets the vote records that do not decode.
func dropDamaged(h *Home) (int, error) {
	var keys [][]byte
	if err := h.Store.Records(func(key, value []byte) error {
		if _, err := consensus.DecodeRecord(value); err != nil {
			keys = append(keys, key)
		}
		return nil
	}); err != nil || len(keys) == 0 {
		return 0, err
	}
	return len(keys), h.Store.DeleteRecords(keys)
}

// Backup copies the database of a stopped node; see backup.
func (h *Home) Backup(dir string) error { return backup(h.Store, dir) }
