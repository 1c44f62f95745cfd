package blocksync_test

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/light/lighttest"
	"cairn/node/blocksync"
	"cairn/node/fetch"
)

// reblock changes the header of a block and answers its RLP.
func reblock(raw []byte, rules *genesis.Rules, change func(*types.Header)) []byte {
	b, err := chain.DecodeBlock(raw, rules)
	if err != nil {
		panic(err)
	}
	h := types.CopyHeader(b.Header())
	change(h)
	return chain.EncodeBlock(types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: transfers(b)}))
}

// recertify changes a certificate and signs it again with keys that are not the
// validators'.
func recertify(c *lighttest.Chain, raw []byte, change func(*consensus.Certificate), sign bool) []byte {
	cert, err := consensus.DecodeCertificate(raw)
	if err != nil {
		panic(err)
	}
	change(cert)
	if sign {
		for i := range cert.Signatures {
			cert.Signatures[i] = lighttest.Account(i).Sign(cert.Digest(c.Network()))
		}
	}
	return consensus.EncodeCertificate(cert)
}

// blockLies are lies in each field of an answer to "blocks". certified is the
// place of a block in the answer that has a finalization of its own.
func blockLies(c *lighttest.Chain) map[string]func(a *blocksync.BlocksAnswer, certified int) {
	rules := &c.Spec.Rules
	header := func(change func(*types.Header)) func(*blocksync.BlocksAnswer, int) {
		return func(a *blocksync.BlocksAnswer, _ int) {
			i := len(a.Blocks) / 2
			a.Blocks[i].Body = reblock(a.Blocks[i].Body, rules, change)
		}
	}
	certificate := func(sign bool, change func(*consensus.Certificate)) func(*blocksync.BlocksAnswer, int) {
		return func(a *blocksync.BlocksAnswer, i int) {
			a.Blocks[i].Finalization = recertify(c, a.Blocks[i].Finalization, change, sign)
		}
	}
	return map[string]func(a *blocksync.BlocksAnswer, certified int){
		"first block missing": func(a *blocksync.BlocksAnswer, _ int) { a.Blocks = a.Blocks[1:] },
		"a block missing": func(a *blocksync.BlocksAnswer, _ int) {
			a.Blocks = append(a.Blocks[:1:1], a.Blocks[2:]...)
		},
		"blocks swapped": func(a *blocksync.BlocksAnswer, _ int) { a.Blocks[0], a.Blocks[1] = a.Blocks[1], a.Blocks[0] },
		"a block twice":  func(a *blocksync.BlocksAnswer, _ int) { a.Blocks[1] = a.Blocks[0] },
		"more blocks than asked for": func(a *blocksync.BlocksAnswer, _ int) {
			for len(a.Blocks) <= 512 {
				a.Blocks = append(a.Blocks, a.Blocks...)
			}
		},
		"body: cut":              func(a *blocksync.BlocksAnswer, _ int) { a.Blocks[1].Body = a.Blocks[1].Body[:50] },
		"body: empty":            func(a *blocksync.BlocksAnswer, _ int) { a.Blocks[1].Body = nil },
		"body: no transactions":  func(a *blocksync.BlocksAnswer, _ int) { strip(a, rules) },
		"body: bit of signature": func(a *blocksync.BlocksAnswer, _ int) { b := a.Blocks[1].Body; b[len(b)-5] ^= 1 },
		"header: parent hash":    header(func(h *types.Header) { h.ParentHash[0] ^= 1 }),
		"header: proposer":       header(func(h *types.Header) { h.Coinbase[0] ^= 1 }),
		"header: state root":     header(func(h *types.Header) { h.Root[0] ^= 1 }),
		"header: receipts root":  header(func(h *types.Header) { h.ReceiptHash[0] ^= 1 }),
		"header: bloom":          header(func(h *types.Header) { h.Bloom[0] ^= 1 }),
		"header: number":         header(func(h *types.Header) { h.Number = new(big.Int).Add(h.Number, big.NewInt(1)) }),
		"header: gas limit":      header(func(h *types.Header) { h.GasLimit++ }),
		"header: gas used":       header(func(h *types.Header) { h.GasUsed++ }),
		"header: time":           header(func(h *types.Header) { h.Time++ }),
		"header: epoch":          header(func(h *types.Header) { h.Extra = slices.Clone(h.Extra); h.Extra[4] ^= 1 }),
		"header: view":           header(func(h *types.Header) { h.Extra = slices.Clone(h.Extra); h.Extra[12] ^= 1 }),
		"header: next set":       header(func(h *types.Header) { h.MixDigest[0] ^= 1 }),
		"header: base fee":       header(func(h *types.Header) { h.BaseFee = new(big.Int).Add(h.BaseFee, big.NewInt(1)) }),
		"finalization: cut": func(a *blocksync.BlocksAnswer, i int) {
			a.Blocks[i].Finalization = a.Blocks[i].Finalization[:40]
		},
		"finalization: oversize": func(a *blocksync.BlocksAnswer, i int) {
			a.Blocks[i].Finalization = make([]byte, consensus.MaxCertificateBytes+1)
		},
		"finalization: kind":        certificate(false, func(c *consensus.Certificate) { c.Kind = consensus.Notarize }),
		"finalization: epoch":       certificate(false, func(c *consensus.Certificate) { c.Epoch++ }),
		"finalization: view":        certificate(false, func(c *consensus.Certificate) { c.View++ }),
		"finalization: parent view": certificate(false, func(c *consensus.Certificate) { c.ParentView++ }),
		"finalization: block":       certificate(false, func(c *consensus.Certificate) { c.Block[0] ^= 1 }),
		"finalization: signature":   certificate(false, func(c *consensus.Certificate) { c.Signatures[0][5] ^= 1 }),
		"finalization: forged":      certificate(true, func(*consensus.Certificate) {}),
		"finalization: too few": certificate(false, func(c *consensus.Certificate) {
			c.Signers = consensus.NewBitmap(4)
			c.Signers.Set(0)
			c.Signatures = c.Signatures[:1]
		}),
		"finalization of another block": func(a *blocksync.BlocksAnswer, i int) {
			for j := range a.Blocks {
				if j != i && len(a.Blocks[j].Finalization) > 0 {
					a.Blocks[i].Finalization = a.Blocks[j].Finalization
					return
				}
			}
		},
		"nothing proves the last": func(a *blocksync.BlocksAnswer, _ int) {
			a.Blocks[len(a.Blocks)-1].Finalization, a.Headers, a.Finalization = nil, nil, nil
		},
		"a proof beside a finalization": func(a *blocksync.BlocksAnswer, i int) {
			a.Blocks = a.Blocks[:i+1]
			a.Finalization, a.Headers = a.Blocks[i].Finalization, [][]byte{{0xc0}}
		},
	}
}

func strip(a *blocksync.BlocksAnswer, rules *genesis.Rules) {
	for i := range a.Blocks {
		b, err := chain.DecodeBlock(a.Blocks[i].Body, rules)
		if err != nil {
			panic(err)
		}
		a.Blocks[i].Body = chain.EncodeBlock(types.NewBlockWithHeader(b.Header()))
	}
}

// proofLies are lies in what proves a last block without a finalization.
func proofLies(c *lighttest.Chain) map[string]func(a *blocksync.BlocksAnswer) {
	return map[string]func(a *blocksync.BlocksAnswer){
		"headers: missing":       func(a *blocksync.BlocksAnswer) { a.Headers = nil },
		"headers: one left out":  func(a *blocksync.BlocksAnswer) { a.Headers = a.Headers[1:] },
		"headers: cut":           func(a *blocksync.BlocksAnswer) { a.Headers[0] = a.Headers[0][:30] },
		"headers: bit":           func(a *blocksync.BlocksAnswer) { a.Headers[0][10] ^= 1 },
		"headers: one too many":  func(a *blocksync.BlocksAnswer) { a.Headers = append(a.Headers, a.Headers[0]) },
		"headers: over limit":    func(a *blocksync.BlocksAnswer) { a.Headers = make([][]byte, light.MaxDescendants+1) },
		"finalization: missing":  func(a *blocksync.BlocksAnswer) { a.Finalization = nil },
		"finalization: cut":      func(a *blocksync.BlocksAnswer) { a.Finalization = a.Finalization[:30] },
		"finalization: oversize": func(a *blocksync.BlocksAnswer) { a.Finalization = make([]byte, consensus.MaxCertificateBytes+1) },
		"finalization: forged": func(a *blocksync.BlocksAnswer) {
			a.Finalization = recertify(c, a.Finalization, func(*consensus.Certificate) {}, true)
		},
		"finalization: block": func(a *blocksync.BlocksAnswer) {
			a.Finalization = recertify(c, a.Finalization, func(c *consensus.Certificate) { c.Block[0] ^= 1 }, false)
		},
	}
}

// epochLies are lies in each field of an answer to "epochs".
func epochLies(c *lighttest.Chain) map[string]func(a *blocksync.EpochsAnswer) {
	header := func(change func(*types.Header)) func(*blocksync.EpochsAnswer) {
		return func(a *blocksync.EpochsAnswer) {
			h, err := chain.DecodeHeader(a.Steps[0].Header)
			if err != nil {
				panic(err)
			}
			change(h)
			a.Steps[0].Header = chain.EncodeHeader(h)
		}
	}
	set := func(change func([]genesis.Validator) []genesis.Validator) func(*blocksync.EpochsAnswer) {
		return func(a *blocksync.EpochsAnswer) { a.Steps[0].Next = change(slices.Clone(a.Steps[0].Next)) }
	}
	return map[string]func(a *blocksync.EpochsAnswer){
		"first epoch missing": func(a *blocksync.EpochsAnswer) { a.Steps = a.Steps[1:] },
		"epochs swapped":      func(a *blocksync.EpochsAnswer) { a.Steps[0], a.Steps[1] = a.Steps[1], a.Steps[0] },
		"more than asked for": func(a *blocksync.EpochsAnswer) { a.Steps = append(a.Steps, a.Steps...) },
		"over the limit":      func(a *blocksync.EpochsAnswer) { a.Steps = make([]light.Step, blocksync.MaxSteps+1) },
		"header: cut":         func(a *blocksync.EpochsAnswer) { a.Steps[0].Header = a.Steps[0].Header[:40] },
		"header: number":      header(func(h *types.Header) { h.Number = big.NewInt(2) }),
		"header: next set":    header(func(h *types.Header) { h.MixDigest[3] ^= 1 }),
		"header: epoch":       header(func(h *types.Header) { h.Extra[4] ^= 1 }),
		"header: root":        header(func(h *types.Header) { h.Root[3] ^= 1 }),
		"no finalization":     func(a *blocksync.EpochsAnswer) { a.Steps[0].Finalization = nil },
		"finalization: forged": func(a *blocksync.EpochsAnswer) {
			a.Steps[0].Finalization = recertify(c, a.Steps[0].Finalization, func(*consensus.Certificate) {}, true)
		},
		"finalization: of the other epoch": func(a *blocksync.EpochsAnswer) { a.Steps[0].Finalization = a.Steps[1].Finalization },
		"set: one missing":                 set(func(v []genesis.Validator) []genesis.Validator { return v[1:] }),
		"set: one more":                    set(func(v []genesis.Validator) []genesis.Validator { return append(v, lighttest.Validator(9)) }),
		"set: none":                        set(func([]genesis.Validator) []genesis.Validator { return nil }),
		"set: address": set(func(v []genesis.Validator) []genesis.Validator {
			v[0].Address = crypto.Address{1}
			return v
		}),
		"set: peer id": set(func(v []genesis.Validator) []genesis.Validator {
			v[0].PeerID = lighttest.Validator(9).PeerID
			return v
		}),
		"set: name": set(func(v []genesis.Validator) []genesis.Validator { v[0].Name += "x"; return v }),
		"set: name too long": set(func(v []genesis.Validator) []genesis.Validator {
			v[0].Name = string(make([]byte, light.MaxTextBytes+1))
			return v
		}),
	}
}

// TestLies: whatever a peer says wrong in an answer to "blocks" or "epochs", it
// is found out, none of it is stored, and the join ends with what the honest
// peer has.
func TestLies(t *testing.T) {
	t.Parallel()
	c := grown(t, 40)
	refused := func(t *testing.T, name, request string, lie func(raw []byte) ([]byte, bool)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(c, "liar", "honest")
			var told atomic.Int32
			w.answers["liar"] = func(_ context.Context, asked string, _, honest []byte) ([]byte, error) {
				if asked != request {
					return honest, nil
				}
				said, is := lie(honest)
				if is {
					told.Add(1)
				}
				return said, nil
			}
			j := newJoiner(t, c, w, nil)
			if err := j.join(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			j.same(c)
			if told.Load() == 0 || w.lied["liar"] == nil || w.lied["honest"] != nil {
				t.Errorf("%s: told %d times; held to have lied: %v", name, told.Load(), w.lied)
			}
		})
	}
	for name, lie := range blockLies(c) {
		refused(t, "blocks: "+name, blocksync.RequestBlocks, func(raw []byte) ([]byte, bool) {
			a, err := blocksync.DecodeBlocksAnswer(raw, &c.Spec.Rules)
			check(t, err)
			certified := slices.IndexFunc(a.Blocks, func(b blocksync.RangedBlock) bool { return len(b.Finalization) > 0 })
			if len(a.Blocks) < 6 || certified < 0 {
				return raw, false
			}
			lie(a, certified)
			return fetch.Encode(a), true
		})
	}
	for name, lie := range epochLies(c) {
		refused(t, "epochs: "+name, blocksync.RequestEpochs, func(raw []byte) ([]byte, bool) {
			a, err := blocksync.DecodeEpochsAnswer(raw)
			check(t, err)
			if len(a.Steps) < 2 {
				return raw, false
			}
			lie(a)
			return fetch.Encode(a), true
		})
	}
	refused(t, "no RLP", blocksync.RequestBlocks, func([]byte) ([]byte, bool) { return []byte("junk"), true })
	refused(t, "no bytes", blocksync.RequestEpochs, func([]byte) ([]byte, bool) { return nil, true })
}

// TestProofLies: a range that ends with a block without a finalization of its
// own is final by its descendants' headers, or not at all.
func TestProofLies(t *testing.T) {
	t.Parallel()
	c := grown(t, 20)
	server := blocksync.Server{Ledger: c.Ledger}
	start, err := light.FromGenesis(c.Spec)
	check(t, err)
	sets := blocksync.NewSets(start, nil)
	fresh := func() *blocksync.BlocksAnswer {
		raw, err := server.Blocks(t.Context(), fetch.Encode(&blocksync.BlocksRequest{From: 1, Count: 5, Bytes: 1 << 20}))
		check(t, err)
		a, err := blocksync.DecodeBlocksAnswer(raw, &c.Spec.Rules)
		check(t, err)
		if len(a.Blocks) != 5 || len(a.Blocks[4].Finalization) != 0 || len(a.Headers) != 2 {
			t.Fatalf("%d blocks and %d headers: block 5 is to be final through block 7", len(a.Blocks), len(a.Headers))
		}
		return a
	}
	if _, err := sets.Check(1, 5, fresh(), &c.Spec.Rules); err != nil {
		t.Fatalf("the honest answer: %v", err)
	}
	for name, lie := range proofLies(c) {
		a := fresh()
		lie(a)
		raw, err := rlp.EncodeToBytes(a)
		check(t, err)
		if a, err = blocksync.DecodeBlocksAnswer(raw, &c.Spec.Rules); err != nil {
			continue // found by its size alone
		}
		if _, err := sets.Check(1, 5, a, &c.Spec.Rules); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// TestTooMuch: an answer goes on after the bytes that were asked for with no
// further block.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := grown(t, 12)
		w := newWorld(c, "liar", "honest")
		w.answers["liar"] = func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if name != blocksync.RequestBlocks {
				return honest, nil
			}
			a, err := blocksync.DecodeBlocksAnswer(honest, &c.Spec.Rules)
			if err != nil || len(a.Blocks) < 2 {
				return honest, err
			}
			a.Blocks[0].Body = make([]byte, 2<<20)
			return fetch.Encode(a), nil
		}
		j := newJoiner(t, c, w, nil)
		check(t, j.join(t.Context(), c))
		j.same(c)
		if err := w.lied["liar"]; !errors.Is(err, fetch.ErrUnasked) {
			t.Errorf("lied: %v", err)
		}
	})
}
