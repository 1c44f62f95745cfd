package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// The witness is a file beside the database that says how many writes of the vote
// log have been synced. Damage of the very last write of a log, or of the list of
// tables, looks to the database like the end that a power loss leaves; then it
// knows of fewer writes than the witness, and the validator observes.
//
// It is written after the sync of the records and before a vote leaves, so it
// never says more than is durable. Nobody waits for its own sync, which follows
// within witnessSync: a crash of the process takes nothing of it, a power loss at
// most what the last witnessSync brought.
//
// A witness counts for the run whose id (see instance) it names. It has two slots
// of a sector each, written in turn, so that one survives a torn write:
//
//	"cwit" ‖ instance id 16 ‖ writes 8, big-endian ‖ CRC-32C 4, big-endian
const (
	WitnessFile = "witness"

	witnessSector = 512
	witnessLength = len(witnessMagic) + instanceLength + 8 + 4
	witnessMagic  = "cwit"
	witnessSync   = time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// witness is the open file. note and close are for the owner goroutine, sync for
// one other.
type witness struct {
	file  *os.File
	log   *slog.Logger
	meter func()       // hears of each failure
	slot  int64        // to be written next
	dirty atomic.Bool  // written and not synced
	wrong atomic.Value // string: why the last write or a sync failed; "" = it did not
	stuck atomic.Bool  // a sync failed: no later write mends that
}

// testimony is what one slot says.
type testimony struct {
	id      instanceID
	written uint64
}

func (s testimony) encode() []byte {
	b := append(make([]byte, 0, witnessLength), witnessMagic...)
	b = append(b, s.id[:]...)
	b = binary.BigEndian.AppendUint64(b, s.written)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeTestimony(b []byte) (s testimony, ok bool) {
	if len(b) < witnessLength || string(b[:len(witnessMagic)]) != witnessMagic {
		return s, false
	}
	body := b[:witnessLength-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[witnessLength-4:]) {
		return s, false
	}
	id, count := body[len(witnessMagic):len(body)-8], body[len(body)-8:]
	return testimony{instanceID(id), binary.BigEndian.Uint64(count)}, true
}

// readWitness reads the slots of a home's witness. A slot that is not whole says
// nothing, and no more does a file that is not there.
func readWitness(home string) (slots [2]testimony, err error) {
	f, err := os.Open(filepath.Join(home, WitnessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return slots, nil
	}
	if err != nil {
		return slots, fmt.Errorf("read the witness of the vote log: %w", err)
	}
	var b [2 * witnessSector]byte
	n, err := io.ReadFull(f, b[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return slots, fmt.Errorf("read the witness of the vote log: %w", err)
	}
	for i := range slots {
		if from := i * witnessSector; from < n {
			slots[i], _ = decodeTestimony(b[from:n])
		}
	}
	return slots, nil
}

// lostWrites is how many synced writes of the vote log a run's database lacks,
// by the witness of its home.
func lostWrites(home string, id instanceID, written uint64) (uint64, error) {
	slots, err := readWitness(home)
	lost := uint64(0)
	for _, s := range slots {
		if s.id == id && s.written > written {
			lost = max(lost, s.written-written)
		}
	}
	return lost, err
}

// openWitness opens the witness of a home for writing, and makes it if there is
// none. That it cannot is no reason not to run: it is told, see problem.
func openWitness(home string, log *slog.Logger, failed func()) *witness {
	w := &witness{log: log, meter: failed}
	slots, err := readWitness(home)
	if err == nil && slots[0].written > slots[1].written {
		w.slot = 1
	}
	if err == nil {
		w.file, err = os.OpenFile(filepath.Join(home, WitnessFile), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err == nil {
		err = w.allocate()
	}
	w.tell(err)
	return w
}

// allocate gives the file its room, so that a full disk does not end the writes.
func (w *witness) allocate() error {
	info, err := w.file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 2*witnessSector {
		return err
	}
	if info.Size() > 2*witnessSector {
		return w.file.Truncate(2 * witnessSector)
	}
	if _, err := w.file.WriteAt(make([]byte, 2*witnessSector-info.Size()), info.Size()); err != nil {
		return err
	}
	return errors.Join(w.file.Sync(), syncDir(filepath.Dir(w.file.Name())))
}

// note says that so many writes are durable in the database of a run.
func (w *witness) note(id instanceID, written uint64) {
	if w.file == nil {
		return
	}
	_, err := w.file.WriteAt(testimony{id, written}.encode(), w.slot*witnessSector)
	if w.tell(err); err == nil {
		w.slot ^= 1
		w.dirty.Store(true)
	}
}

// run syncs what was written, until ctx ends.
func (w *witness) run(ctx context.Context) {
	ticker := time.NewTicker(witnessSync)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.sync()
		}
	}
}

func (w *witness) sync() {
	if w.file != nil && w.dirty.Swap(false) {
		if err := w.file.Sync(); err != nil {
			w.stuck.Store(true)
			w.tell(err)
		}
	}
}

// tell remembers whether the witness works, and logs a change.
func (w *witness) tell(err error) {
	was, _ := w.wrong.Load().(string)
	switch {
	case err == nil && was != "" && !w.stuck.Load():
		w.log.Info("the witness of the vote log is written again")
		w.wrong.Store("")
	case err != nil:
		w.meter()
		if w.wrong.Store(err.Error()); was == "" {
			w.log.Warn("the witness of the vote log is not written: the node goes on, but would not notice if its disk lost the newest votes; look at the file and its disk", "err", err)
		}
	}
}

// problem is what status says of a witness that does not work; empty = it does.
func (w *witness) problem() string {
	if why, _ := w.wrong.Load().(string); why != "" {
		return "the witness of the vote log is not written, so that votes which the disk loses would not be noticed; look at the file and its disk: " + why
	}
	return ""
}

// close syncs and closes the file. Nothing is noted after it.
func (w *witness) close() {
	if w.sync(); w.file != nil {
		if err := w.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			w.tell(err)
		}
	}
}
