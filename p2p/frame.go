package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// A frame is its length in 4 big-endian bytes, then that many bytes, at least
// one.
const frameHeader = 4

// appendFrame appends the frame of body to dst.
func appendFrame(dst, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// readFrame reads one frame of at most max body bytes. io.EOF means that the
// stream ended between frames. Memory follows what arrived, not what the header
// promises. Errors: ErrFrameTooLarge, ErrFrameEmpty, ErrFrameTruncated, those
// of r.
func readFrame(r io.Reader, max int) ([]byte, error) {
	n, err := readFrameLength(r, max)
	if err != nil {
		return nil, err
	}
	return readFrameBody(r, n)
}

func readFrameLength(r io.Reader, max int) (int, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, truncated(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 {
		return 0, ErrFrameEmpty
	}
	if uint64(n) > uint64(max) {
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrFrameTooLarge, n, max)
	}
	return int(n), nil
}

// firstAllocation is what a frame's length alone can make us allocate.
const firstAllocation = 64 << 10

func readFrameBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, firstAllocation))
	for at := 0; ; {
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, truncated(err)
		}
		if at = len(body); at == n {
			return body, nil
		}
		grown := make([]byte, min(n, 4*len(body)))
		copy(grown, body)
		body = grown
	}
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrFrameTruncated
	}
	return err
}

// isTimeout says whether a deadline passed; TCP's and QUIC's streams have
// different errors for it.
func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// A batch of transactions is for each its length as a minimal uvarint and its
// bytes; 1 to maxBatchTransactions of them, none empty.

func appendBatchItem(dst, raw []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	return append(dst, raw...)
}

func encodeBatch(raws [][]byte) []byte {
	size := 0
	for _, raw := range raws {
		size += batchItemSize(raw)
	}
	out := make([]byte, 0, size)
	for _, raw := range raws {
		out = appendBatchItem(out, raw)
	}
	return out
}

func batchItemSize(raw []byte) int {
	n := len(raw) + 1
	for l := len(raw); l >= 0x80; l >>= 7 {
		n++
	}
	return n
}

// decodeBatch splits a batch into transactions of at most maxItem bytes each.
// They share b's memory. Errors: ErrBatchMalformed.
func decodeBatch(b []byte, maxItem int) ([][]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: no transaction", ErrBatchMalformed)
	}
	var raws [][]byte
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		switch {
		case used <= 0 || used > 1 && b[used-1] == 0:
			return nil, fmt.Errorf("%w: length of transaction %d", ErrBatchMalformed, len(raws))
		case n == 0:
			return nil, fmt.Errorf("%w: transaction %d is empty", ErrBatchMalformed, len(raws))
		case n > uint64(maxItem):
			return nil, fmt.Errorf("%w: transaction %d has %d bytes, limit %d", ErrBatchMalformed, len(raws), n, maxItem)
		case n > uint64(len(b)-used):
			return nil, fmt.Errorf("%w: transaction %d is cut short", ErrBatchMalformed, len(raws))
		case len(raws) == maxBatchTransactions:
			return nil, fmt.Errorf("%w: more than %d transactions", ErrBatchMalformed, maxBatchTransactions)
		}
		end := used + int(n)
		raws = append(raws, b[used:end:end])
		b = b[end:]
	}
	return raws, nil
}
