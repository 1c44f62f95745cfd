package node

import (
	"context"
	"errors"
	"path/filepath"
)

// checkDir is where CheckExecution builds what it throws away.
const checkDir = DataDir + ".check"

// CheckExecution executes the blocks of a database again, from block 0 or, if the
// first ones are not kept, from a checkpoint, in a directory of its own that is
// removed afterwards, and tells each finding as Check does. Every root of every
// block is compared. It takes the room of a second database.
func (h *Home) CheckExecution(ctx context.Context, o CheckOptions) (findings uint64, err error) {
	head, err := h.Store.Head()
	if err != nil {
		return 0, err
	}
	to, err := proven(h.Store.View, head.Height)
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(h.Dir, checkDir)
	defer func() { err = errors.Join(err, remove(dir)) }()
	_, damage, err := h.rebuild(ctx, dir, to, false, o.Progress)
	if errors.Is(err, ErrNoOrigin) {
		o.Note("execution: " + err.Error())
		return 0, nil
	}
	if damage != nil {
		o.Finding("execution: " + damage.Error())
		findings = 1
	}
	return findings, err
}
