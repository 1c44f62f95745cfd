package chain

import (
	"bytes"
	"errors"
	"math/big"
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
			if _, err := TransactionOf(raw, 1); err != nil {
				checkKind(t, err)
			}
			return
		}
		for i := range len(b.Transactions()) + 1 {
			tx, err := TransactionOf(raw, uint64(i))
			if i == len(b.Transactions()) {
				if tx != nil || err != nil {
					t.Fatalf("beyond the last transaction: %v, %v", tx, err)
				}
			} else if err != nil || tx.Hash() != b.Transactions()[i].Hash() {
				t.Fatalf("transaction %d alone: %v", i, err)
			}
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

// FuzzRegistryCall holds calls of the registry to: a refusal with a reason that
// changes nothing, or success of what encodes back to the same input, with
// nothing left half done.
func FuzzRegistryCall(f *testing.F) {
	n := newNetwork(f, 2, 5)
	n.mustCall(3, registration(f, 3, member(f, 3), 0))
	n.mustCall(0, input(f, "vote", key(f, 3).Address(), true))
	for i, data := range [][]byte{
		nil, input(f, "withdraw"), input(f, "validators"), input(f, "vote", key(f, 3).Address(), true), input(f, "vote", key(f, 1).Address(), false),
		input(f, "revoke", key(f, 3).Address()), registration(f, 4, member(f, 4), 0), input(f, "candidateRange", big.NewInt(0), big.NewInt(9)),
		input(f, "closingHeight", big.NewInt(0)),
	} {
		f.Add(uint8(i), data)
	}
	f.Fuzz(func(t *testing.T, from uint8, data []byte) {
		sender := key(t, int(from%5)).Address()
		g, err := loadRegistry(n.memory)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.call(n.cfg, sender, nil, data)
		var revert *RevertError
		if err != nil && !errors.As(err, &revert) {
			t.Fatalf("%x: %v", data, err)
		}
		if changed := len(g.slots.changes()) > 0; changed != (err == nil) {
			t.Fatalf("%x: %v, changed %t", data, err, changed)
		}
		m := callMethod(data)
		if err == nil {
			if args, err := callArguments(m, data); err != nil || !bytes.Equal(input(t, m.RawName, args...), data) {
				t.Fatalf("%x is not canonical: %v", data, err)
			}
		}
		if next, _, err := g.close(9); err != nil || next != nil && next.Len() == 0 {
			t.Fatalf("%x closes with %v, %v", data, next, err)
		}
		if _, _, err := ReadRegistry(g.slots); err != nil {
			t.Fatalf("%x leaves a damaged registry: %v", data, err)
		}
		for i := range g.candidateCount() {
			v := g.validator(candidateSlot(i))
			if got, ok := g.candidate(v.Address); !ok || got != v || g.err != nil {
				t.Fatalf("%x leaves a damaged list of candidates", data)
			}
		}
		out, err := CallRegistry(n.cfg, n.memory, Call{From: sender, Input: data})
		if err != nil && !errors.As(err, &revert) || err == nil && (len(out) > 0) != m.IsConstant() {
			t.Fatalf("%x answers %x, %v", data, out, err)
		}
	})
}
