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
//
// Before the first run there is no store. That the key has not signed anywhere
// is then known only if it was drawn in this home: BeginKey leaves a file that
// says so. A key that came without it, copied by hand, may have voted elsewhere.
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
	// Forgot: some may be missing, but the operator has the validator vote.
	Forgot bool `rlp:"optional"`
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
	// lost is how many synced writes of the vote log the store lacked at the
	// start, by the witness.
	lost uint64
	// others says that the own votes in the store are of another key.
	others bool
	// unknown says that nothing here tells whether the key has voted elsewhere;
	// see beganTogether.
	unknown bool
}

// doubtUnknown is the doubt of a key that no run and no 'key new' left a trace
// of.
const doubtUnknown = "nothing here tells whether its key has voted elsewhere"

// openInstance compares a home with its store. A key that was drawn here begins
// in a store that no validator has used. The key may be in doubt after it; see
// instance.doubt.
func openInstance(home string, st *store.Store, signer crypto.Address) (*instance, error) {
	in := &instance{home: home, st: st, signer: signer}
	held, err := readInstance(st)
	if err != nil {
		return nil, err
	}
	file, err := readInstanceFile(filepath.Join(home, InstanceFile))
	if err != nil {
		return nil, err
	}
	next, err := readInstanceFile(filepath.Join(home, newInstanceFile))
	if err != nil {
		return nil, err
	}
	switch {
	case held == nil && file != nil && file.drawn == signer && signer != (crypto.Address{}):
		return in, in.renew()
	case held == nil && (file == nil || file.drawn != crypto.Address{}):
		in.doubt, in.unknown = doubtUnknown, true
		return in, nil
	case held == nil:
		in.doubt = "the data directory was deleted or replaced"
		in.setFloor(file.floor)
		return in, nil
	}
	in.kept = *held
	in.others = held.Signer != (crypto.Address{}) && held.Signer != signer
	switch {
	case held.Doubt != "":
		in.doubt = held.Doubt
	case file != nil && file.id == held.ID, next != nil && next.id == held.ID:
	case file != nil:
		in.doubt = "the data directory is not the one that this home used last"
	default:
		in.doubt = "the data directory is of another home"
	}
	if in.others && in.doubt == "" {
		in.doubt = "the validator key was replaced"
	}
	if file != nil {
		in.setFloor(file.floor)
	}
	if in.doubt != "" {
		return in, nil
	}
	// A witness that cannot be read says nothing; openWitness tells of it.
	if in.lost, _ = lostWrites(home, held.ID, st.Written()); in.lost > 0 {
		return in, in.suspect(fmt.Sprintf("its database lacks the last %d of its synced writes of votes: the disk or a cache lost them", in.lost))
	}
	return in, in.renew()
}

// BeginKey says that the validator key of this address is being drawn for this
// home and has signed nowhere: the first run with it votes at once. Call it
// before the key is there. A home in which a validator has run says more and is
// left as it is.
func BeginKey(home string, signer crypto.Address) error {
	path := filepath.Join(home, InstanceFile)
	if file, err := readInstanceFile(path); err != nil || file != nil && file.drawn == (crypto.Address{}) {
		return err
	}
	file := instanceFile{drawn: signer}
	if _, err := rand.Read(file.id[:]); err != nil {
		return fmt.Errorf("draw the instance id: %w", err)
	}
	return file.write(path)
}

// KeyBegun says whether the key of this address was drawn for this home and no
// node has run with it yet.
func KeyBegun(home string, signer crypto.Address) (bool, error) {
	file, err := readInstanceFile(filepath.Join(home, InstanceFile))
	return file != nil && file.drawn == signer, err
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
	if err := (instanceFile{id: id}).write(next); err != nil {
		return err
	}
	kept := storedInstance{ID: id, Signer: in.signer, Forgot: in.kept.Forgot && in.doubt == ""}
	if err := writeInstance(in.st, kept); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(in.home, InstanceFile)); err != nil {
		return fmt.Errorf("write the instance id: %w", err)
	}
	if err := syncDir(in.home); err != nil {
		return err
	}
	in.kept, in.doubt, in.floor, in.unknown = kept, "", voteFloor{}, false
	return nil
}

// forget ends any doubt by an operator's word: the validator votes, and takes its
// own votes that others still hold for its own.
func (in *instance) forget() error {
	in.kept.Forgot, in.doubt = true, ""
	return in.renew()
}

// remember says that the memory is whole again.
func (in *instance) remember() error {
	kept := in.kept
	kept.Forgot = false
	if err := writeInstance(in.st, kept); err != nil {
		return err
	}
	in.kept = kept
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

// instanceFile is what one of the two files says.
type instanceFile struct {
	id    instanceID
	floor voteFloor      // came along with an imported key
	drawn crypto.Address // of a key that no node has run with; zero = one has
}

// readInstanceFile reads "ID\n", to which "floor EPOCH VIEW\n" or "new ADDRESS\n"
// may be added; nil = there is none. A damaged file is one that no store matches.
func readInstanceFile(path string) (*instanceFile, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the instance id: %w", err)
	}
	if len(raw) > maxInstanceFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are right: delete it and the node observes before it signs", path, len(raw), maxInstanceFile)
	}
	f := &instanceFile{}
	first, rest, _ := strings.Cut(string(bytes.TrimSpace(raw)), "\n")
	b, err := hex.DecodeString(first)
	if err != nil || len(b) != instanceLength {
		if _, err := rand.Read(f.id[:]); err != nil {
			return nil, fmt.Errorf("draw the instance id: %w", err)
		}
		return f, nil
	}
	f.id = instanceID(b)
	drawn, isNew := strings.CutPrefix(rest, "new ")
	switch {
	case rest == "":
	case isNew:
		if f.drawn, err = crypto.ParseAddress(drawn); err != nil || f.drawn == (crypto.Address{}) {
			return nil, fmt.Errorf("%s: %.80q is no address", path, drawn)
		}
	default:
		if _, err := fmt.Sscanf(rest, "floor %d %d", &f.floor.Epoch, &f.floor.View); err != nil {
			return nil, fmt.Errorf("%s: %.80q is no floor", path, rest)
		}
	}
	return f, nil
}

// write replaces a file, durably.
func (f instanceFile) write(path string) error {
	text := hex.EncodeToString(f.id[:]) + "\n"
	if f.floor != (voteFloor{}) {
		text += fmt.Sprintf("floor %d %d\n", f.floor.Epoch, f.floor.View)
	}
	if f.drawn != (crypto.Address{}) {
		text += fmt.Sprintf("new %s\n", f.drawn)
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
