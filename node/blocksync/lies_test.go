package blocksync_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/consensus"
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

// lies are what is told instead of an honest answer, by the field that it is about.
type lies[Answer any] map[string]func(*Answer)

// told puts lies about a value into an answer.
func told[Answer, V any](into lies[Answer], path string, of map[string]func(V) V, at func(*Answer) *V) {
	for name, lie := range of {
		into[path+name] = func(a *Answer) {
			v := at(a)
			*v = lie(*v)
		}
	}
}

// blockLies are lies in each field of an answer to "blocks".
func blockLies(c *lighttest.Chain) lies[blocksync.BlocksAnswer] {
	rules := &c.Spec.Rules
	out := lies[blocksync.BlocksAnswer]{
		"Blocks: first missing": func(a *blocksync.BlocksAnswer) { a.Blocks = a.Blocks[1:] },
		"Blocks: one missing":   func(a *blocksync.BlocksAnswer) { a.Blocks = append(a.Blocks[:1:1], a.Blocks[2:]...) },
		"Blocks: swapped":       func(a *blocksync.BlocksAnswer) { a.Blocks[0], a.Blocks[1] = a.Blocks[1], a.Blocks[0] },
		"Blocks: one twice":     func(a *blocksync.BlocksAnswer) { a.Blocks[1] = a.Blocks[0] },
		"Blocks: more than asked for": func(a *blocksync.BlocksAnswer) {
			for len(a.Blocks) <= 512 {
				a.Blocks = append(a.Blocks, a.Blocks...)
			}
		},
		"Blocks: too many":                    func(a *blocksync.BlocksAnswer) { a.Blocks = make([]blocksync.RangedBlock, blocksync.MaxBlocks+1) },
		"Blocks.Body: cut":                    func(a *blocksync.BlocksAnswer) { a.Blocks[1].Body = a.Blocks[1].Body[:50] },
		"Blocks.Body: empty":                  func(a *blocksync.BlocksAnswer) { a.Blocks[1].Body = nil },
		"Blocks.Body: too long":               func(a *blocksync.BlocksAnswer) { a.Blocks[1].Body = make([]byte, rules.BlockBytes+1) },
		"Blocks.Body.Transactions: none":      func(a *blocksync.BlocksAnswer) { strip(a, rules) },
		"Blocks.Body.Transactions: signature": func(a *blocksync.BlocksAnswer) { b := a.Blocks[1].Body; b[len(b)-5] ^= 1 },
		"Blocks.Finalization: of another": func(a *blocksync.BlocksAnswer) {
			at := certified(a)
			for j := range a.Blocks[at+1:] {
				if other := a.Blocks[at+1+j].Finalization; len(other) > 0 {
					a.Blocks[at].Finalization = other
					return
				}
			}
		},
		"Headers: beside a finalization": func(a *blocksync.BlocksAnswer) {
			a.Blocks = a.Blocks[:certified(a)+1]
			a.Finalization, a.Headers = a.Blocks[certified(a)].Finalization, [][]byte{{0xc0}}
		},
		"Finalization: nothing proves the last": func(a *blocksync.BlocksAnswer) {
			a.Blocks[len(a.Blocks)-1].Finalization, a.Headers, a.Finalization = nil, nil, nil
		},
	}
	for name, change := range lighttest.HeaderChanges() {
		out["Blocks.Body"+name] = func(a *blocksync.BlocksAnswer) {
			i := len(a.Blocks) / 2
			a.Blocks[i].Body = reblock(a.Blocks[i].Body, rules, change)
		}
	}
	told(out, "Blocks.Finalization", c.FinalizationLies(), func(a *blocksync.BlocksAnswer) *[]byte { return &a.Blocks[certified(a)].Finalization })
	return out
}

// body is what the bytes of a block hold.
type body struct {
	types.Header
	Transactions [][]byte
}

// certified is the place of a block in an answer that has a finalization of its
// own, above the first.
func certified(a *blocksync.BlocksAnswer) int {
	return 1 + slices.IndexFunc(a.Blocks[1:], func(b blocksync.RangedBlock) bool { return len(b.Finalization) > 0 })
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
func proofLies(c *lighttest.Chain) lies[blocksync.BlocksAnswer] {
	out := lies[blocksync.BlocksAnswer]{
		"Headers: missing":      func(a *blocksync.BlocksAnswer) { a.Headers = nil },
		"Headers: one left out": func(a *blocksync.BlocksAnswer) { a.Headers = a.Headers[1:] },
		"Headers: one too many": func(a *blocksync.BlocksAnswer) { a.Headers = append(a.Headers, a.Headers[0]) },
		"Headers: over limit":   func(a *blocksync.BlocksAnswer) { a.Headers = make([][]byte, light.MaxDescendants+1) },
		"Finalization: missing": func(a *blocksync.BlocksAnswer) { a.Finalization = nil },
	}
	told(out, "Headers", lighttest.HeaderLies(), func(a *blocksync.BlocksAnswer) *[]byte { return &a.Headers[0] })
	told(out, "Finalization", c.FinalizationLies(), func(a *blocksync.BlocksAnswer) *[]byte { return &a.Finalization })
	return out
}

// epochLies are lies in each field of an answer to "epochs".
func epochLies(c *lighttest.Chain) lies[blocksync.EpochsAnswer] {
	out := lies[blocksync.EpochsAnswer]{
		"Steps: first missing":       func(a *blocksync.EpochsAnswer) { a.Steps = a.Steps[1:] },
		"Steps: swapped":             func(a *blocksync.EpochsAnswer) { a.Steps[0], a.Steps[1] = a.Steps[1], a.Steps[0] },
		"Steps: more than asked for": func(a *blocksync.EpochsAnswer) { a.Steps = append(a.Steps, a.Steps...) },
		"Steps: over the limit":      func(a *blocksync.EpochsAnswer) { a.Steps = make([]light.Step, blocksync.MaxSteps+1) },
		"Steps.Finalization: none":   func(a *blocksync.EpochsAnswer) { a.Steps[0].Finalization = nil },
		"Steps.Finalization: of the other epoch": func(a *blocksync.EpochsAnswer) {
			a.Steps[0].Finalization = a.Steps[1].Finalization
		},
	}
	told(out, "Steps.Header", lighttest.HeaderLies(), func(a *blocksync.EpochsAnswer) *[]byte { return &a.Steps[0].Header })
	told(out, "Steps.Finalization", c.FinalizationLies(), func(a *blocksync.EpochsAnswer) *[]byte { return &a.Steps[0].Finalization })
	told(out, "Steps.Next", lighttest.ValidatorLies(), func(a *blocksync.EpochsAnswer) *[]genesis.Validator { return &a.Steps[0].Next })
	return out
}

// TestEveryField: there is a lie for every field of every answer, and of what its
// bytes hold.
func TestEveryField(t *testing.T) {
	t.Parallel()
	c := lighttest.New(t, 4)
	blocks := blockLies(c)
	for name, lie := range proofLies(c) {
		blocks[name] = lie
	}
	lighttest.Covered(t, blocksync.BlocksAnswer{}, map[string]any{
		"Blocks.Body": body{}, "Blocks.Finalization": consensus.Certificate{}, "Headers": types.Header{}, "Finalization": consensus.Certificate{},
	}, blocks)
	lighttest.Covered(t, blocksync.EpochsAnswer{}, map[string]any{
		"Steps.Header": types.Header{}, "Steps.Finalization": consensus.Certificate{},
	}, epochLies(c))
}

// TestLies: whatever a peer says wrong in an answer to "blocks" or "epochs", it
// is found out, none of it is stored, and the join ends with what the honest
// peer has.
func TestLies(t *testing.T) {
	t.Parallel()
	c := grown(t, 18)
	refused := func(t *testing.T, name, request string, lie func(raw []byte) ([]byte, bool)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(c.Ledger, "liar", "honest")
			told := w.Lies("liar", request, lie)
			j := newJoiner(t, c, w, nil)
			if err := j.join(t.Context(), c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			j.same(c)
			if lied := w.Liars(); told.Load() == 0 || lied["liar"] == nil || lied["honest"] != nil {
				t.Errorf("%s: told %d times; held to have lied: %v", name, told.Load(), lied)
			}
		})
	}
	for name, lie := range blockLies(c) {
		refused(t, "blocks: "+name, blocksync.RequestBlocks, func(raw []byte) ([]byte, bool) {
			a, err := blocksync.DecodeBlocksAnswer(raw, &c.Spec.Rules)
			check(t, err)
			if len(a.Blocks) < 6 || certified(a) < 1 {
				return raw, false
			}
			lie(a)
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
		w := newWorld(c.Ledger, "liar", "honest")
		w.Answers("liar", func(_ context.Context, name string, _, honest []byte) ([]byte, error) {
			if name != blocksync.RequestBlocks {
				return honest, nil
			}
			a, err := blocksync.DecodeBlocksAnswer(honest, &c.Spec.Rules)
			if err != nil || len(a.Blocks) < 2 {
				return honest, err
			}
			a.Blocks[0].Body = make([]byte, 2<<20)
			return fetch.Encode(a), nil
		})
		j := newJoiner(t, c, w, nil)
		check(t, j.join(t.Context(), c))
		j.same(c)
		if err := w.Liars()["liar"]; !errors.Is(err, fetch.ErrUnasked) {
			t.Errorf("lied: %v", err)
		}
	})
}
