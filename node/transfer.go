package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
)

// VoteFloor is a place that a validator key is known to have reached: it may
// have voted in this view of this epoch and in every one before, and in none
// after.
type VoteFloor = voteFloor

// ExportFloor is the floor of the key of a home whose node does not run: the
// highest of its own votes, or what is final. nil says that no node has run
// here; see KeyBegun. Errors: those of OpenHome.
func ExportFloor(home string) (floor *VoteFloor, err error) {
	h, err := OpenHome(home, "")
	if errors.Is(err, ErrNoData) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	head, err := h.Store.Head()
	if err != nil {
		return nil, err
	}
	floor = &VoteFloor{Epoch: head.Floor.Epoch, View: head.Floor.View}
	records, err := loadVoteLog(h.Store)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Vote != nil {
			floor.raise(voteFloor{r.Vote.Epoch, r.Vote.View})
		}
	}
	// A floor that came with an import and is not passed yet still holds.
	file, err := readInstanceFile(filepath.Join(home, InstanceFile))
	if file != nil {
		floor.raise(file.floor)
	}
	return floor, err
}

// raise moves a floor up to another one.
func (f *voteFloor) raise(to voteFloor) {
	if to.Epoch > f.Epoch || to.Epoch == f.Epoch && to.View > f.View {
		*f = to
	}
}

// LockHome keeps nodes from starting in a home until the answer is called.
// Error: ErrLocked.
func LockHome(home string) (unlock func() error, err error) {
	lock, err := lockHome(home)
	if err != nil {
		return nil, err
	}
	return lock.Unlock, nil
}

// ImportFloor makes the node of a home an observer until it is past the floor
// that came with its key. Call it before the key is there.
func ImportFloor(home string, floor VoteFloor) error {
	file := instanceFile{floor: floor}
	if _, err := rand.Read(file.id[:]); err != nil {
		return fmt.Errorf("draw the instance id: %w", err)
	}
	return file.write(filepath.Join(home, InstanceFile))
}
