package blocksync_test

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// FuzzWire: no bytes make a decoder panic, and what decodes is the only encoding
// of what it says. The seeds are made by hand: the goroutines of a ledger in the
// background would look to the fuzzer as if every input led somewhere new.
func FuzzWire(f *testing.F) {
	rules := genesis.DefaultRules()
	for _, m := range messages() {
		f.Add(fetch.Encode(m))
	}
	f.Add([]byte{0xc0})
	f.Add([]byte{0xf9, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := blocksync.DecodeBlocksRequest(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := blocksync.DecodeEpochsRequest(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := blocksync.DecodeBlocksAnswer(b, &rules); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := blocksync.DecodeEpochsAnswer(b); err == nil {
			same(t, b, fetch.Encode(m))
		}
		if m, err := blocksync.DecodeReceiptsAnswer(b, &rules); err == nil {
			same(t, b, fetch.Encode(m))
		}
	})
}

// messages are one of each kind, short and well formed.
func messages() []any {
	header := &types.Header{
		UncleHash: types.EmptyUncleHash, TxHash: types.EmptyTxsHash, Number: big.NewInt(1), Difficulty: new(big.Int), BaseFee: big.NewInt(7),
		Extra: chain.Extra{Version: chain.ExtraVersion, View: 1, TimestampMillis: 1}.Encode(),
	}
	signers := consensus.NewBitmap(1)
	signers.Set(0)
	finalization := consensus.EncodeCertificate(&consensus.Certificate{
		Subject: consensus.Subject{Kind: consensus.Finalize, View: 1, Block: header.Hash()},
		Signers: signers, Signatures: []crypto.Signature{lighttest.Key(0).Sign(crypto.Hash{1})},
	})
	raw := chain.EncodeHeader(header)
	return []any{
		&blocksync.BlocksRequest{From: 1, Count: 9, Bytes: 1 << 20},
		&blocksync.EpochsRequest{From: 0, Count: 3},
		&blocksync.BlocksAnswer{
			Blocks:  []blocksync.RangedBlock{{Body: chain.EncodeBlock(types.NewBlockWithHeader(header)), Finalization: finalization}, {Body: []byte{0xc0}}},
			Headers: [][]byte{raw}, Finalization: finalization,
		},
		&blocksync.EpochsAnswer{Steps: []light.Step{{Header: raw, Finalization: finalization, Next: []genesis.Validator{lighttest.Validator(0)}}}},
		&blocksync.ReceiptsAnswer{Blocks: [][][]byte{{make([]byte, types.BloomByteLength)}, nil}},
	}
}

// TestLargestAnswer: the largest true answer to a request for blocks is within what
// is read of it, however the bytes fall on blocks; and that is not much more.
func TestLargestAnswer(t *testing.T) {
	t.Parallel()
	rules := genesis.DefaultRules()
	headers := make([][]byte, light.MaxDescendants)
	for i := range headers {
		headers[i] = make([]byte, chain.MaxHeaderBytes)
	}
	certificate := make([]byte, consensus.MaxCertificateBytes)
	for _, q := range []blocksync.BlocksRequest{
		{From: 1, Count: 1, Bytes: 1},
		{From: 1, Count: 1024, Bytes: 1 << 20},
		{From: 1, Count: 7, Bytes: blocksync.MaxRangeBytes},
		{From: 1, Count: 1 << 40, Bytes: 1 << 40},
	} {
		a := blocksync.BlocksAnswer{Headers: headers, Finalization: certificate}
		left, count := min(q.Bytes, blocksync.MaxRangeBytes)-1, min(q.Count, blocksync.MaxBlocks)
		for ; count > 1; count-- {
			a.Blocks = append(a.Blocks, blocksync.RangedBlock{Body: make([]byte, left/count)})
			left -= left / count
		}
		a.Blocks = append(a.Blocks, blocksync.RangedBlock{Body: make([]byte, rules.BlockBytes), Finalization: certificate})
		raw := fetch.Encode(&a)
		most := blocksync.MaxBlocksBytes(fetch.Encode(&q), &rules)
		if len(raw) > most || len(raw)+len(raw)/8+int(left) < most {
			t.Errorf("%+v: an answer of %d bytes, %d are read", q, len(raw), most)
		}
		if _, err := blocksync.DecodeBlocksAnswer(raw, &rules); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func same(t *testing.T, b, again []byte) {
	t.Helper()
	if !bytes.Equal(b, again) {
		t.Errorf("%x encodes to %x", b, again)
	}
}

// TestMessages: each message decodes, so that the fuzzer begins with what passes.
func TestMessages(t *testing.T) {
	t.Parallel()
	rules := genesis.DefaultRules()
	for _, m := range messages() {
		raw, err := fetch.Encode(m), error(nil)
		switch m.(type) {
		case *blocksync.BlocksRequest:
			_, err = blocksync.DecodeBlocksRequest(raw)
		case *blocksync.EpochsRequest:
			_, err = blocksync.DecodeEpochsRequest(raw)
		case *blocksync.BlocksAnswer:
			_, err = blocksync.DecodeBlocksAnswer(raw, &rules)
		case *blocksync.EpochsAnswer:
			_, err = blocksync.DecodeEpochsAnswer(raw)
		case *blocksync.ReceiptsAnswer:
			_, err = blocksync.DecodeReceiptsAnswer(raw, &rules)
		}
		if err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
}
