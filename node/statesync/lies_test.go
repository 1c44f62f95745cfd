package statesync_test

import (
	"context"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/fetch"
	"cairn/node/statesync"
)

func encode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(err)
	}
	return b
}

// offerLies are lies in each field of an answer to "snapshots".
func offerLies(n *network) map[string]func(a *statesync.OffersAnswer) {
	out := map[string]func(a *statesync.OffersAnswer){
		"Offers: too many":                func(a *statesync.OffersAnswer) { a.Offers = make([]statesync.Offer, statesync.MaxOffers+1) },
		"Offers.Header.Number: far":       func(a *statesync.OffersAnswer) { a.Offers[0].Header = far(a.Offers[0].Header) },
		"Offers.Headers: of another":      func(a *statesync.OffersAnswer) { a.Offers[0].Headers = [][]byte{a.Offers[0].Header} },
		"Offers.Headers: too many":        func(a *statesync.OffersAnswer) { a.Offers[0].Headers = make([][]byte, light.MaxDescendants+1) },
		"Offers.Finalization: none":       func(a *statesync.OffersAnswer) { a.Offers[0].Finalization = nil },
		"Offers.Finalization: of another": func(a *statesync.OffersAnswer) { *a = below(n, *a) },
	}
	for name, lie := range lighttest.HeaderLies() {
		out["Offers.Header"+name] = func(a *statesync.OffersAnswer) { a.Offers[0].Header = lie(a.Offers[0].Header) }
	}
	for name, lie := range n.chain.FinalizationLies() {
		out["Offers.Finalization"+name] = func(a *statesync.OffersAnswer) { a.Offers[0].Finalization = lie(a.Offers[0].Finalization) }
	}
	return out
}

func far(raw []byte) []byte {
	h, err := chain.DecodeHeader(raw)
	if err != nil {
		panic(err) // lies begin with what is true
	}
	h.Number = new(big.Int).SetUint64(1 << 40)
	return chain.EncodeHeader(h)
}

// below has the finalization of the parent.
func below(n *network, a statesync.OffersAnswer) statesync.OffersAnswer {
	h, err := chain.DecodeHeader(a.Offers[0].Header)
	check(n.t, err)
	parent := n.offer(h.Number.Uint64() - 1)
	a.Offers[0].Finalization = parent.Finalization
	return a
}

// accountLies are lies in each field of an answer to "accounts".
func accountLies() map[string]func(r *snapshot.AccountRange) {
	account := func(change func(*chain.Account)) func(*snapshot.AccountRange) {
		return func(r *snapshot.AccountRange) {
			a, err := chain.DecodeAccount(r.Accounts[1].Account)
			if err != nil {
				panic(err)
			}
			change(a)
			r.Accounts[1].Account = a.Encode()
		}
	}
	return map[string]func(r *snapshot.AccountRange){
		"Accounts: first left out":     func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[1:] },
		"Accounts: one left out":       func(r *snapshot.AccountRange) { r.Accounts = append(r.Accounts[:1:1], r.Accounts[2:]...) },
		"Accounts: last left out":      func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[:len(r.Accounts)-1] },
		"Accounts: all left out":       func(r *snapshot.AccountRange) { r.Accounts = nil },
		"Accounts: one twice":          func(r *snapshot.AccountRange) { r.Accounts[1] = r.Accounts[0] },
		"Accounts: two swapped":        func(r *snapshot.AccountRange) { r.Accounts[0], r.Accounts[1] = r.Accounts[1], r.Accounts[0] },
		"Accounts.Address":             func(r *snapshot.AccountRange) { r.Accounts[1].Address[3] ^= 1 },
		"Accounts.Account: cut":        func(r *snapshot.AccountRange) { r.Accounts[1].Account = r.Accounts[1].Account[:9] },
		"Accounts.Account: long":       func(r *snapshot.AccountRange) { r.Accounts[1].Account = make([]byte, snapshot.MaxLeafBytes+1) },
		"Accounts.Account.Balance":     account(func(a *chain.Account) { a.Balance = a.Balance.Clone().AddUint64(a.Balance, 1) }),
		"Accounts.Account.Nonce":       account(func(a *chain.Account) { a.Nonce++ }),
		"Accounts.Account.StorageRoot": account(func(a *chain.Account) { a.StorageRoot[0] ^= 1 }),
		"Accounts.Account.CodeHash":    account(func(a *chain.Account) { a.CodeHash[0] ^= 1 }),
		"Proof: none":                  func(r *snapshot.AccountRange) { r.Proof = nil },
		"Proof: none, and no accounts": func(r *snapshot.AccountRange) { r.Accounts, r.Proof = nil, nil },
		"Proof: node left out":         func(r *snapshot.AccountRange) { r.Proof = r.Proof[1:] },
		"Proof: bit":                   func(r *snapshot.AccountRange) { r.Proof[len(r.Proof)-1][5] ^= 1 },
		"Proof: long":                  func(r *snapshot.AccountRange) { r.Proof = make([][]byte, snapshot.MaxProofNodes+1) },
		"Proof: a node too long":       func(r *snapshot.AccountRange) { r.Proof[0] = make([]byte, snapshot.MaxProofNodeBytes+1) },
	}
}

// slotLies are lies in each field of an answer to "slots".
func slotLies() map[string]func(r *snapshot.SlotRange) {
	return map[string]func(r *snapshot.SlotRange){
		"Slots: first left out": func(r *snapshot.SlotRange) { r.Slots = r.Slots[1:] },
		"Slots: last left out":  func(r *snapshot.SlotRange) { r.Slots = r.Slots[:len(r.Slots)-1] },
		"Slots: all left out":   func(r *snapshot.SlotRange) { r.Slots, r.Proof = nil, nil },
		"Slots: one more": func(r *snapshot.SlotRange) {
			r.Slots = append(r.Slots, snapshot.SlotLeaf{Slot: crypto.Hash{1}, Value: []byte{1}})
		},
		"Slots.Slot":        func(r *snapshot.SlotRange) { r.Slots[1].Slot[3] ^= 1 },
		"Slots.Value":       func(r *snapshot.SlotRange) { r.Slots[1].Value = []byte{7, 7, 7} },
		"Slots.Value: none": func(r *snapshot.SlotRange) { r.Slots[1].Value = nil },
		"Slots.Value: long": func(r *snapshot.SlotRange) { r.Slots[1].Value = make([]byte, 33) },
		"Proof: false":      func(r *snapshot.SlotRange) { r.Proof = [][]byte{{0xc0}} },
	}
}

// codeLies are lies in an answer to "code", which has no fields.
func codeLies() map[string]func(code []byte) []byte {
	return map[string]func(code []byte) []byte{
		"a bit":    func(code []byte) []byte { code[0] ^= 1; return code },
		"another":  func([]byte) []byte { return []byte{0x60, 0x00} },
		"longer":   func(code []byte) []byte { return append(code, 0) },
		"too long": func([]byte) []byte { return make([]byte, snapshot.MaxCodeBytes+1) },
	}
}

// TestEveryField: there is a lie for every field of every answer, and of what its
// bytes hold.
func TestEveryField(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 10)
	lighttest.Covered(t, statesync.OffersAnswer{}, map[string]any{
		"Offers.Header": types.Header{}, "Offers.Finalization": consensus.Certificate{},
	}, offerLies(n))
	lighttest.Covered(t, snapshot.AccountRange{}, map[string]any{"Accounts.Account": chain.Account{}}, accountLies())
	lighttest.Covered(t, snapshot.SlotRange{}, nil, slotLies())
}

// TestLies: whatever a peer says wrong in an answer, it is found out, the join
// ends with what the honest peer has, and that is the state.
func TestLies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, 150, "liar", "honest")
		at := n.chain.Ledger.HeadInfo().Height
		refused := func(name, request string, lie func(raw []byte) ([]byte, bool)) {
			t.Helper()
			n.Forgive()
			told := n.Lies("liar", request, lie)
			n.Answers("honest", func(_ context.Context, asked string, _, honest []byte) ([]byte, error) {
				if asked == request && request != statesync.RequestSnapshots && told.Load() == 0 {
					return nil, nil // has it a little later: it is the liar who is asked
				}
				return honest, nil
			})
			j := newJoiner(t, n)
			if _, err := statesync.Join(t.Context(), j.cfg); err != nil {
				t.Fatalf("%s: %s: %v", request, name, err)
			}
			j.same(at)
			if lied := n.Liars(); told.Load() == 0 || lied["liar"] == nil || lied["honest"] != nil {
				t.Errorf("%s: %s: told %d times; held to have lied: %v", request, name, told.Load(), lied)
			}
		}
		for name, lie := range offerLies(n) {
			refused(name, statesync.RequestSnapshots, func(raw []byte) ([]byte, bool) {
				a, err := statesync.DecodeOffers(raw)
				check(t, err)
				lie(a)
				return fetch.Encode(a), true
			})
		}
		for name, lie := range accountLies() {
			refused(name, statesync.RequestAccounts, func(raw []byte) ([]byte, bool) {
				r, err := snapshot.DecodeAccountRange(raw)
				check(t, err)
				if len(r.Accounts) < 3 || len(r.Proof) == 0 {
					return raw, false
				}
				lie(r)
				return encode(r), true
			})
		}
		for name, lie := range slotLies() {
			refused(name, statesync.RequestSlots, func(raw []byte) ([]byte, bool) {
				r, err := snapshot.DecodeSlotRange(raw)
				check(t, err)
				lie(r)
				return encode(r), true
			})
		}
		for name, lie := range codeLies() {
			refused(name, statesync.RequestCode, func(raw []byte) ([]byte, bool) {
				return lie(slices.Clone(raw)), len(raw) > 0
			})
		}
		for _, request := range []string{statesync.RequestSnapshots, statesync.RequestAccounts, statesync.RequestSlots} {
			refused("no RLP", request, func([]byte) ([]byte, bool) { return []byte("junk"), true })
		}
	})
}
