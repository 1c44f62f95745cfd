package statesync_test

import (
	"bytes"
	"testing"

	"cairn/crypto"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

// FuzzWire: no bytes make a decoder panic, and what decodes is the only encoding
// of what it says. The seeds are made by hand: the goroutines of a database in
// the background would look to the fuzzer as if every input led somewhere new.
func FuzzWire(f *testing.F) {
	f.Add(fetch.Encode(&statesync.OffersAnswer{Offers: []statesync.Offer{
		{Header: []byte{0xc0}, Headers: [][]byte{{0xc1, 1}, {}}, Finalization: []byte{1, 2, 3}}, {},
	}}))
	f.Add(fetch.Encode(&statesync.RangeRequest{Height: 7, Hash: crypto.Hash{1}, Owner: crypto.Address{2}, To: crypto.Hash{3}, Bytes: 4}))
	f.Add(fetch.Encode(&statesync.CodeRequest{Height: 7, Hash: crypto.Hash{1}, Code: crypto.Hash{2}}))
	f.Add([]byte{0xc0})
	f.Add([]byte{0xf9, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := statesync.DecodeOffers(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := statesync.DecodeRangeRequest(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := statesync.DecodeCodeRequest(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
	})
}

func same(t *testing.T, b, again []byte) {
	t.Helper()
	if !bytes.Equal(b, again) {
		t.Errorf("%x encodes to %x", b, again)
	}
}
