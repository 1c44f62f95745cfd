package pool

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/internal/randtest"
	"cairn/ledger/chain"
	"cairn/ledger/trie"
)

// state is a real one: accounts and their trie.
type state struct {
	accounts map[crypto.Address]*chain.Account
	trie     *trie.Trie
}

func (s *state) Account(a crypto.Address) (*chain.Account, error) { return s.accounts[a], nil }

func (s *state) Slot(crypto.Address, crypto.Hash) (crypto.Hash, error) { return crypto.Hash{}, nil }

func (s *state) commit(out *chain.Output) {
	s.trie = out.Accounts
	for _, c := range out.Changes {
		s.accounts[c.Address] = c.New
	}
}

// TestBlocksEmptyThePool fills a pool with random transfers of a paid network
// and builds and executes blocks from it until there is no work: everything is
// then in a block, dropped for a reason, or still waits and says for what.
func TestBlocksEmptyThePool(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/pool")
	cfg := testChain(false)
	spec := &genesis.Spec{
		ChainID: testChainID, Name: "test", Timestamp: 1e12, Rules: cfg.Rules,
		Validators: []genesis.Validator{{Address: crypto.Address{1}, PeerID: "p", Name: "v"}},
	}
	spec.Rules.BlockTransactions = 40
	cfg.Rules = spec.Rules
	l := newLedger(t, false, 12) // for its keys
	for _, k := range l.keys {
		spec.Alloc = append(spec.Alloc, genesis.Allocation{Address: k.Address(), Balance: uint256.NewInt(1e12)})
	}
	block, out, err := chain.Genesis(spec)
	if err != nil {
		t.Fatal(err)
	}
	s := &state{accounts: make(map[crypto.Address]*chain.Account)}
	s.commit(out)
	head := block.Header()
	p := New(DefaultConfig(), cfg)
	reset := func(b *types.Block) {
		head = b.Header()
		if err := p.Reset(head, chain.NextBaseFee(&cfg.Rules, head), s, b.Transactions()); err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, p)
	}
	reset(block)
	accepted, included := make(map[crypto.Hash]bool), make(map[crypto.Hash]bool)
	for range 600 {
		i := r.IntN(len(l.keys))
		nonce, err := p.Nonce(l.keys[i].Address())
		if err != nil {
			t.Fatal(err)
		}
		to, tip := l.keys[r.IntN(len(l.keys))].Address(), r.Uint64N(50)
		tx := l.sign(i, &types.DynamicFeeTx{
			ChainID: big.NewInt(testChainID), Nonce: nonce + r.Uint64N(2), To: &to, Gas: 21_000 + r.Uint64N(2)*10_000,
			Value: new(big.Int).SetUint64(r.Uint64N(4e10)), GasTipCap: new(big.Int).SetUint64(tip), GasFeeCap: new(big.Int).SetUint64(tip + 80 + r.Uint64N(50)),
		})
		if p.Add(tx, false) == nil {
			accepted[tx.Hash()] = true
		}
	}
	if len(accepted) < 100 {
		t.Fatalf("only %d accepted", len(accepted))
	}
	for height := 0; p.HasWork(); height++ {
		if height > len(accepted) {
			t.Fatal("work does not end")
		}
		extra, err := chain.DecodeExtra(head)
		if err != nil {
			t.Fatal(err)
		}
		params := chain.BuildParams{View: 1, TimestampMillis: chain.MinTimestamp(cfg, extra), Proposer: crypto.Address{1}}
		st := chain.State{Reader: s, Accounts: s.trie}
		built, _, err := chain.Build(cfg, head, st, params, p.Candidates(nil))
		if err != nil {
			t.Fatal(err)
		}
		out, err := chain.Execute(cfg, head, st, built)
		if err != nil {
			t.Fatal(err)
		}
		s.commit(out)
		for _, tx := range built.Transactions() {
			included[tx.Hash()] = true
		}
		reset(built)
	}
	for h := range accepted {
		reason, wasDropped := p.Dropped(h)
		status, waits := p.Status(h)
		if n := count(included[h], wasDropped, waits); n != 1 {
			t.Fatalf("%s: included %v, dropped %v (%v), waits %v", h, included[h], wasDropped, reason, waits)
		}
		if waits && status.Executable && !parked(p, h) {
			t.Errorf("%s could be included and was not", h)
		}
	}
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// parked: a fee cap below the base fee, its own or of one before it.
func parked(p *Pool, h crypto.Hash) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.all[h].minRank == 0
}
