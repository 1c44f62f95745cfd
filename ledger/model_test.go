package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/internal/randtest"
	"cairn/ledger/chain"
)

// model is what accounts ought to hold, by arithmetic of its own.
type model map[crypto.Address]modelAccount

type modelAccount struct {
	nonce   uint64
	balance *big.Int
}

func (m model) clone() model {
	c := make(model, len(m))
	for a, acc := range m {
		c[a] = acc
	}
	return c
}

func (m model) add(a crypto.Address, amount *big.Int) {
	acc, ok := m[a]
	if !ok {
		acc.balance = new(big.Int)
	}
	acc.balance = new(big.Int).Add(acc.balance, amount)
	if acc.nonce == 0 && acc.balance.Sign() == 0 && a != chain.RegistryAddress {
		delete(m, a)
		return
	}
	m[a] = acc
}

// apply moves the money of a block of 21,000-gas transfers.
func (m model) apply(b *types.Block) {
	for _, tx := range b.Transactions() {
		from, err := chain.Sender(chain.NewSigner(testChainID), tx)
		if err != nil {
			panic(err)
		}
		price := new(big.Int).Add(b.BaseFee(), tx.GasTipCap())
		if price.Cmp(tx.GasFeeCap()) > 0 {
			price.Set(tx.GasFeeCap())
		}
		gas := big.NewInt(21_000)
		fee := new(big.Int).Mul(price, gas)
		tip := new(big.Int).Mul(new(big.Int).Sub(price, b.BaseFee()), gas)
		acc := m[from]
		acc.nonce++
		m[from] = acc
		m.add(from, new(big.Int).Neg(fee))
		m.add(b.Coinbase(), tip)
		if *tx.To() != chain.RegistryAddress {
			m.add(from, new(big.Int).Neg(tx.Value()))
			m.add(*tx.To(), tx.Value())
		}
	}
}

func (m model) check(read func(crypto.Address) (*chain.Account, error), all []crypto.Address) error {
	for _, a := range all {
		got, err := read(a)
		if err != nil {
			return fmt.Errorf("account %s: %w", a, err)
		}
		want, ok := m[a]
		if (got != nil) != ok || ok && (got.Nonce != want.nonce || got.Balance.ToBig().Cmp(want.balance) != 0) {
			return fmt.Errorf("account %s: %+v, want %+v", a, got, want)
		}
	}
	return nil
}

// history is a random chain with what ought to be true of it.
type history struct {
	*node
	r        *rand.Rand
	accounts []crypto.Address
	keys     []*crypto.PrivateKey
	blocks   []*types.Block // final
	receipts []types.Receipts
	states   []model // after each final block
	own      []bool  // committed with its own certificate
	open     []fork  // unfinalized
}

type fork struct {
	block *types.Block
	state model
}

func newHistory(n *node, r *rand.Rand, accounts int) *history {
	h := &history{node: n, r: r}
	state := model{chain.RegistryAddress: {balance: new(big.Int)}}
	for i := range accounts {
		h.keys = append(h.keys, key(i))
		h.accounts = append(h.accounts, key(i).Address())
		state[key(i).Address()] = modelAccount{balance: coins(1000).ToBig()}
	}
	for i := range accounts {
		h.accounts = append(h.accounts, randomAddress(i))
	}
	h.accounts = append(h.accounts, proposer, chain.RegistryAddress)
	h.blocks, h.receipts = []*types.Block{n.l.Genesis()}, []types.Receipts{{}}
	h.states, h.own = []model{state}, []bool{false}
	return h
}

// grow builds a block on the head or on a random unfinalized block.
func (h *history) grow() {
	h.t.Helper()
	parent := fork{h.blocks[len(h.blocks)-1], h.states[len(h.states)-1]}
	if len(h.open) > 0 && h.r.IntN(4) > 0 {
		parent = h.open[h.r.IntN(len(h.open))]
	}
	state := parent.state.clone()
	nonces := map[int]uint64{}
	var txs []*types.Transaction
	for range h.r.IntN(30) {
		i := h.r.IntN(len(h.keys))
		nonce, ok := nonces[i]
		if !ok {
			nonce = state[h.keys[i].Address()].nonce
		}
		nonces[i] = nonce + 1
		to, value := h.accounts[h.r.IntN(len(h.accounts))], h.r.Uint64N(1e15)
		if h.r.IntN(4) == 0 {
			value = 0
		}
		txs = append(txs, transfer(h.keys[i], nonce, to, value, h.r.Uint64N(3)))
	}
	b := h.build(parent.block.Hash(), txs...)
	state.apply(b)
	h.open = append(h.open, fork{b, state})
	reader, err := h.l.State(b.Hash())
	if err != nil {
		h.t.Fatal(err)
	}
	if err := state.check(reader.Account, h.accounts); err != nil {
		h.t.Fatalf("unfinalized block %d: %v", b.NumberU64(), err)
	}
	included := h.l.Included(b.Hash())
	for _, tx := range txs {
		if !included(tx.Hash()) {
			h.t.Fatalf("transaction of block %d is not told to be in it", b.NumberU64())
		}
	}
}

// settle finalizes a random unfinalized block.
func (h *history) settle() {
	h.t.Helper()
	if len(h.open) == 0 {
		return
	}
	f := h.open[h.r.IntN(len(h.open))]
	byHash := map[crypto.Hash]fork{}
	for _, o := range h.open {
		byHash[o.block.Hash()] = o
	}
	finals := h.finalize(f.block)
	var path []fork
	for at, ok := f, true; ok; at, ok = byHash[at.block.ParentHash()] {
		path = append(path, at)
	}
	slices.Reverse(path)
	if len(finals) != len(path) {
		h.t.Fatalf("%d blocks became final, want %d", len(finals), len(path))
	}
	for i, o := range path {
		if finals[i].Block.Hash() != o.block.Hash() || (finals[i].Certificate != nil) != (i == len(path)-1) {
			h.t.Fatalf("final block %d of %d is %s", i, len(path), finals[i].Block.Hash())
		}
		h.blocks, h.states = append(h.blocks, o.block), append(h.states, o.state)
		h.receipts, h.own = append(h.receipts, finals[i].Receipts), append(h.own, i == len(path)-1)
	}
	h.dropDead()
}

// dropDead keeps the unfinalized blocks that descend from the head and checks
// that the ledger did the same.
func (h *history) dropDead() {
	h.t.Helper()
	alive := map[crypto.Hash]bool{h.blocks[len(h.blocks)-1].Hash(): true}
	var open []fork
	for _, o := range h.open { // parents come first
		hash := o.block.Hash()
		if alive[o.block.ParentHash()] {
			alive[hash] = true
			open = append(open, o)
			continue
		}
		if final := h.blocks[min(int(o.block.NumberU64()), len(h.blocks)-1)].Hash() == hash; final {
			continue
		}
		if _, err := h.l.State(hash); !errors.Is(err, ErrMissingParent) {
			h.t.Fatalf("dead block %d is held: %v", o.block.NumberU64(), err)
		}
		if o.block.NumberU64() < uint64(len(h.blocks)) {
			if _, err := h.l.BodyBytes(hash); !errors.Is(err, ErrNotFound) {
				h.t.Fatalf("body of dead block %d is held: %v", o.block.NumberU64(), err)
			}
		}
	}
	h.open = open
	if h.l.Layers() != len(open) {
		h.t.Fatalf("%d layers, want %d", h.l.Layers(), len(open))
	}
}

// restart loses the layers, by a clean stop or by a power loss, and executes the
// unfinalized blocks whose bodies are still there again.
func (h *history) restart() {
	h.t.Helper()
	clean := h.r.IntN(2) == 0
	if clean {
		h.reopen()
	} else {
		h.crash(h.r)
	}
	var open []fork
	for _, o := range h.open {
		raw, err := h.l.BodyBytes(o.block.Hash())
		if errors.Is(err, ErrNotFound) && !clean {
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		b, err := chain.DecodeBlock(raw, &h.spec.Rules)
		if err == nil {
			err = h.l.Execute(b)
		}
		if errors.Is(err, ErrMissingParent) && !clean {
			continue // its parent's body was lost
		}
		if err != nil {
			h.t.Fatalf("execute block %d again: %v", o.block.NumberU64(), err)
		}
		open = append(open, o)
	}
	h.open = open
}

// checkAll compares everything that can be read of the final chain.
func (h *history) checkAll() {
	h.t.Helper()
	head := len(h.blocks) - 1
	if info := h.l.HeadInfo(); info.Height != uint64(head) || info.Hash != h.blocks[head].Hash() {
		h.t.Fatalf("head %+v, want %d", info, head)
	}
	if err := h.states[head].check(h.l.Account, h.accounts); err != nil {
		h.t.Fatalf("head %d: %v", head, err)
	}
	for height, b := range h.blocks {
		at := uint64(height)
		read := func(a crypto.Address) (*chain.Account, error) { return h.l.AccountAt(a, at) }
		if err := h.states[height].check(read, h.accounts); err != nil {
			h.t.Fatalf("height %d of %d: %v", height, head, err)
		}
		h.checkBlock(b)
		cert, err := h.l.Certificate(at)
		if err != nil || (cert != nil) != h.own[height] || cert != nil && !bytes.Equal(cert, certificate(b)) {
			h.t.Fatalf("certificate of %d: %q %v", height, cert, err)
		}
		if height > 0 {
			above, err := h.l.BlockByHeight(at + uint64(slices.Index(h.own[height:], true)))
			if err != nil {
				h.t.Fatal(err)
			}
			if cert, h2, err := h.l.CertificateAtOrAbove(at); err != nil || h2 != above.NumberU64() || !bytes.Equal(cert, certificate(above)) {
				h.t.Fatalf("certificate at or above %d: %q at %d %v", height, cert, h2, err)
			}
		}
	}
}

func (h *history) checkBlock(b *types.Block) {
	h.t.Helper()
	height := b.NumberU64()
	got, err := h.l.BlockByHash(b.Hash())
	if err != nil || got.Hash() != b.Hash() || len(got.Transactions()) != len(b.Transactions()) {
		h.t.Fatalf("block %d: %v", height, err)
	}
	header, err := h.l.HeaderByHash(b.Hash())
	if err != nil || header.Hash() != b.Hash() {
		h.t.Fatalf("header %d: %v", height, err)
	}
	receipts, err := h.l.Receipts(height)
	if err != nil {
		h.t.Fatal(err)
	}
	if want, got := fmt.Sprintf("%+v", derefs(h.receipts[height])), fmt.Sprintf("%+v", derefs(receipts)); got != want {
		h.t.Fatalf("receipts of %d:\n%s\nwant\n%s", height, got, want)
	}
	for i, tx := range b.Transactions() {
		found, hash, at, index, err := h.l.Transaction(tx.Hash())
		if err != nil || found.Hash() != tx.Hash() || hash != b.Hash() || at != height || index != uint64(i) {
			h.t.Fatalf("transaction %d of block %d: %d %d %v", i, height, at, index, err)
		}
		h.checkReceipt(tx, height, index, receipts[i])
	}
	h.l.blocks = newBlockCache(h.l.blocks.limit) // now each from the store, alone
	for i, tx := range b.Transactions() {
		found, hash, at, index, err := h.l.Transaction(tx.Hash())
		if err != nil || found.Hash() != tx.Hash() || hash != b.Hash() || at != height || index != uint64(i) {
			h.t.Fatalf("transaction %d of block %d, uncached: %d %d %v", i, height, at, index, err)
		}
		h.checkReceipt(tx, height, index, receipts[i])
	}
	if _, _, err := h.l.TransactionAt(height, uint64(len(b.Transactions()))); !errors.Is(err, ErrNotFound) {
		h.t.Fatalf("a transaction beyond the last of block %d: %v", height, err)
	}
}

func (h *history) checkReceipt(tx *types.Transaction, height, index uint64, want *types.Receipt) {
	h.t.Helper()
	got, err := h.l.Receipt(tx, height, index)
	if err != nil || !reflect.DeepEqual(got, want) {
		h.t.Fatalf("receipt %d of block %d: %+v, want %+v, %v", index, height, got, want, err)
	}
}

func derefs(receipts types.Receipts) []types.Receipt {
	out := make([]types.Receipt, len(receipts))
	for i, r := range receipts {
		out[i] = *r
	}
	return out
}

// checkProofs lets go-ethereum's trie check proofs of random accounts at every
// provable height, and counts them.
func (h *history) checkProofs() (provable int) {
	h.t.Helper()
	for height, b := range h.blocks {
		for range 3 {
			a := h.accounts[h.r.IntN(len(h.accounts))]
			p, err := h.l.Proof(a, nil, uint64(height))
			if errors.Is(err, ErrProofPruned) && uint64(height) < h.l.Provable() {
				continue
			}
			if err != nil {
				h.t.Fatal(err)
			}
			provable++
			h.checkProof(p, b.Root(), h.states[height])
		}
	}
	return provable
}

func (h *history) checkProof(p *AccountProof, root crypto.Hash, state model) {
	h.t.Helper()
	if err := state.check(func(crypto.Address) (*chain.Account, error) { return p.Account, nil }, []crypto.Address{p.Address}); err != nil {
		h.t.Fatalf("proof at height %d: %v", p.Height, err)
	}
	leaf := verify(h.t, root, crypto.Keccak256(p.Address[:]), p.Proof)
	if p.Account == nil {
		if leaf != nil {
			h.t.Fatalf("absent account %s has a leaf", p.Address)
		}
		return
	}
	var sa types.StateAccount
	if err := rlp.DecodeBytes(leaf, &sa); err != nil || sa.Nonce != p.Account.Nonce || sa.Balance.Cmp(p.Account.Balance) != 0 ||
		sa.Root != p.Account.StorageRoot || !bytes.Equal(sa.CodeHash, p.Account.CodeHash[:]) {
		h.t.Fatalf("account %s is proven as %+v: %v", p.Address, sa, err)
	}
}

func verify(t testing.TB, root, key crypto.Hash, proof [][]byte) []byte {
	t.Helper()
	db := memorydb.New()
	for _, blob := range proof {
		h := crypto.Keccak256(blob)
		if err := db.Put(h[:], blob); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := gethtrie.VerifyProof(root, key[:], db)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// TestRandomChain builds a random tree of blocks, finalizes random branches,
// stops and crashes at random, and compares all that can be read with a plain
// map: balances at every height, receipts, indexes, certificates, proofs.
func TestRandomChain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		opts  Options
		steps int
	}{
		{"default", Options{}, 120},
		{"tight", Options{TrieNodes: 8, Accounts: 4, ProofRoots: 5, ProofBytes: 20_000, BlockBytes: 2000}, 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := randtest.New(t, "./ledger")
			h := newHistory(newNode(t, testSpec(20), c.opts), r, 20)
			proofs := 0
			for step := range c.steps {
				switch x := r.IntN(20); {
				case x < 12:
					h.grow()
				case x < 18:
					h.settle()
				case x < 19:
					proofs += h.checkProofs()
				default:
					h.restart()
				}
				if step%40 == 39 {
					h.checkAll()
				}
				if n := h.l.base.Resident(); n > h.l.options.TrieNodes {
					t.Fatalf("%d trie nodes in memory, limit %d", n, h.l.options.TrieNodes)
				}
			}
			h.settle()
			h.checkAll()
			if proofs += h.checkProofs(); proofs == 0 {
				t.Fatal("nothing was provable")
			}
		})
	}
}

// TestTwoNodesAgree: what one node builds another one executes to the same roots,
// and one that missed everything replays it.
func TestTwoNodesAgree(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger")
	spec := testSpec(20)
	a, b := newHistory(newNode(t, spec, Options{}), r, 20), newNode(t, spec, Options{})
	for range 60 {
		a.grow()
		last := a.open[len(a.open)-1].block
		raw, err := a.l.BodyBytes(last.Hash())
		if err != nil {
			t.Fatal(err)
		}
		received, err := chain.DecodeBlock(raw, &spec.Rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.l.Execute(received); err != nil {
			t.Fatal(err)
		}
		if r.IntN(3) == 0 {
			a.settle()
			b.finalize(a.blocks[len(a.blocks)-1])
		}
	}
	a.checkAll()
	late := newNode(t, spec, Options{})
	for _, x := range a.blocks[1:] {
		raw, err := a.l.BodyBytes(x.Hash())
		if err != nil {
			t.Fatal(err)
		}
		received, err := chain.DecodeBlock(raw, &spec.Rules)
		if err == nil {
			err = late.l.Execute(received)
		}
		if err != nil {
			t.Fatal(err)
		}
		late.finalize(received)
	}
	if late.head() != a.head() || b.head() != a.head() {
		t.Fatalf("heads %s %s %s", a.head(), b.head(), late.head())
	}
}

// TestHistory pages through an account's transactions.
func TestHistory(t *testing.T) {
	t.Parallel()
	n := newNode(t, testSpec(3), Options{})
	to := randomAddress(1)
	for i := range uint64(5) {
		n.finalize(n.build(n.head(), transfer(key(0), 2*i, to, i, 0), transfer(key(1), i, key(2).Address(), 1, 0), transfer(key(0), 2*i+1, to, 0, 0)))
	}
	var heights []uint64
	for from := n.l.HeadInfo().Height; ; {
		page, err := n.l.History(to, from, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if !slices.Equal(e.Transactions, []uint32{0, 2}) {
				t.Errorf("height %d: transactions %v", e.Height, e.Transactions)
			}
			want := uint64(0)
			for i := uint64(1); i < e.Height; i++ {
				want += i
			}
			if got := e.Account; (got == nil) != (want == 0) || got != nil && !got.Balance.Eq(uint256.NewInt(want)) {
				t.Errorf("height %d: %+v, want balance %d", e.Height, got, want)
			}
			heights = append(heights, e.Height)
		}
		from = heights[len(heights)-1] - 1
	}
	if !slices.Equal(heights, []uint64{5, 4, 3, 2, 1}) {
		t.Fatalf("heights %v", heights)
	}
}
