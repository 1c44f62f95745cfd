package chain

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	ethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/internal/randtest"
)

// execute runs block on m and, when that is well, makes it the head.
func (m *memory) execute(t testing.TB, block *types.Block) *Output {
	t.Helper()
	out, err := Execute(m.cfg, m.head, m.state(), block)
	if err != nil {
		t.Fatal(err)
	}
	m.commit(block, out)
	return out
}

func TestFeesAreExact(t *testing.T) {
	t.Parallel()
	collector := crypto.Address{0xcc}
	for name, to := range map[string]*crypto.Address{"burned": nil, "collected": &collector} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := testSpec(t, 2)
			spec.Rules.Fees.BaseFeeRecipient = to
			m := newMemory(t, spec)
			base := NextBaseFee(&m.cfg.Rules, m.head).Uint64() // 875 000 000
			a, b := key(t, 0), key(t, 1)
			dest := crypto.Address{0xdd}
			block, _ := m.build(t,
				sign(t, a, dynamic(0, dest, coins(1), 3, base+100)),
				sign(t, a, dynamic(1, dest, coins(2), 50, base+20)),
				sign(t, b, legacy(0, dest, coins(3), base+7)))
			out := m.execute(t, block)
			for i, price := range []uint64{base + 3, base + 20, base + 7} {
				r := out.Receipts[i]
				if r.Status != 1 || r.GasUsed != 21_000 || r.CumulativeGasUsed != uint64(i+1)*21_000 || r.EffectiveGasPrice.Uint64() != price {
					t.Errorf("receipt %d: %+v", i, r)
				}
				if r.BlockHash != block.Hash() || r.BlockNumber.Uint64() != 1 || r.TransactionIndex != uint(i) || r.TxHash != block.Transactions()[i].Hash() || r.Logs == nil {
					t.Errorf("derived fields of receipt %d: %+v", i, r)
				}
			}
			want := func(a crypto.Address, w *uint256.Int) {
				t.Helper()
				if got := m.balance(a); !got.Eq(w) {
					t.Errorf("balance of %s is %d, want %d", a, got, w)
				}
			}
			fees := func(n ...uint64) *uint256.Int {
				sum := new(uint256.Int)
				for _, f := range n {
					sum.Add(sum, uint256.NewInt(f*21_000))
				}
				return sum
			}
			want(dest, coins(6))
			want(proposer, fees(3, 20, 7))
			want(a.Address(), new(uint256.Int).Sub(coins(997), fees(base+3, base+20)))
			want(b.Address(), new(uint256.Int).Sub(coins(997), fees(base+7)))
			if to != nil {
				want(collector, fees(base, base, base))
			} else if m.accounts[collector] != nil {
				t.Error("base fee was not burned")
			}
			if m.accounts[a.Address()].Nonce != 2 || m.accounts[b.Address()].Nonce != 1 {
				t.Error("nonces are wrong")
			}
		})
	}
}

func TestFreeNetworkChargesNothing(t *testing.T) {
	t.Parallel()
	spec := testSpec(t, 2)
	spec.Rules.Fees = genesis.FeeRules{Free: true}
	m := newMemory(t, spec)
	poor := key(t, 9) // no balance at all
	dest := crypto.Address{0xdd}
	block, _ := m.build(t,
		sign(t, key(t, 0), dynamic(0, dest, coins(1000), 1e18, 1e18)), // everything it has, whatever the fee fields say
		sign(t, key(t, 1), legacy(0, dest, coins(1), 0)),
		sign(t, poor, dynamic(0, dest, coins(0), 5, 1e18)))
	out := m.execute(t, block)
	if block.BaseFee().Sign() != 0 {
		t.Errorf("base fee %d", block.BaseFee())
	}
	for _, r := range out.Receipts {
		if r.EffectiveGasPrice == nil || r.EffectiveGasPrice.Sign() != 0 || r.GasUsed != 21_000 {
			t.Errorf("receipt %+v", r)
		}
	}
	if !m.balance(dest).Eq(coins(1001)) || !m.balance(key(t, 0).Address()).IsZero() || m.accounts[proposer] != nil {
		t.Error("balances are wrong")
	}
	if acc := m.accounts[poor.Address()]; acc == nil || acc.Nonce != 1 {
		t.Error("the nonce of a sender without balance was not kept")
	}
}

func TestTransferCorners(t *testing.T) {
	t.Parallel()
	m := newMemory(t, testSpec(t, 3))
	a, b, nobody := key(t, 0), key(t, 1), crypto.Address{0xee}
	base := NextBaseFee(&m.cfg.Rules, m.head).Uint64()
	block, _ := m.build(t,
		sign(t, a, dynamic(0, a.Address(), coins(999), 0, base)),   // to itself
		sign(t, a, dynamic(1, nobody, coins(0), 0, base)),          // touches an absent account
		sign(t, b, dynamic(0, proposer, coins(1), 0, base)),        // to the proposer
		sign(t, b, dynamic(1, RegistryAddress, coins(1), 0, base)), // to the registry: reverted
	)
	out := m.execute(t, block)
	fee := uint256.NewInt(2 * 21_000 * base)
	if got, want := m.balance(a.Address()), new(uint256.Int).Sub(coins(1000), fee); !got.Eq(want) {
		t.Errorf("self transfer: %d, want %d", got, want)
	}
	if m.accounts[nobody] != nil {
		t.Error("a touch with no value made an empty account")
	}
	if !m.balance(proposer).Eq(coins(1)) {
		t.Error("value to the proposer is lost")
	}
	if r := out.Receipts[3]; r.Status != 0 || r.GasUsed != 21_000 {
		t.Errorf("call of the registry: %+v", r)
	}
	if got, want := m.balance(b.Address()), new(uint256.Int).Sub(coins(999), fee); !got.Eq(want) || !m.balance(RegistryAddress).IsZero() {
		t.Errorf("value of a reverted call moved: %d, want %d", got, want)
	}
	if m.accounts[b.Address()].Nonce != 2 {
		t.Error("the nonce of a reverted call was not kept")
	}
}

func TestBuildSkipsWithAReason(t *testing.T) {
	t.Parallel()
	spec := testSpec(t, 3)
	spec.Rules.GasLimit = 100_000
	m := newMemory(t, spec)
	a, b, c := key(t, 0), key(t, 1), key(t, 2)
	base := NextBaseFee(&m.cfg.Rules, m.head).Uint64()
	low := dynamic(0, proposer, coins(1), 0, base-1)
	wide := legacy(0, proposer, coins(1), base)
	wide.Gas = 90_000
	q := &queue{txs: []*types.Transaction{
		sign(t, a, dynamic(1, proposer, coins(1), 0, base)),
		sign(t, a, low),
		sign(t, a, dynamic(0, proposer, coins(1000), 0, base)),
		sign(t, key(t, 7), dynamic(0, proposer, coins(0), 0, base)),
		sign(t, b, dynamic(0, proposer, coins(1), 0, base)),
		sign(t, b, dynamic(0, proposer, coins(2), 0, base)),
		sign(t, c, wide),
	}}
	block, _, err := Build(m.cfg, m.head, m.state(), m.params(), q)
	if err != nil {
		t.Fatal(err)
	}
	want := []ErrorKind{ErrNonceTooHigh, ErrFeeCapTooLow, ErrInsufficientFunds, ErrInsufficientFunds, ErrNonceTooLow, ErrGasLimitReached}
	if len(q.skipped) != len(want) || q.accepted != 1 || len(block.Transactions()) != 1 {
		t.Fatalf("accepted %d, skipped %v", q.accepted, q.skipped)
	}
	for i, kind := range want {
		if !errors.Is(q.skipped[i], kind) {
			t.Errorf("skip %d: %v, want %v", i, q.skipped[i], kind)
		}
	}
	m.execute(t, block)
	p := m.params()
	p.TimestampMillis--
	if _, _, err := Build(m.cfg, m.head, m.state(), p, q); !errors.Is(err, ErrTimestamp) {
		t.Errorf("a block too early: %v", err)
	}
}

func TestBuildKeepsBlockLimits(t *testing.T) {
	t.Parallel()
	var txs []*types.Transaction
	for i := range 60 {
		tx := legacy(uint64(i), proposer, coins(1), 2e9)
		tx.Data, tx.Gas = bytes.Repeat([]byte{1}, 100), 30_000
		txs = append(txs, sign(t, key(t, 0), tx))
	}
	for name, change := range map[string]func(*genesis.Rules){
		"gas":          func(r *genesis.Rules) { r.GasLimit = 500_000 },
		"bytes":        func(r *genesis.Rules) { r.BlockBytes = 5000 },
		"transactions": func(r *genesis.Rules) { r.BlockTransactions = 17 },
	} {
		spec := testSpec(t, 1)
		change(&spec.Rules)
		m := newMemory(t, spec)
		q := &queue{txs: slices.Clone(txs)}
		block, _, err := Build(m.cfg, m.head, m.state(), m.params(), q)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(block.Transactions()); n < 15 || n > 25 {
			t.Errorf("%s: %d transactions", name, n)
		}
		if _, err := DecodeBlock(EncodeBlock(block), &m.cfg.Rules); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m.execute(t, block)
	}
}

// TestExecuteRefuses changes one thing in a good block each time.
func TestExecuteRefuses(t *testing.T) {
	t.Parallel()
	m, block := testBlock(t)
	txs := block.Transactions()
	for _, c := range []struct {
		name string
		f    func(*types.Header)
		kind ErrorKind
	}{
		{"parent", func(h *types.Header) { h.ParentHash[0]++ }, ErrParentHash},
		{"uncle hash", func(h *types.Header) { h.UncleHash[0]++ }, ErrUncles},
		{"miner", func(h *types.Header) { h.Coinbase[0]++ }, ErrStateRoot},
		{"state root", func(h *types.Header) { h.Root[0]++ }, ErrStateRoot},
		{"transactions root", func(h *types.Header) { h.TxHash[0]++ }, ErrTransactionsRoot},
		{"receipts root", func(h *types.Header) { h.ReceiptHash[0]++ }, ErrReceiptsRoot},
		{"bloom", func(h *types.Header) { h.Bloom[0]++ }, ErrBloom},
		{"difficulty", func(h *types.Header) { h.Difficulty = big.NewInt(1) }, ErrDifficulty},
		{"number", func(h *types.Header) { h.Number = big.NewInt(2) }, ErrHeight},
		{"gas limit", func(h *types.Header) { h.GasLimit++ }, ErrBlockGasLimit},
		{"gas used", func(h *types.Header) { h.GasUsed++ }, ErrGasUsed},
		{"seconds", func(h *types.Header) { h.Time++ }, ErrTimestamp},
		{"milliseconds", func(h *types.Header) { h.Extra[20]-- }, ErrTimestamp},
		{"extra", func(h *types.Header) { h.Extra = h.Extra[:20] }, ErrExtra},
		{"mix hash", func(h *types.Header) { h.MixDigest[0]++ }, ErrMixHash},
		{"nonce", func(h *types.Header) { h.Nonce[0]++ }, ErrHeaderNonce},
		{"base fee", func(h *types.Header) { h.BaseFee.Add(h.BaseFee, big.NewInt(1)) }, ErrBaseFee},
		{"no base fee", func(h *types.Header) { h.BaseFee = nil }, ErrBaseFee},
		{"later fork", func(h *types.Header) { h.WithdrawalsHash = &crypto.Hash{} }, ErrLaterFork},
	} {
		h := block.Header()
		c.f(h)
		bad := types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: txs})
		_, err := Execute(m.cfg, m.head, m.state(), bad)
		var inv *InvalidError
		if !errors.Is(err, c.kind) || !errors.As(err, &inv) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	for _, c := range []struct {
		name string
		txs  types.Transactions
		kind ErrorKind
	}{
		{"twice", types.Transactions{txs[0], txs[0]}, ErrNonceTooLow},
		{"gap", types.Transactions{sign(t, key(t, 0), dynamic(1, proposer, coins(1), 0, 3e9))}, ErrNonceTooHigh},
		{"too poor", types.Transactions{sign(t, key(t, 0), dynamic(0, proposer, coins(1001), 0, 3e9))}, ErrInsufficientFunds},
		{"fee cap", types.Transactions{sign(t, key(t, 0), dynamic(0, proposer, coins(1), 0, 3))}, ErrFeeCapTooLow},
		{"wrong chain", types.Transactions{signFor(t, 1, key(t, 0), legacy(0, proposer, coins(1), 3e9))}, ErrInvalidChainID},
		{"no signature", types.Transactions{types.NewTx(dynamic(0, proposer, coins(1), 0, 3e9))}, ErrInvalidSender},
		{"gas", types.Transactions{sign(t, key(t, 0), gassy(20_000_000)), sign(t, key(t, 1), gassy(29_990_000))}, ErrGasLimitReached},
	} {
		h := block.Header()
		h.TxHash = transactionsRoot(c.txs)
		bad := types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: c.txs})
		if _, err := Execute(m.cfg, m.head, m.state(), bad); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	uncled := types.NewBlockWithHeader(block.Header()).WithBody(types.Body{Transactions: txs, Uncles: []*types.Header{m.head}})
	if _, err := Execute(m.cfg, m.head, m.state(), uncled); !errors.Is(err, ErrUncles) {
		t.Errorf("uncle: %v", err)
	}
	few, small := *m.cfg, *m.cfg
	few.Rules.BlockTransactions, small.Rules.BlockBytes = 2, block.Size()-1
	if _, err := Execute(&few, m.head, m.state(), block); !errors.Is(err, ErrBlockTransactions) {
		t.Errorf("count: %v", err)
	}
	if _, err := Execute(&small, m.head, m.state(), block); !errors.Is(err, ErrBlockBytes) {
		t.Errorf("bytes: %v", err)
	}
	m.accounts[key(t, 0).Address()].CodeHash = RegistryCodeHash
	if _, err := Execute(m.cfg, m.head, m.state(), block); !errors.Is(err, ErrSenderNoEOA) {
		t.Errorf("sender with code: %v", err)
	}
	m.accounts[key(t, 0).Address()].CodeHash = EmptyCodeHash
	m.execute(t, block) // and unchanged it is good
}

func gassy(gas uint64) types.TxData {
	tx := legacy(0, proposer, coins(1), 2e9)
	tx.Gas = gas
	return tx
}

// broken is a Reader that fails.
type broken struct{ Reader }

var errDisk = errors.New("disk is gone")

func (broken) Account(crypto.Address) (*Account, error) { return nil, errDisk }

func TestReadFailureIsNoVerdict(t *testing.T) {
	t.Parallel()
	m, block := testBlock(t)
	st := m.state()
	st.Reader = broken{m}
	var inv *InvalidError
	if _, err := Execute(m.cfg, m.head, st, block); !errors.Is(err, errDisk) || errors.As(err, &inv) {
		t.Errorf("Execute: %v", err)
	}
	q := &queue{txs: block.Transactions()}
	if _, _, err := Build(m.cfg, m.head, st, m.params(), q); !errors.Is(err, errDisk) || errors.As(err, &inv) {
		t.Errorf("Build: %v", err)
	}
}

// TestRandomChain builds and executes random blocks on paid and free networks:
// build and execute agree, value is conserved, roots and receipts are
// go-ethereum's.
func TestRandomChain(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for range 6 {
		spec := testSpec(t, 12)
		spec.Rules.Fees.Free = r.IntN(2) == 0
		if r.IntN(2) == 0 {
			to := key(t, r.IntN(14)).Address()
			spec.Rules.Fees.BaseFeeRecipient = &to
		}
		m := newMemory(t, spec)
		burned := new(uint256.Int)
		for range 8 {
			randomBlock(t, r, m, burned)
		}
		total := new(uint256.Int).Set(burned)
		for _, a := range m.accounts {
			total.Add(total, a.Balance)
		}
		if !total.Eq(coins(12_000)) {
			t.Fatalf("balances and %d burned add up to %d, want %d", burned, total, coins(12_000))
		}
	}
}

func randomBlock(t *testing.T, r *rand.Rand, m *memory, burned *uint256.Int) {
	q := &queue{}
	nonces := make(map[int]uint64)
	for range 1 + r.IntN(60) {
		i := r.IntN(14)
		if _, ok := nonces[i]; !ok {
			if a := m.accounts[key(t, i).Address()]; a != nil {
				nonces[i] = a.Nonce
			}
		}
		q.txs = append(q.txs, sign(t, key(t, i), randomTransfer(t, r, nonces[i])))
		if r.IntN(10) > 0 {
			nonces[i]++
		}
	}
	p := m.params()
	p.TimestampMillis += r.Uint64N(5000)
	if r.IntN(3) == 0 {
		p.Proposer = key(t, r.IntN(14)).Address()
	}
	block, built, err := Build(m.cfg, m.head, m.state(), p, q)
	if err != nil {
		t.Fatal(err)
	}
	raw := EncodeBlock(block)
	decoded, err := DecodeBlock(raw, &m.cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	if size := blockSize(decoded.Header(), decoded.Transactions()); size != uint64(len(raw)) || size != block.Size() {
		t.Fatalf("size %d, is %d", size, len(raw))
	}
	out, err := Execute(m.cfg, m.head, m.state(), decoded)
	if err != nil {
		t.Fatalf("built block does not execute: %v", err)
	}
	compareOutputs(t, built, out)
	m.commit(decoded, out)
	if want := referenceStateRoot(t, m); block.Root() != want {
		t.Fatalf("state root %s, go-ethereum's trie has %s", block.Root(), want)
	}
	for _, a := range m.accounts {
		if a.Empty() {
			t.Fatal("an empty account is kept")
		}
	}
	if m.cfg.Rules.Fees.BaseFeeRecipient == nil {
		b := uint256.MustFromBig(block.BaseFee())
		burned.Add(burned, b.Mul(b, uint256.NewInt(block.GasUsed())))
	}
	compareReceipts(t, block, out.Receipts, m.cfg.Rules.Fees.Free)
}

func randomTransfer(t *testing.T, r *rand.Rand, nonce uint64) types.TxData {
	to := key(t, r.IntN(20)).Address()
	switch r.IntN(12) {
	case 0:
		to = RegistryAddress
	case 1:
		to = proposer
	}
	value := new(uint256.Int).Mul(uint256.NewInt(r.Uint64N(300)), uint256.NewInt(1e18))
	if r.IntN(4) == 0 {
		value.Clear()
	}
	tip, feeCap := r.Uint64N(1e9), 500_000_000+r.Uint64N(2e9)
	switch r.IntN(3) {
	case 0:
		return legacy(nonce, to, value, feeCap)
	case 1:
		return &types.AccessListTx{
			ChainID: big.NewInt(testChainID), Nonce: nonce, GasPrice: new(big.Int).SetUint64(feeCap), Gas: 60_000, To: &to,
			Value: value.ToBig(), Data: randomBytes(r, r.IntN(20)),
			AccessList: types.AccessList{{Address: to, StorageKeys: []crypto.Hash{{1}, {2}}}},
		}
	}
	return dynamic(nonce, to, value, min(tip, feeCap), feeCap)
}

func compareOutputs(t *testing.T, a, b *Output) {
	t.Helper()
	if a.Accounts.Hash() != b.Accounts.Hash() || len(a.Changes) != len(b.Changes) || len(a.AccountNodes.Nodes) != len(b.AccountNodes.Nodes) {
		t.Fatal("build and execute differ")
	}
	for i := range a.Changes {
		x, y := a.Changes[i], b.Changes[i]
		if x.Address != y.Address || (x.New == nil) != (y.New == nil) || x.New != nil && !bytes.Equal(x.New.Encode(), y.New.Encode()) {
			t.Fatalf("change %d differs", i)
		}
		if i > 0 && bytes.Compare(a.Changes[i-1].Address[:], x.Address[:]) >= 0 {
			t.Fatal("changes are not sorted")
		}
	}
	for i := range a.Receipts {
		x, err1 := a.Receipts[i].MarshalJSON()
		y, err2 := b.Receipts[i].MarshalJSON()
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Fatalf("receipt %d differs:\n%s\n%s", i, x, y)
		}
	}
}

// compareReceipts compares with what go-ethereum derives and hashes.
func compareReceipts(t *testing.T, block *types.Block, receipts types.Receipts, free bool) {
	t.Helper()
	if got := types.DeriveSha(receipts, ethtrie.NewStackTrie(nil)); got != block.ReceiptHash() {
		t.Fatalf("receipts root %s, go-ethereum's is %s", block.ReceiptHash(), got)
	}
	if got := types.DeriveSha(block.Transactions(), ethtrie.NewStackTrie(nil)); got != block.TxHash() {
		t.Fatalf("transactions root %s, go-ethereum's is %s", block.TxHash(), got)
	}
	signer := types.NewLondonSigner(big.NewInt(testChainID))
	var before uint64
	for i, tx := range block.Transactions() {
		theirs := &types.Receipt{Status: receipts[i].Status, CumulativeGasUsed: receipts[i].CumulativeGasUsed, Logs: []*types.Log{}}
		theirs.DeriveFields(signer, types.DeriveReceiptContext{
			BlockHash: block.Hash(), BlockNumber: block.NumberU64(), BlockTime: block.Time(), BaseFee: block.BaseFee(),
			GasUsed: theirs.CumulativeGasUsed - before, Tx: tx, TxIndex: uint(i),
		})
		before = theirs.CumulativeGasUsed
		if free {
			theirs.EffectiveGasPrice = new(big.Int)
		}
		x, err1 := receipts[i].MarshalJSON()
		y, err2 := theirs.MarshalJSON()
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Fatalf("receipt %d\n%s\ngo-ethereum derives\n%s", i, x, y)
		}
	}
}

// referenceStateRoot puts every account of m into a trie of go-ethereum.
func referenceStateRoot(t testing.TB, m *memory) crypto.Hash {
	t.Helper()
	tr := ethtrie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	for addr, a := range m.accounts {
		k := crypto.Keccak256(addr[:])
		if err := tr.Update(k[:], a.Encode()); err != nil {
			t.Fatal(err)
		}
	}
	return tr.Hash()
}
