package fetch_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/node/fetch"
)

type part struct {
	Number uint64
	Text   []byte
}

type message struct {
	Parts []part
	Rest  [][]byte
}

var shape = fetch.Fields(fetch.List(3, fetch.Fields(fetch.Number(), fetch.Between(1, 4))), fetch.List(2, fetch.Bytes(2)))

// TestDecode: a message is what its shape allows, and each way of being more is
// found before it is decoded.
func TestDecode(t *testing.T) {
	t.Parallel()
	good := message{Parts: []part{{0, []byte{1}}, {1 << 63, []byte("four")}}, Rest: [][]byte{{}, {200, 1}}}
	m, err := fetch.Decode[message](fetch.Encode(&good), 100, shape)
	if err != nil || m.Parts[1].Number != 1<<63 || !bytes.Equal(fetch.Encode(m), fetch.Encode(&good)) {
		t.Fatalf("%+v, %v", m, err)
	}
	list := func(items ...[]byte) []byte { return fetch.Encode(rawList(items)) }
	text := func(b ...byte) []byte { return fetch.Encode(b) }
	one := list(text(7), text(1))
	for name, tc := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":             {nil, fetch.ErrMalformed},
		"too many bytes":      {make([]byte, 101), fetch.ErrOversize},
		"more follows":        {append(fetch.Encode(&good), 0x80), fetch.ErrMalformed},
		"a field less":        {list(list(one)), fetch.ErrMalformed},
		"a field more":        {list(list(one), list(), list()), fetch.ErrMalformed},
		"too many parts":      {list(list(one, one, one, one), list()), fetch.ErrOversize},
		"too many strings":    {list(list(), list(text(), text(), text())), fetch.ErrOversize},
		"a string too long":   {list(list(), list(text(1, 2, 3))), fetch.ErrOversize},
		"a string too short":  {list(list(list(text(7), text())), list()), fetch.ErrMalformed},
		"a number too long":   {list(list(list(text(1, 2, 3, 4, 5, 6, 7, 8, 9), text(1))), list()), fetch.ErrOversize},
		"a padded number":     {list(list(list(text(0, 7), text(1))), list()), fetch.ErrMalformed},
		"a padded string":     {list(list(list(text(7), []byte{0x81, 1})), list()), fetch.ErrMalformed},
		"a string for a list": {list(text(), list()), fetch.ErrMalformed},
		"a list for a string": {list(list(), list(list())), fetch.ErrMalformed},
		"cut":                 {fetch.Encode(&good)[:10], fetch.ErrMalformed},
	} {
		if m, err := fetch.Decode[message](tc.raw, 100, shape); !errors.Is(err, tc.want) || m != nil {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, tc.want)
		}
	}
}

func rawList(items [][]byte) (out []rlp.RawValue) {
	for _, item := range items {
		out = append(out, item)
	}
	return out
}

// TestFlood: a message of nothing but empty items is refused for a few
// allocations; decoded, each of them would be a slice.
func TestFlood(t *testing.T) {
	flood := fetch.Encode(&message{Rest: make([][]byte, 1<<20)})
	if n := testing.AllocsPerRun(5, func() {
		if _, err := fetch.Decode[message](flood, len(flood), shape); !errors.Is(err, fetch.ErrOversize) {
			t.Errorf("%v", err)
		}
	}); n > 20 {
		t.Errorf("%.0f allocations", n)
	}
}
