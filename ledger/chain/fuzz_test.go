package chain

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// Each target holds the decoder to: a typed error, or bytes that encode back to
// the same.

func checkKind(t *testing.T, err error) {
	var inv *InvalidError
	if !errors.As(err, &inv) || inv.Kind == "" {
		t.Fatalf("%T has no kind: %v", err, err)
	}
}

func FuzzDecodeBlock(f *testing.F) {
	m, block := testBlock(f)
	f.Add(EncodeBlock(block))
	f.Add(EncodeBlock(types.NewBlockWithHeader(m.head)))
	rules := testRules()
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBlock(raw, &rules)
		if err != nil {
			checkKind(t, err)
			return
		}
		if !bytes.Equal(EncodeBlock(b), raw) {
			t.Fatalf("%x is read as %x", raw, EncodeBlock(b))
		}
		if _, err := Execute(m.cfg, m.head, m.state(), b); err != nil {
			checkKind(t, err)
		}
	})
}

func FuzzDecodeTransaction(f *testing.F) {
	_, block := testBlock(f)
	for _, tx := range block.Transactions() {
		f.Add(EncodeTransaction(tx))
	}
	cfg := &Config{ChainID: testChainID, Rules: testRules()}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := DecodeTransaction(raw)
		if err != nil {
			checkKind(t, err)
			return
		}
		if !bytes.Equal(EncodeTransaction(tx), raw) {
			t.Fatalf("%x is read as %x", raw, EncodeTransaction(tx))
		}
		if err := CheckTransaction(cfg, tx); err != nil {
			checkKind(t, err)
		}
		from, err := Sender(cfg.Signer(), tx)
		if err != nil {
			checkKind(t, err)
			return
		}
		// Whatever we take, go-ethereum takes with the same sender.
		if want, err := types.NewLondonSigner(cfg.Signer().ChainID()).Sender(tx); err != nil || want != from {
			t.Fatalf("sender %s, go-ethereum says %s, %v", from, want, err)
		}
	})
}

func FuzzDecodeExtra(f *testing.F) {
	f.Add(Extra{Version: 1, Epoch: 2, View: 3, TimestampMillis: 4}.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := DecodeExtra(&types.Header{Extra: raw})
		if err != nil {
			checkKind(t, err)
			return
		}
		if !bytes.Equal(e.Encode(), raw) {
			t.Fatalf("%x is read as %+v", raw, e)
		}
	})
}

func FuzzDecodeAccount(f *testing.F) {
	f.Add(NewAccount(coins(1)).Encode())
	f.Add(Account{Nonce: 300, Balance: coins(0), StorageRoot: EmptyCodeHash, CodeHash: RegistryCodeHash}.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := DecodeAccount(raw)
		if err != nil {
			checkKind(t, err)
			return
		}
		if !bytes.Equal(a.Encode(), raw) {
			t.Fatalf("%x is read as %+v", raw, a)
		}
	})
}
