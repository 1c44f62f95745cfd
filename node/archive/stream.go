package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/klauspost/compress/zstd"

	"cairn/crypto"
)

// Version is the version of the stream.
const Version = 1

const magic = "cairn blocks"

// Kinds of records.
const (
	kindBegin = 1
	kindBlock = 2
	kindEnd   = 3
)

// Limits of a stream that is read.
const (
	maxWindow      = 8 << 20   // of zstd, memory of the decoder
	maxBlockBytes  = 256 << 20 // of one block; the chain's own rule is checked when it is decoded
	maxCertificate = 1 << 20   // far above what the largest set signs
	maxSmallRecord = 256       // of the first and the last record
)

// Entry is one final block in a stream.
type Entry struct {
	Block       []byte // RLP of header, transactions, []
	Certificate []byte // of exactly this block; empty = final through a descendant
}

// Begin is what a stream says of itself first.
type Begin struct {
	ChainID     uint64
	Genesis     crypto.Hash // of block 0
	First, Last uint64      // heights
}

// end is what a stream says last.
type end struct {
	Count uint64
	Hash  crypto.Hash // of the last block
}

// writer makes a stream.
type writer struct {
	z     *zstd.Encoder
	begin Begin
	end   end
}

func newWriter(w io.Writer, b Begin) (*writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	out := &writer{z: z, begin: b}
	if _, err := z.Write(append([]byte(magic), Version)); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return out, out.record(kindBegin, b)
}

func (w *writer) record(kind byte, v any) error {
	payload, err := rlp.EncodeToBytes(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	if _, err := w.z.Write(head); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := w.z.Write(payload); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (w *writer) add(hash crypto.Hash, e Entry) error {
	w.end.Count++
	w.end.Hash = hash
	return w.record(kindBlock, e)
}

// close ends the stream; what it was written to is the caller's to sync.
func (w *writer) close() error {
	if err := w.record(kindEnd, w.end); err != nil {
		return err
	}
	if err := w.z.Close(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Reader reads a stream. It checks its form, not its blocks.
type Reader struct {
	Begin Begin

	close func()
	r     *bufio.Reader
	count uint64
	last  crypto.Hash
	done  bool
}

// NewReader reads the beginning of a stream. Close it.
// Errors: ErrFormat, ErrCut, ErrAltered, or that of r.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return newReader(z, z.Close)
}

// newReader reads what was decompressed.
func newReader(plain io.Reader, closer func()) (*Reader, error) {
	r := &Reader{close: closer, r: bufio.NewReaderSize(plain, 64<<10)}
	if err := r.start(); err != nil {
		closer()
		return nil, err
	}
	return r, nil
}

// Close frees the decoder.
func (r *Reader) Close() { r.close() }

func (r *Reader) start() error {
	head := make([]byte, len(magic)+1)
	if _, err := io.ReadFull(r.r, head); errors.Is(err, io.EOF) || errors.Is(err, zstd.ErrMagicMismatch) {
		return refuse(ErrFormat, "it does not begin as one")
	} else if err != nil {
		return readError(err)
	}
	if string(head[:len(magic)]) != magic {
		return refuse(ErrFormat, "it does not begin as one")
	}
	if v := head[len(magic)]; v != Version {
		return refuse(ErrFormat, "it has version %d, this program reads %d", v, Version)
	}
	kind, payload, err := r.record()
	if err != nil {
		return err
	}
	if kind != kindBegin {
		return refuse(ErrAltered, "it begins with a record of kind %d", kind)
	}
	if err := decode(payload, &r.Begin); err != nil {
		return err
	}
	if b := r.Begin; b.First == 0 || b.Last < b.First {
		return refuse(ErrAltered, "it says that it has the blocks %d to %d", b.First, b.Last)
	}
	return nil
}

// readError gives an error of the decoder its kind.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w", ErrCut)
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrReservedBlockType),
		errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrCompressedSizeTooBig),
		errors.Is(err, zstd.ErrBlockTooSmall), errors.Is(err, zstd.ErrFrameSizeExceeded), errors.Is(err, zstd.ErrFrameSizeMismatch),
		errors.Is(err, zstd.ErrUnknownDictionary), errors.Is(err, zstd.ErrWindowSizeTooSmall), errors.Is(err, zstd.ErrUnexpectedBlockSize):
		return refuse(ErrAltered, "%v", err)
	default:
		var failed interface{ Timeout() bool } // an error of the operating system
		if errors.As(err, &failed) {
			return fmt.Errorf("read: %w", err)
		}
		return refuse(ErrAltered, "%v", err)
	}
}

func (r *Reader) record() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, readError(err)
	}
	kind = head[0]
	limit := uint32(maxSmallRecord)
	if kind == kindBlock {
		limit = maxBlockBytes + maxCertificate
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > limit {
		return 0, nil, refuse(ErrAltered, "a record of kind %d and %d bytes", kind, size)
	}
	// Not allocated before it has come: the length may be a lie.
	payload, err = io.ReadAll(io.LimitReader(r.r, int64(size)))
	if err != nil {
		return 0, nil, readError(err)
	}
	if len(payload) < int(size) {
		return 0, nil, fmt.Errorf("%w", ErrCut)
	}
	return kind, payload, nil
}

func decode(payload []byte, v any) error {
	if err := rlp.DecodeBytes(payload, v); err != nil {
		return refuse(ErrAltered, "%v", err)
	}
	return nil
}

// Next is the next block. Error: io.EOF after the last one of a whole stream,
// else ErrCut, ErrAltered, or that of the reader below.
func (r *Reader) Next() (*Entry, error) {
	if r.done {
		return nil, io.EOF
	}
	kind, payload, err := r.record()
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindBlock:
		e := new(Entry)
		if err := decode(payload, e); err != nil {
			return nil, err
		}
		if len(e.Certificate) > maxCertificate {
			return nil, refuse(ErrAltered, "a certificate of %d bytes", len(e.Certificate))
		}
		if r.last, err = blockHash(e.Block); err != nil {
			return nil, err
		}
		r.count++
		return e, nil
	case kindEnd:
		return nil, r.finish(payload)
	default:
		return nil, refuse(ErrAltered, "a record of kind %d", kind)
	}
}

// finish checks the last record, and that nothing follows it.
func (r *Reader) finish(payload []byte) error {
	var e end
	if err := decode(payload, &e); err != nil {
		return err
	}
	if want := r.Begin.Last - r.Begin.First + 1; e.Count != r.count || r.count != want || e.Hash != r.last {
		return refuse(ErrAltered, "it has %d blocks up to %s; it says %d and then %d up to %s", r.count, r.last, want, e.Count, e.Hash)
	}
	// The checksum of the whole comes after its last byte.
	if _, err := r.r.ReadByte(); err == nil {
		return refuse(ErrAltered, "something follows its end")
	} else if !errors.Is(err, io.EOF) {
		return readError(err)
	}
	r.done = true
	return io.EOF
}

// blockHash is the hash of the header at the start of a block's RLP.
func blockHash(block []byte) (crypto.Hash, error) {
	content, _, err := rlp.SplitList(block)
	if err != nil {
		return crypto.Hash{}, refuse(ErrAltered, "a block is no RLP list: %v", err)
	}
	_, _, rest, err := rlp.Split(content)
	if err != nil {
		return crypto.Hash{}, refuse(ErrAltered, "a block has no header: %v", err)
	}
	return crypto.Keccak256(content[:len(content)-len(rest)]), nil
}
