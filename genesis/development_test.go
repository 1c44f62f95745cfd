package genesis

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/btcutil/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/holiman/uint256"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/tyler-smith/go-bip39"

	"cairn/crypto"
)

func TestDevelopmentKeysAreTheMnemonics(t *testing.T) {
	t.Parallel()
	seed := bip39.NewSeed("test test test test test test test test test test test junk", "")
	node, err := hdkeychain.NewMaster(seed, &chaincfg.MainNetParams)
	for _, i := range []uint32{1<<31 + 44, 1<<31 + 60, 1 << 31, 0} {
		if err == nil {
			node, err = node.Derive(i)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	keys := append(DevelopmentAccounts(), DevelopmentValidator())
	if len(keys) != 11 {
		t.Fatalf("%d keys, want 11", len(keys))
	}
	for i, key := range keys {
		child, err := node.Derive(uint32(i))
		if err != nil {
			t.Fatal(err)
		}
		want, err := child.ECPrivKey()
		if err != nil {
			t.Fatal(err)
		}
		if string(want.Serialize()) != string(key.Bytes()) {
			t.Errorf("key %d is not that of the mnemonic", i)
		}
		if !IsDevelopmentKey(key.Address()) {
			t.Errorf("%s is not told to be a development key", key.Address())
		}
	}
	if IsDevelopmentKey(crypto.Address{1}) {
		t.Error("any address is a development key")
	}
}

func TestDevelopmentNetwork(t *testing.T) {
	t.Parallel()
	s := Development()
	million, _ := uint256.FromDecimal("1000000000000000000000000")
	balances := map[crypto.Address]*uint256.Int{}
	for _, a := range s.Alloc {
		balances[a.Address] = a.Balance
	}
	for _, k := range DevelopmentAccounts() {
		if b := balances[k.Address()]; b == nil || b.Lt(million) {
			t.Errorf("%s has less than a million coins", k.Address())
		}
	}
	want := PeerID(DevelopmentPeerKey().Public().(ed25519.PublicKey))
	if len(s.Validators) != 1 || s.Validators[0].Address != DevelopmentValidator().Address() || s.Validators[0].PeerID != want {
		t.Errorf("validators are %v", s.Validators)
	}
	s.Alloc[0].Balance.Clear()
	if Development().Alloc[0].Balance.IsZero() {
		t.Error("two callers share one Spec")
	}
}

// The peer ids here are exactly libp2p's.
func TestPeerIDIsLibp2ps(t *testing.T) {
	t.Parallel()
	for i := range byte(20) {
		text := testPeerID(i)
		id, err := peer.Decode(text)
		if err != nil || id.String() != text {
			t.Errorf("libp2p reads %s as %s, %v", text, id, err)
		}
		key, err := id.ExtractPublicKey()
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if raw, _ := key.Raw(); PeerID(raw) != text {
			t.Errorf("%s holds another key", text)
		}
	}
}

func TestCandidate(t *testing.T) {
	t.Parallel()
	key := DevelopmentAccounts()[0]
	c, err := NewCandidate(key, testPeerID(1), "a")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCandidate(c.Marshal())
	if err != nil || *got != *c {
		t.Fatalf("%+v, %v; want %+v", got, err, c)
	}
	good := string(c.Marshal())
	proof := good[strings.Index(good, `"proof": "`)+10:][:132]
	for _, bad := range []struct{ name, from, to, path string }{
		{"another address", key.Address().Hex(), address(1), "proof"},
		{"another peer id", testPeerID(1), testPeerID(2), "proof"},
		{"wrong hex", proof, "0x" + strings.Repeat("g", 130), "proof"},
		{"no 0x", proof, proof[2:], "proof"},
		{"short proof", proof, proof[:100], "proof"},
		{"proof of zeros", proof, "0x" + strings.Repeat("0", 130), "proof"},
	} {
		_, err := ParseCandidate([]byte(replace(t, good, bad.from, bad.to)))
		if at, ok := errors.AsType[*FieldError](err); !ok || at.Path != bad.path || !errors.Is(err, ErrPossession) {
			t.Errorf("%s: %v", bad.name, err)
		}
	}
	_, err = ParseCandidate([]byte(replace(t, good, `"name"`, `"Name"`)))
	checkFieldError(t, err, "", ErrUnknownField)
	_, err = ParseCandidate(make([]byte, maxCandidateBytes+1))
	checkFieldError(t, err, "", ErrTooLarge)
	_, err = NewCandidate(key, "x", "a")
	checkFieldError(t, err, "peerId", ErrPeerID)
	_, err = NewCandidate(key, testPeerID(1), "A b")
	checkFieldError(t, err, "name", ErrText)
}

func TestParseAlloc(t *testing.T) {
	t.Parallel()
	want := testSpec().Alloc
	got, err := ParseAlloc(MarshalAlloc(want))
	if err != nil || len(got) != 2 || !got[1].Balance.Eq(want[1].Balance) {
		t.Fatalf("%v, %v", got, err)
	}
	_, err = ParseAlloc([]byte(`[{"address": "` + address(1) + `", "balance": "1"}, {"address": "` + address(1) + `", "balance": "1"}]`))
	checkFieldError(t, err, "[1].address", ErrDuplicate)
	_, err = ParseAlloc([]byte(`{}`))
	checkFieldError(t, err, "", ErrType)
}

func FuzzParseCandidate(f *testing.F) {
	c, err := NewCandidate(DevelopmentAccounts()[0], testPeerID(1), "a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Marshal())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseCandidate(raw)
		if err != nil {
			return
		}
		if again, err := ParseCandidate(c.Marshal()); err != nil || *again != *c {
			t.Fatalf("%s is written as %s: %v", raw, c.Marshal(), err)
		}
	})
}
