package wallet_test

import (
	"errors"
	"testing"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/wallet"
	"cairn/wallet/wallettest"
)

func verifier(t *testing.T, l *wallettest.Ledger) *wallet.Verifier {
	t.Helper()
	v, err := wallet.NewVerifier(dial(t, l.URL()), l.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVerifier: accounts and receipts of every epoch, from the genesis file on,
// in any order.
func TestVerifier(t *testing.T) {
	t.Parallel()
	l := wallettest.NewLedger(t, 1)
	var hashes []crypto.Hash
	send := func() {
		tx := l.Transfer(0)
		hashes = append(hashes, tx.Hash())
		l.Seal(l.Transfer(1), tx)
	}
	send()
	for i := 1; i < 4; i++ {
		l.Change(i, true)
		send()
	}
	v := verifier(t, l)
	if err := v.CheckNetwork(t.Context()); err != nil {
		t.Error(err)
	}
	alice := lighttest.Account(0).Address()
	want, err := l.Ledger.Account(alice)
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Account(t.Context(), alice)
	if err != nil || !a.Balance.Eq(want.Balance) || a.Nonce != want.Nonce || a.Block.Hash() != l.Ledger.HeadInfo().Hash || a.Set.Len() != 4 {
		t.Errorf("%+v, %v", a, err)
	}
	nobody, err := v.Account(t.Context(), crypto.Address{0x99})
	if err != nil || !nobody.Balance.IsZero() || nobody.Nonce != 0 {
		t.Errorf("absent account: %+v, %v", nobody, err)
	}
	for i := len(hashes) - 1; i >= 0; i-- {
		r, err := v.Receipt(t.Context(), hashes[i])
		if err != nil {
			t.Fatal(err)
		}
		said, err := dial(t, l.URL()).Receipt(t.Context(), hashes[i])
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != 1 || r.GasUsed != 21_000 || r.Index != 1 || r.From != alice || r.To != said.To || r.Height != said.Height ||
			r.BlockHash != said.BlockHash || !r.EffectiveGasPrice.Eq(said.EffectiveGasPrice) {
			t.Errorf("proven %+v, said %+v", r, said)
		}
	}
	if _, err := v.Receipt(t.Context(), crypto.Hash{1}); !errors.Is(err, wallet.ErrNotFound) {
		t.Errorf("an unknown transaction: %v", err)
	}
}

// TestVerifierLies: a node that changes what it shows proves nothing.
func TestVerifierLies(t *testing.T) {
	t.Parallel()
	l := wallettest.NewLedger(t, 1)
	l.Change(1, true)
	old := l.Seal(l.Transfer(0))
	oldHeader, oldFinalization, _ := l.Finality(old.NumberU64())
	tx := l.Transfer(0)
	l.Seal(tx, l.Transfer(1))
	other := l.Transfer(1)
	l.Seal(l.Transfer(0), other)
	hex := func(b []byte) string { return "0x" + string(encodeHex(b)) }
	flip := func(s string) string {
		if s[len(s)-5] == '0' {
			return s[:len(s)-5] + "1" + s[len(s)-4:]
		}
		return s[:len(s)-5] + "0" + s[len(s)-4:]
	}
	finality := func(r map[string]any) map[string]any { return r["finality"].(map[string]any) }
	alice := lighttest.Account(0).Address()
	for _, tc := range []struct {
		what, method string
		lie          func(r map[string]any)
		kinds        []error
	}{
		{"an old proof with the new header", "cairn_proof", func(r map[string]any) {
			finality(r)["headerRlp"], finality(r)["finalization"] = hex(oldHeader), hex(oldFinalization)
		}, []error{wallet.ErrUnproven, light.ErrProof}},
		{"a changed header", "cairn_proof", func(r map[string]any) {
			finality(r)["headerRlp"] = flip(finality(r)["headerRlp"].(string))
		}, []error{wallet.ErrUnproven}},
		{"a changed signature", "cairn_proof", func(r map[string]any) {
			finality(r)["finalization"] = flip(finality(r)["finalization"].(string))
		}, []error{wallet.ErrUnproven, light.ErrCertificate}},
		{"no finality", "cairn_proof", func(r map[string]any) { r["finality"] = nil }, []error{wallet.ErrAnswer}},
		{"no proof", "cairn_proof", func(r map[string]any) { r["account"] = nil }, []error{wallet.ErrAnswer}},
		{"another's proof", "cairn_proof", func(r map[string]any) {
			r["account"].(map[string]any)["accountProof"] = []any{}
		}, []error{wallet.ErrUnproven, light.ErrProof}},
		{"a changed set", "cairn_epochs", func(r map[string]any) {
			r["validators"].([]any)[0].(map[string]any)["name"] = "mallory"
		}, []error{wallet.ErrUnproven, light.ErrNextSet}},
		{"another transaction's proof", "cairn_receiptProof", func(r map[string]any) { r["transactionIndex"] = "0x1" }, []error{wallet.ErrUnproven}},
		{"no receipt before", "cairn_receiptProof", func(r map[string]any) { r["transactionIndex"] = "0x5" }, []error{wallet.ErrUnproven}},
		{"no finality of a receipt", "cairn_receiptProof", func(r map[string]any) { r["finality"] = nil }, []error{wallet.ErrAnswer}},
	} {
		v := verifier(t, l)
		l.Lie(tc.method, tc.lie)
		var err error
		if tc.method == "cairn_receiptProof" {
			_, err = v.Receipt(t.Context(), tx.Hash())
		} else {
			_, err = v.Account(t.Context(), alice)
		}
		l.Lie(tc.method, nil)
		for _, k := range tc.kinds {
			if !errors.Is(err, k) {
				t.Errorf("%s: %v, want %q", tc.what, err, k)
			}
		}
		if err != nil {
			t.Logf("%s: %v", tc.what, err)
		}
		// The lie poisoned nothing: the same verifier believes the truth.
		if _, err := v.Account(t.Context(), alice); err != nil {
			t.Errorf("after %s: %v", tc.what, err)
		}
	}
	v := verifier(t, l)
	l.Lie("cairn_receiptProof", func(r map[string]any) {})
	if r, err := v.Receipt(t.Context(), other.Hash()); err != nil || r.Index != 1 {
		t.Errorf("the proxy alone: %v", err)
	}
}

func encodeHex(b []byte) []byte {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return out
}

// TestVerifierNetworks: another network's node is found out, also if it lies
// about its name; an empty genesis starts nothing.
func TestVerifierNetworks(t *testing.T) {
	t.Parallel()
	l, foreign := wallettest.NewLedger(t, 2), wallettest.NewLedger(t, 1)
	l.Seal(l.Transfer(0))
	foreign.Seal(foreign.Transfer(0))
	v, err := wallet.NewVerifier(dial(t, foreign.URL()), l.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.CheckNetwork(t.Context()); !errors.Is(err, wallet.ErrOtherNetwork) {
		t.Errorf("%v", err)
	}
	if _, err := v.Account(t.Context(), lighttest.Account(0).Address()); !errors.Is(err, wallet.ErrUnproven) {
		t.Errorf("%v", err)
	}
	if _, err := wallet.NewVerifier(dial(t, l.URL()), &genesis.Spec{}); !errors.Is(err, wallet.ErrGenesisFile) {
		t.Errorf("%v", err)
	}
}

// TestRegistryCalls: register, vote, revoke and withdraw as the client encodes
// them, and what their receipts tell.
func TestRegistryCalls(t *testing.T) {
	t.Parallel()
	l := wallettest.NewLedger(t, 4)
	c := dial(t, l.URL())
	call := func(key *crypto.PrivateKey, data []byte) *wallet.Receipt {
		t.Helper()
		tx, _ := submit(t, c, key, wallet.Transfer{To: genesis.RegistryAddress, Data: data})
		r, err := c.Receipt(t.Context(), tx.Hash())
		if err != nil || r.Status != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	candidate, payer := lighttest.Key(4), lighttest.Account(0)
	v := lighttest.Validator(4)
	for number := range uint64(2) {
		n, err := c.Registrations(t.Context(), v.Address)
		if err != nil || n != number {
			t.Fatalf("%d registrations, %v", n, err)
		}
		data, err := wallet.RegisterCall(candidate, lighttest.ChainID, v, n)
		if err != nil {
			t.Fatal(err)
		}
		call(payer, data)
	}
	if _, err := wallet.RegisterCall(candidate, 1, genesis.Validator{PeerID: "x", Name: "y"}, 0); !errors.Is(err, genesis.ErrPeerID) {
		t.Errorf("%v", err)
	}
	call(candidate, wallet.WithdrawCall())
	data, err := wallet.RegisterCall(candidate, lighttest.ChainID, v, 2)
	if err != nil {
		t.Fatal(err)
	}
	call(payer, data)
	set := l.Spec.ValidatorSet()
	keys := map[crypto.Address]*crypto.PrivateKey{}
	for i := range 4 {
		keys[lighttest.Key(i).Address()] = lighttest.Key(i)
	}
	first := keys[set.At(0).Address]
	call(first, wallet.VoteCall(v.Address, true))
	call(first, wallet.RevokeCall(v.Address))
	for i := range 3 {
		r := call(keys[set.At(i).Address], wallet.VoteCall(v.Address, true))
		vote, err := r.Vote(v.Address)
		if err != nil || vote.Votes != i+1 || vote.Quorum != 3 || vote.Enacted != (i == 2) {
			t.Errorf("vote %d: %+v, %v", i, vote, err)
		}
		if _, err := r.Vote(payer.Address()); !errors.Is(err, wallet.ErrAnswer) {
			t.Errorf("a vote on somebody else: %v", err)
		}
	}
	g, err := c.Registry(t.Context())
	if err != nil || len(g.Validators) != 5 || g.Epoch != 1 || g.Quorum != 4 {
		t.Errorf("%+v, %v", g, err)
	}
	d, err := c.ValidatorChange(t.Context(), v.Address, false)
	if err != nil || d.NewQuorum != 3 || len(d.Validators) != 4 || d.Live == nil || !*d.Live {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := errors.AsType[*wallet.RejectedError](changeError(t, c, v.Address)); !err {
		t.Error("a change that the registry refuses is no rejection")
	}
}

func changeError(t *testing.T, c *wallet.Client, a crypto.Address) error {
	_, err := c.ValidatorChange(t.Context(), a, true)
	return err
}
