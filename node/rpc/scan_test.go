package rpc

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// TestScan: a request is refused at the byte that shows that it must be, however
// its bytes come.
func TestScan(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", maxDepth)
	for _, x := range []struct {
		body string
		err  error // at the last byte
	}{
		{`[1,2,3]`, nil},
		{`[1,2,3,4`, errBatchTooLarge},
		{` [ {"a":[1,2,3,4,5]} , "a,b,c,d,e\",\\" , [] , {`, errBatchTooLarge},
		{`{"params":[1,2,3,4,5,6]}`, nil},
		{`[[1,2,3,4],{"a":1,"b":2,"c":3,"d":4},",,,,"]`, nil},
		{deep, nil},
		{deep + "[", errTooDeep},
		{`{"a":"` + deep + `[\"` + deep + `","b":` + deep, errTooDeep},
		{`{"a":"\\","b":` + deep, errTooDeep},
		{"", nil},
	} {
		for cut := range len(x.body) + 1 {
			s := scan{most: 3}
			err := s.feed([]byte(x.body[:cut]))
			if cut < len(x.body) && err != nil {
				t.Fatalf("%q: %v", x.body[:cut], err)
			}
			if err == nil {
				err = s.feed([]byte(x.body[cut:]))
			}
			if !errors.Is(err, x.err) {
				t.Fatalf("%q, %q: have %v, want %v", x.body[:cut], x.body[cut:], err, x.err)
			}
		}
	}
}

// TestIntake: a request is read as it is, in whatever pieces it comes and into
// whatever buffer, and counts until it is released.
func TestIntake(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(11, 0))
	var total atomic.Int64
	for range 200 {
		body := bytes.Repeat([]byte{byte('a' + draw.IntN(20))}, draw.IntN(100_000))
		length := int64(-1)
		if draw.IntN(2) == 0 {
			length = int64(len(body))
		}
		from := io.Reader(bytes.NewReader(body))
		switch draw.IntN(3) {
		case 0:
			from = iotest.DataErrReader(from)
		case 1:
			from = iotest.HalfReader(from)
		}
		in := &intake{total: &total, own: new(atomic.Int64), most: 1 << 20, scan: scan{most: 3}}
		have, err := in.read(from, length)
		if err != nil || !bytes.Equal(have, body) {
			t.Fatalf("%d bytes of %d, length %d: %v", len(have), len(body), length, err)
		}
		if n := total.Load(); n != 0 && n != int64(len(body)) {
			t.Fatalf("%d bytes count, of %d", n, len(body))
		}
		in.release()
		in.release()
		if n := total.Load(); n != 0 {
			t.Fatalf("%d bytes still count", n)
		}
	}
	torn := &intake{total: &total, own: new(atomic.Int64), most: 1 << 20}
	if _, err := torn.read(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc"))), 50_000); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a reader that fails: %v", err)
	}
}
