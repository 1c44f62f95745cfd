package blocksync_test

import (
	"bytes"
	"testing"

	"cairn/genesis"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
)

// FuzzWire: no bytes make a decoder panic, and what decodes is the only encoding
// of what it says.
func FuzzWire(f *testing.F) {
	rules := genesis.DefaultRules()
	c := lighttest.New(f, 1)
	c.Seal(c.Transfer(0))
	c.Change(1, true)
	c.Seal(c.Transfer(0), c.Transfer(1))
	s := blocksync.Server{Ledger: c.Ledger}
	request := blocksync.Encode(&blocksync.BlocksRequest{From: 1, Count: 9, Bytes: 1 << 20})
	ends := blocksync.Encode(&blocksync.EpochsRequest{From: 0, Count: 3})
	f.Add(request)
	f.Add(ends)
	for _, answer := range []func() ([]byte, error){
		func() ([]byte, error) { return s.Blocks(f.Context(), request) },
		func() ([]byte, error) { return s.Receipts(f.Context(), request) },
		func() ([]byte, error) { return s.Epochs(f.Context(), ends) },
	} {
		raw, err := answer()
		check(f, err)
		f.Add(raw)
	}
	f.Add([]byte{0xc0})
	f.Add([]byte{0xf9, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := blocksync.DecodeBlocksRequest(b); err == nil {
			same(t, b, blocksync.Encode(m))
		}
		if m, err := blocksync.DecodeEpochsRequest(b); err == nil {
			same(t, b, blocksync.Encode(m))
		}
		if m, err := blocksync.DecodeBlocksAnswer(b, &rules); err == nil {
			same(t, b, blocksync.Encode(m))
		}
		if m, err := blocksync.DecodeEpochsAnswer(b); err == nil {
			same(t, b, blocksync.Encode(m))
		}
		if m, err := blocksync.DecodeReceiptsAnswer(b, &rules); err == nil {
			same(t, b, blocksync.Encode(m))
		}
	})
}

func same(t *testing.T, b, again []byte) {
	t.Helper()
	if !bytes.Equal(b, again) {
		t.Errorf("%x encodes to %x", b, again)
	}
}
