package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// Pebble reads its newest log up to the first chunk that is not right and takes
// that for the end, because a power loss leaves such ends. Its chunks say how
// far the log was synced when they were written, and it looks for one that
// contradicts the end; but only in later blocks of 32 KiB, so that damage in the
// last block silently loses the synced records behind it. For us these are
// votes. checkLog therefore looks through the rest of the block too. What it
// cannot tell from a power loss is damage in the very last synced write, which
// nothing follows.
//
// A chunk is, little-endian (pebble/v2/record):
//
//	checksum 4 ‖ length 2 ‖ kind 1 ‖ log number 4 ‖ synced offset 8 ‖ payload
//
// with the log number from kind 5 on and the synced offset from kind 9 on; the
// masked CRC-32C covers all from kind. No chunk crosses a block.
const (
	logBlock      = 32 << 10
	plainHeader   = 7
	numberHeader  = 11
	syncedHeader  = 19
	lastPlainKind = 4
	lastNumbered  = 8
	lastKind      = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkLog answers ErrCorrupt when the newest log in dir ends before a place up
// to which it was synced.
func checkLog(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	newest, number := "", wal.NumWAL(0)
	for _, name := range names {
		if n, _, ok := wal.ParseLogFilename(name); ok && (newest == "" || n > number) {
			newest, number = name, n
		}
	}
	if newest == "" {
		return nil
	}
	path := fs.PathJoin(dir, newest)
	b, err := readFile(fs, path)
	if err != nil {
		return err
	}
	log := logFile{b, uint32(number)}
	end := log.end()
	if at, ok := log.syncedBeyond(end); ok {
		return fmt.Errorf("%w: log %s is damaged at byte %d, but was synced up to byte %d", ErrCorrupt, path, end, at)
	}
	return nil
}

type logFile struct {
	b      []byte
	number uint32
}

// chunk reads the chunk at a place; synced is 0 where it does not say.
func (l logFile) chunk(at int) (size int, synced uint64, ok bool) {
	end := min(len(l.b), (at/logBlock+1)*logBlock)
	if at+plainHeader > end {
		return 0, 0, false
	}
	header := plainHeader
	switch kind := l.b[at+6]; {
	case kind == 0 || kind > lastKind:
		return 0, 0, false
	case kind > lastNumbered:
		header = syncedHeader
	case kind > lastPlainKind:
		header = numberHeader
	}
	size = header + int(binary.LittleEndian.Uint16(l.b[at+4:]))
	if at+size > end || header >= numberHeader && binary.LittleEndian.Uint32(l.b[at+7:]) != l.number {
		return 0, 0, false
	}
	c := crc32.Checksum(l.b[at+6:at+size], castagnoli)
	if (c>>15|c<<17)+0xa282ead8 != binary.LittleEndian.Uint32(l.b[at:]) {
		return 0, 0, false
	}
	if header == syncedHeader {
		synced = binary.LittleEndian.Uint64(l.b[at+numberHeader:])
	}
	return size, synced, true
}

// end is where the chunks that are right from the start end.
func (l logFile) end() int {
	at := 0
	for at < len(l.b) {
		if size, _, ok := l.chunk(at); ok {
			at += size
			continue
		}
		block := min(len(l.b), (at/logBlock+1)*logBlock)
		if block-at >= syncedHeader || !zero(l.b[at:block]) {
			break
		}
		at = block // too short for a chunk: the writer filled it with zeros
	}
	return at
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// syncedBeyond looks for a chunk after end that was written when more than end
// was synced.
func (l logFile) syncedBeyond(end int) (uint64, bool) {
	for at := end + 1; at+syncedHeader <= len(l.b); at++ {
		kind := l.b[at+6]
		if kind <= lastNumbered || kind > lastKind || binary.LittleEndian.Uint32(l.b[at+7:]) != l.number {
			continue
		}
		if _, synced, ok := l.chunk(at); ok && synced > uint64(end) {
			return synced, true
		}
	}
	return 0, false
}
