package snapshot

import (
	"cairn/ledger/store"
)

// Dir is the directory in which a node keeps the checkpoints that it serves:
// one a height, named by it, the newest Keep of them.
type Dir struct{}

// Keep is how many checkpoints a Dir holds.
const Keep = 2

// OpenDir opens the directory, makes it if there is none, and removes what an
// interrupted run left.
func OpenDir(path string, o store.Options) (*Dir, error) { return nil, ErrNone }

// Heights are the checkpoints that are complete, in rising order.
func (d *Dir) Heights() ([]uint64, error) { return nil, nil }

// Path is where the checkpoint of a height is.
func (d *Dir) Path(height uint64) string { return "" }
