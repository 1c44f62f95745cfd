package statesync_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/snapshot"
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
	header := func(change func(*types.Header)) func(*statesync.OffersAnswer) {
		return func(a *statesync.OffersAnswer) {
			h, err := chain.DecodeHeader(a.Offers[0].Header)
			if err != nil {
				panic(err)
			}
			change(h)
			a.Offers[0].Header = chain.EncodeHeader(h)
		}
	}
	certificate := func(sign bool, change func(*consensus.Certificate)) func(*statesync.OffersAnswer) {
		return func(a *statesync.OffersAnswer) {
			c, err := consensus.DecodeCertificate(a.Offers[0].Finalization)
			if err != nil {
				panic(err)
			}
			change(c)
			for i := range c.Signatures {
				if sign {
					c.Signatures[i] = lighttest.Account(i).Sign(c.Digest(n.chain.Network()))
				}
			}
			a.Offers[0].Finalization = consensus.EncodeCertificate(c)
		}
	}
	return map[string]func(a *statesync.OffersAnswer){
		"too many":             func(a *statesync.OffersAnswer) { a.Offers = make([]statesync.Offer, statesync.MaxOffers+1) },
		"header: cut":          func(a *statesync.OffersAnswer) { a.Offers[0].Header = a.Offers[0].Header[:20] },
		"header: state root":   header(func(h *types.Header) { h.Root[0] ^= 1 }),
		"header: number":       header(func(h *types.Header) { h.Number.SetUint64(1 << 40) }),
		"header: view":         header(func(h *types.Header) { h.Extra[12] ^= 1 }),
		"headers: of another":  func(a *statesync.OffersAnswer) { a.Offers[0].Headers = [][]byte{a.Offers[0].Header} },
		"no finalization":      func(a *statesync.OffersAnswer) { a.Offers[0].Finalization = nil },
		"finalization: forged": certificate(true, func(*consensus.Certificate) {}),
		"finalization: block":  certificate(false, func(c *consensus.Certificate) { c.Block[0] ^= 1 }),
		"finalization: view":   certificate(false, func(c *consensus.Certificate) { c.View++ }),
		"finalization: kind":   certificate(false, func(c *consensus.Certificate) { c.Kind = consensus.Notarize }),
	}
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
		"address":          func(r *snapshot.AccountRange) { r.Accounts[1].Address[3] ^= 1 },
		"account: cut":     func(r *snapshot.AccountRange) { r.Accounts[1].Account = r.Accounts[1].Account[:9] },
		"account: long":    func(r *snapshot.AccountRange) { r.Accounts[1].Account = make([]byte, snapshot.MaxLeafBytes+1) },
		"account: balance": account(func(a *chain.Account) { a.Balance = a.Balance.Clone().AddUint64(a.Balance, 1) }),
		"account: nonce":   account(func(a *chain.Account) { a.Nonce++ }),
		"account: storage": account(func(a *chain.Account) { a.StorageRoot[0] ^= 1 }),
		"account: code":    account(func(a *chain.Account) { a.CodeHash[0] ^= 1 }),
		"first left out":   func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[1:] },
		"one left out":     func(r *snapshot.AccountRange) { r.Accounts = append(r.Accounts[:1:1], r.Accounts[2:]...) },
		"last left out":    func(r *snapshot.AccountRange) { r.Accounts = r.Accounts[:len(r.Accounts)-1] },
		"all left out":     func(r *snapshot.AccountRange) { r.Accounts = nil },
		"all and no proof": func(r *snapshot.AccountRange) { r.Accounts, r.Proof = nil, nil },
		"one twice":        func(r *snapshot.AccountRange) { r.Accounts[1] = r.Accounts[0] },
		"two swapped":      func(r *snapshot.AccountRange) { r.Accounts[0], r.Accounts[1] = r.Accounts[1], r.Accounts[0] },
		"no proof":         func(r *snapshot.AccountRange) { r.Proof = nil },
		"proof: node left out": func(r *snapshot.AccountRange) {
			r.Proof = r.Proof[1:]
		},
		"proof: bit":  func(r *snapshot.AccountRange) { r.Proof[len(r.Proof)-1][5] ^= 1 },
		"proof: long": func(r *snapshot.AccountRange) { r.Proof = make([][]byte, snapshot.MaxProofNodes+1) },
	}
}

// slotLies are lies in each field of an answer to "slots".
func slotLies() map[string]func(r *snapshot.SlotRange) {
	return map[string]func(r *snapshot.SlotRange){
		"slot":           func(r *snapshot.SlotRange) { r.Slots[1].Slot[3] ^= 1 },
		"value":          func(r *snapshot.SlotRange) { r.Slots[1].Value = []byte{7, 7, 7} },
		"value: none":    func(r *snapshot.SlotRange) { r.Slots[1].Value = nil },
		"value: long":    func(r *snapshot.SlotRange) { r.Slots[1].Value = make([]byte, 33) },
		"first left out": func(r *snapshot.SlotRange) { r.Slots = r.Slots[1:] },
		"last left out":  func(r *snapshot.SlotRange) { r.Slots = r.Slots[:len(r.Slots)-1] },
		"all left out":   func(r *snapshot.SlotRange) { r.Slots, r.Proof = nil, nil },
		"one more": func(r *snapshot.SlotRange) {
			r.Slots = append(r.Slots, snapshot.SlotLeaf{Slot: crypto.Hash{1}, Value: []byte{1}})
		},
		"proof: false": func(r *snapshot.SlotRange) { r.Proof = [][]byte{{0xc0}} },
	}
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
			var told atomic.Int32
			n.mu.Lock()
			clear(n.lied)
			n.answers["liar"] = func(asked string, _, honest []byte) ([]byte, error) {
				if asked != request {
					return honest, nil
				}
				said, is := lie(honest)
				if is {
					told.Add(1)
				}
				return said, nil
			}
			n.mu.Unlock()
			for range 50 { // until the liar is the one who is asked
				j := newJoiner(t, n)
				if _, err := statesync.Join(t.Context(), j.cfg); err != nil {
					t.Fatalf("%s: %s: %v", request, name, err)
				}
				j.same(at)
				if told.Load() > 0 {
					break
				}
			}
			if told.Load() == 0 || n.liar("liar") == nil || n.liar("honest") != nil {
				t.Errorf("%s: %s: told %d times; held to have lied: %v and %v", request, name, told.Load(), n.liar("liar"), n.liar("honest"))
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
		for _, request := range []string{statesync.RequestSnapshots, statesync.RequestAccounts, statesync.RequestSlots} {
			refused("no RLP", request, func([]byte) ([]byte, bool) { return []byte("junk"), true })
		}
	})
}
