package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger/chain"
)

// Joining is a database that is being put together from the state of one block.
// It has no head before it is complete, and Open refuses it with ErrUnfinished.
// Every method may be called from any goroutine, but Complete last and once.
type Joining struct {
	View
	s    *Store
	base uint64
}

// StateRows are rows of the newest state, and how far the join is with them.
type StateRows struct {
	Accounts []AccountRow // Transactions and Changed are of no meaning
	Slots    []SlotRow
	Codes    []CodeRow
	Nodes    []NodeRow
	Progress []Record // of the join; a nil Value deletes
}

// BeginJoining makes a new database in dir for the state of the block at base.
// target, which is opaque, says what the join is for.
// Error: ErrForeign if dir holds a database with anything in it.
func BeginJoining(dir string, o Options, base uint64, target []byte) (*Joining, error) {
	j, err := openJoining(dir, o)
	if err != nil {
		return nil, err
	}
	if j.s.head.Load() != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: it has a chain", dir, ErrForeign), j.Close())
	}
	if begun, err := j.has("a join", targetKey); err != nil || begun {
		return nil, errors.Join(fmt.Errorf("%s: %w: a join was begun", dir, ErrForeign), err, j.Close())
	}
	j.base = base
	b := j.s.db.NewBatch()
	_ = b.Set(targetKey, append(binary.BigEndian.AppendUint64(nil, base), target...), nil)
	if err := j.s.apply("the target of a join", b, true); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// ResumeJoining opens a database that BeginJoining made and answers its target.
// Error: ErrNotFound if there is none, or it is complete.
func ResumeJoining(dir string, o Options) (*Joining, []byte, error) {
	fs := o.fileSystem()
	if found, err := pebble.Peek(dir, fs); err != nil || !found.Exists {
		return nil, nil, fmt.Errorf("a join in %s: %w", dir, ErrNotFound)
	}
	j, err := openJoining(dir, o)
	if err != nil {
		return nil, nil, err
	}
	raw, err := j.get("the target of a join", targetKey)
	if err == nil && len(raw) < 8 {
		err = corrupt("target of a join", fmt.Sprintf("%x", raw))
	}
	if err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	j.base = binary.BigEndian.Uint64(raw)
	return j, raw[8:], nil
}

func openJoining(dir string, o Options) (*Joining, error) {
	s := newStore(dir, o)
	s.joining = true
	if err := s.openDir(o); err != nil {
		return nil, err
	}
	return &Joining{View: s.View, s: s}, nil
}

// Put writes rows in one atomic batch, and the first of the history with them. It
// does not wait for the disk: a power loss takes the newest batches, but never
// one and not those after it.
func (j *Joining) Put(rows StateRows) error {
	c := &Commit{Accounts: rows.Accounts, Slots: rows.Slots, Codes: rows.Codes, Nodes: rows.Nodes}
	for i := range c.Accounts {
		c.Accounts[i].Changed, c.Accounts[i].Transactions = true, nil
	}
	b := j.s.db.NewBatchWithSize(c.Size())
	c.state(b, j.base, j.noHistory)
	for _, r := range rows.Progress {
		if r.Value == nil {
			_ = b.Delete(key(prefixJoining, r.Key), nil)
		} else {
			_ = b.Set(key(prefixJoining, r.Key), r.Value, nil)
		}
	}
	return j.s.apply("state", b, false)
}

// Progress calls f with the records of the join whose key begins with prefix, in
// key order. The slices are f's only until it returns.
func (j *Joining) Progress(prefix []byte, f func(key, value []byte) error) error {
	from := key(prefixJoining, prefix)
	return j.scan("progress of a join", from, after(from), func(k, v []byte) error {
		if len(k) == 1 {
			return nil // the target
		}
		return f(k[1:], v)
	})
}

// Landmark is a final block of which only the header is held.
type Landmark struct {
	Header      *types.Header
	Certificate []byte // empty: final through a descendant
}

// Completion is what a database has besides state when it begins at a height.
type Completion struct {
	Genesis   *types.Block
	Landmarks []Landmark // blocks that ended an epoch, and the head as the last
	Sets      [][]byte   // validator sets of the epochs from 0 on, RLP
	Floor     Floor
}

// Complete makes the last landmark the head, durably, and with it everything
// that was put. From then on Open opens the database.
func (j *Joining) Complete(c Completion) error {
	b := j.s.db.NewBatch()
	header, transactions, err := splitBlock(chain.EncodeBlock(c.Genesis))
	if err != nil {
		return fmt.Errorf("block 0: %w", err)
	}
	_ = b.Set(blockKey(prefixHeader, 0, c.Genesis.Hash()), header, nil)
	_ = b.Set(blockKey(prefixBody, 0, c.Genesis.Hash()), transactions, nil)
	_ = b.Set(heightKey(prefixReceipts, 0), nil, nil)
	for _, l := range append([]Landmark{{Header: c.Genesis.Header()}}, c.Landmarks...) {
		height, hash := l.Header.Number.Uint64(), l.Header.Hash()
		_ = b.Set(blockKey(prefixHeader, height, hash), chain.EncodeHeader(l.Header), nil)
		_ = b.Set(key(prefixHeight, hash[:]), binary.BigEndian.AppendUint64(nil, height), nil)
		_ = b.Set(heightKey(prefixCanonical, height), hash[:], nil)
		if len(l.Certificate) > 0 {
			_ = b.Set(heightKey(prefixCertificate, height), l.Certificate, nil)
		}
	}
	for epoch, set := range c.Sets {
		_ = b.Set(epochKey(uint32(epoch)), set, nil)
	}
	row := headRow{swept: j.base}
	row.Height, row.Floor = j.base, c.Floor
	if n := len(c.Landmarks); n == 0 || c.Landmarks[n-1].Header.Number.Uint64() != j.base {
		return fmt.Errorf("%w: the last landmark is not at height %d", ErrOutOfOrder, j.base)
	}
	row.Hash = c.Landmarks[len(c.Landmarks)-1].Header.Hash()
	bounds := Bounds{Base: j.base, FirstBody: j.base + 1}
	_ = b.Set(boundsKey, bounds.encode(), nil)
	_ = b.Set(headKey, row.encode(), nil)
	_ = b.DeleteRange([]byte{prefixJoining}, []byte{prefixJoining + 1}, nil)
	if err := j.s.apply("the end of a join", b, true); err != nil {
		return err
	}
	j.s.head.Store(&row)
	j.bounds.Store(&bounds)
	return nil
}

// Close closes the database; it can be resumed, or opened if it is complete.
func (j *Joining) Close() error { return j.s.Close() }

// ProgressOf is one record of the join. Error: ErrNotFound.
func (j *Joining) ProgressOf(k []byte) ([]byte, error) {
	return j.get("progress of a join", key(prefixJoining, k))
}
