package node

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
	"cairn/ledger/store"
)

// A validator may sign only with its whole memory: a vote that it cast and
// forgot, it may contradict. Its memory is the store, and what can go wrong is
// that a store is not the one that this home used last: it was deleted, restored
// from a copy, or came from another home. So the home and the store both hold
// the id of the last run that used them together. It is drawn anew at each start
// and at each clean stop, so that even a plain copy of the data directory, put
// back into the same home, is noticed.
//
// The id changes in three durable steps: the new one goes to instance.new, then
// into the store, then instance.new becomes instance. The store's id is right if
// either file has it, so a crash between any two steps does no harm.
const (
	InstanceFile    = "instance"
	newInstanceFile = "instance.new"

	metaInstance    = "instance" // in the store
	instanceLength  = 16
	maxInstanceFile = 256
)

// instanceID names one run of a validator.
type instanceID [instanceLength]byte

// voteFloor is a place that a key is known to have reached: it may have voted in
// this view and every one before.
type voteFloor struct {
	Epoch uint32
	View  uint64
}

// storedInstance is what the store says of the run that used it last.
type storedInstance struct {
	ID     instanceID
	Signer crypto.Address // whose votes it remembers
	Doubt  string         // why some may be missing; empty = none is
}

// instance is the tie between a home and its store. Its owner is the driver's
// goroutine.
type instance struct {
	home   string
	st     *store.Store
	signer crypto.Address
	kept   storedInstance // as the store has it

	// doubt says why this node must observe before it signs; empty = it need
	// not.
	doubt string
	floor voteFloor
	// others says that the own votes in the store are of another key.
	others bool
}

// openInstance compares a home with its store. With nothing to compare, in a
// home and a store that no validator has used, it begins. The key may be in
// doubt after it; see instance.doubt.
func openInstance(home string, st *store.Store, signer crypto.Address) (*instance, error) {
	in := &instance{home: home, st: st, signer: signer}
	held, err := readInstance(st)
	if err != nil {
		return nil, err
	}
	id, floor, haveFile, err := readInstanceFile(filepath.Join(home, InstanceFile))
	if err != nil {
		return nil, err
	}
	next, _, haveNext, err := readInstanceFile(filepath.Join(home, newInstanceFile))
	if err != nil {
		return nil, err
	}
	switch {
	case held == nil && !haveFile:
		return in, in.renew()
	case held == nil:
		in.doubt = "the data directory was deleted or replaced"
		in.setFloor(floor)
		return in, nil
	}
	in.kept = *held
	in.others = held.Signer != (crypto.Address{}) && held.Signer != signer
	switch {
	case held.Doubt != "":
		in.doubt = held.Doubt
	case haveFile && id == held.ID, haveNext && next == held.ID:
	case haveFile:
		in.doubt = "the data directory is not the one that this home used last"
	default:
		in.doubt = "the data directory is of another home"
	}
	if in.others && in.doubt == "" {
		in.doubt = "the validator key was replaced"
	}
	in.setFloor(floor)
	if in.doubt != "" {
		return in, nil
	}
	return in, in.renew()
}

// setFloor notes what came along with an imported key.
func (in *instance) setFloor(floor voteFloor) {
	if in.floor = floor; floor != (voteFloor{}) {
		in.doubt = "the validator key was imported"
	}
}

// renew draws a new id and ends any doubt.
func (in *instance) renew() error {
	var id instanceID
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("draw the instance id: %w", err)
	}
	next := filepath.Join(in.home, newInstanceFile)
	if err := writeInstanceFile(next, id, voteFloor{}); err != nil {
		return err
	}
	kept := storedInstance{ID: id, Signer: in.signer}
	if err := writeInstance(in.st, kept); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(in.home, InstanceFile)); err != nil {
		return fmt.Errorf("write the instance id: %w", err)
	}
	if err := syncDir(in.home); err != nil {
		return err
	}
	in.kept, in.doubt, in.floor = kept, "", voteFloor{}
	return nil
}

// suspect makes the next start an observer, whatever else it finds.
func (in *instance) suspect(why string) error {
	kept := in.kept
	kept.Doubt = why
	if err := writeInstance(in.st, kept); err != nil {
		return err
	}
	in.kept, in.doubt = kept, why
	return nil
}

// readInstance is what the store says; nil = nothing.
func readInstance(st *store.Store) (*storedInstance, error) {
	raw, err := st.Meta(metaInstance)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the instance id: %w", err)
	}
	var s storedInstance
	if err := rlp.DecodeBytes(raw, &s); err != nil {
		return nil, fmt.Errorf("read the instance id: %w: %w", store.ErrCorrupt, err)
	}
	return &s, nil
}

func writeInstance(st *store.Store, s storedInstance) error {
	if err := st.PutMeta(metaInstance, encode(s)); err != nil {
		return fmt.Errorf("write the instance id: %w", err)
	}
	return nil
}

// readInstanceFile reads "ID\n" or "ID\nfloor EPOCH VIEW\n". A damaged file is one
// that no store matches.
func readInstanceFile(path string) (id instanceID, floor voteFloor, found bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return id, floor, false, nil
	}
	if err != nil {
		return id, floor, false, fmt.Errorf("read the instance id: %w", err)
	}
	if len(raw) > maxInstanceFile {
		return id, floor, false, fmt.Errorf("%s: %d bytes, at most %d are right: delete it and the node observes before it signs", path, len(raw), maxInstanceFile)
	}
	first, rest, _ := strings.Cut(string(bytes.TrimSpace(raw)), "\n")
	if b, err := hex.DecodeString(first); err != nil || len(b) != instanceLength {
		if _, err := rand.Read(id[:]); err != nil {
			return id, floor, false, fmt.Errorf("draw the instance id: %w", err)
		}
		return id, floor, true, nil
	} else {
		id = instanceID(b)
	}
	if rest != "" {
		if _, err := fmt.Sscanf(rest, "floor %d %d", &floor.Epoch, &floor.View); err != nil {
			return id, floor, false, fmt.Errorf("%s: %q is no floor", path, rest)
		}
	}
	return id, floor, true, nil
}

// writeInstanceFile replaces a file, durably.
func writeInstanceFile(path string, id instanceID, floor voteFloor) error {
	text := hex.EncodeToString(id[:]) + "\n"
	if floor != (voteFloor{}) {
		text += fmt.Sprintf("floor %d %d\n", floor.Epoch, floor.View)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".instance-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the instance id: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the instance id: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
