package pool

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

const testChainID = 7_357

var dest = crypto.Address{0xdd}

func testChain(free bool) *chain.Config {
	return &chain.Config{ChainID: testChainID, Rules: genesis.Rules{
		GasLimit: 30_000_000, BlockBytes: 1 << 20, BlockTransactions: 2000,
		Fees: genesis.FeeRules{
			Free: free, InitialBaseFee: uint256.NewInt(100), MinBaseFee: uint256.NewInt(1),
			BaseFeeChangeDenominator: 8, GasTarget: 15_000_000,
		},
	}}
}

func key(t testing.TB, i int) *crypto.PrivateKey {
	t.Helper()
	h := crypto.Keccak256(fmt.Appendf(nil, "test key %d", i))
	k, err := crypto.PrivateKeyFromBytes(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ledger is a state that blocks are put on: nonces and balances only.
type ledger struct {
	t       testing.TB
	free    bool
	baseFee uint64
	keys    []*crypto.PrivateKey
	head    *types.Header

	mu       sync.Mutex
	accounts map[crypto.Address]chain.Account
	fail     error
}

func newLedger(t testing.TB, free bool, accounts int) *ledger {
	l := &ledger{t: t, free: free, accounts: make(map[crypto.Address]chain.Account), head: &types.Header{Number: new(big.Int)}}
	if !free {
		l.baseFee = 100
	}
	for i := range accounts {
		k := key(t, i)
		l.keys = append(l.keys, k)
		l.accounts[k.Address()] = *chain.NewAccount(uint256.NewInt(1e18))
	}
	return l
}

func (l *ledger) Account(a crypto.Address) (*chain.Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	if acc, ok := l.accounts[a]; ok {
		acc.Balance = acc.Balance.Clone()
		return &acc, nil
	}
	return nil, nil
}

func (l *ledger) Slot(crypto.Address, crypto.Hash) (crypto.Hash, error) { return crypto.Hash{}, nil }

// edit changes one account, as a block would.
func (l *ledger) edit(a crypto.Address, f func(*chain.Account)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	acc, ok := l.accounts[a]
	if !ok {
		acc = *chain.NewAccount(new(uint256.Int))
	}
	acc.Balance = acc.Balance.Clone()
	f(&acc)
	l.accounts[a] = acc
}

// tx is a transfer of key i.
func (l *ledger) tx(i int, nonce, value, tip, feeCap uint64) *types.Transaction {
	return l.sign(i, &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &dest, Value: new(big.Int).SetUint64(value), Gas: 21_000,
		GasTipCap: new(big.Int).SetUint64(tip), GasFeeCap: new(big.Int).SetUint64(feeCap),
	})
}

func (l *ledger) sign(i int, data types.TxData) *types.Transaction {
	l.t.Helper()
	s, tx := chain.NewSigner(testChainID), types.NewTx(data)
	sig := l.keys[i].Sign(s.Hash(tx))
	signed, err := tx.WithSignature(s, sig[:])
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

// include makes a final block of txs and resets the pool to it.
func (l *ledger) include(p *Pool, txs ...*types.Transaction) {
	l.t.Helper()
	for _, tx := range txs {
		from, err := chain.Sender(p.signer, tx)
		if err != nil {
			l.t.Fatal(err)
		}
		l.edit(from, func(a *chain.Account) {
			a.Nonce = tx.Nonce() + 1
			a.Balance.Sub(a.Balance, uint256.MustFromBig(tx.Value()))
		})
		l.edit(*tx.To(), func(a *chain.Account) { a.Balance.Add(a.Balance, uint256.MustFromBig(tx.Value())) })
	}
	l.head = &types.Header{ParentHash: l.head.Hash(), Number: new(big.Int).Add(l.head.Number, big.NewInt(1)), GasUsed: 21_000 * uint64(len(txs))}
	if err := p.Reset(l.head, uint256.NewInt(l.baseFee), l, txs); err != nil {
		l.t.Fatal(err)
	}
}

// newPool is a pool at the ledger's head.
func (l *ledger) newPool(change func(*Config)) *Pool {
	l.t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	p := New(cfg, testChain(l.free))
	l.include(p)
	return p
}

func add(t testing.TB, p *Pool, txs ...*types.Transaction) {
	t.Helper()
	for _, tx := range txs {
		if err := p.Add(tx, false); err != nil {
			t.Fatal(err)
		}
	}
}

// refuse adds tx and wants an error of a kind, with geth's text first.
func refuse(t testing.TB, p *Pool, tx *types.Transaction, kind chain.ErrorKind) {
	t.Helper()
	err := p.Add(tx, false)
	var inv *chain.InvalidError
	if !errors.As(err, &inv) || inv.Kind != kind || !strings.HasPrefix(err.Error(), string(kind)) {
		t.Fatalf("%v, want %q", err, kind)
	}
}

// dropped wants that tx left for a reason.
func dropped(t testing.TB, p *Pool, tx *types.Transaction, kind chain.ErrorKind) {
	t.Helper()
	reason, ok := p.Dropped(tx.Hash())
	if !ok || !errors.Is(reason, kind) || p.Has(tx.Hash()) {
		t.Fatalf("dropped: %v %v, want %q", reason, ok, kind)
	}
}

// drain are all candidates, as if a builder took each.
func drain(c chain.Candidates) []*types.Transaction {
	var out []*types.Transaction
	for tx := c.Next(); tx != nil; tx = c.Next() {
		out = append(out, tx)
		c.Accept()
	}
	return out
}

func same(t testing.TB, got []*types.Transaction, want ...*types.Transaction) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d transactions, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Hash() != want[i].Hash() {
			t.Fatalf("transaction %d has nonce %d, want %d", i, got[i].Nonce(), want[i].Nonce())
		}
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	l := newLedger(t, false, 3)
	l.keys = append(l.keys, key(t, 99)) // no account
	l.edit(l.keys[1].Address(), func(a *chain.Account) { a.Nonce = 5 })
	p := l.newPool(func(c *Config) { c.PerSenderExecutable = 3 })
	first := l.tx(0, 0, 1, 10, 200)
	add(t, p, first)
	refuse(t, p, first, chain.ErrAlreadyKnown)
	refuse(t, p, l.tx(0, 0, 2, 10, 219), chain.ErrReplaceUnderpriced)
	refuse(t, p, l.tx(0, 0, 2, 11, 219), chain.ErrReplaceUnderpriced)
	refuse(t, p, l.tx(0, 0, 2, 10, 220), chain.ErrReplaceUnderpriced)
	refuse(t, p, l.tx(1, 4, 1, 10, 200), chain.ErrNonceTooLow)
	refuse(t, p, l.tx(1, 5+65, 1, 10, 200), chain.ErrNonceTooHigh)
	add(t, p, l.tx(1, 5+64, 1, 10, 200))
	refuse(t, p, l.tx(1, 5, 1, 10, 99), chain.ErrFeeCapTooLow)
	refuse(t, p, l.tx(1, 5, 1e18, 10, 200), chain.ErrInsufficientFunds)
	refuse(t, p, l.tx(0, 1, 1e18-2*200*21_000, 10, 200), chain.ErrInsufficientFunds) // with what is queued
	refuse(t, p, l.tx(3, 0, 0, 10, 200), chain.ErrInsufficientFunds)
	refuse(t, p, l.tx(0, 1, 1, 201, 200), chain.ErrTipAboveFeeCap)
	add(t, p, l.tx(0, 1, 1, 10, 200), l.tx(0, 2, 1, 10, 200))
	refuse(t, p, l.tx(0, 3, 1, 10, 200), chain.ErrAccountLimitExceeded)
	refuse(t, p, l.tx(0, 4, 1, 10, 200), chain.ErrAccountLimitExceeded)
	low := &types.LegacyTx{To: &dest, Gas: 20_000, GasPrice: big.NewInt(200), Value: big.NewInt(1)}
	refuse(t, p, l.sign(2, low), chain.ErrIntrinsicGas)
	low.Gas = 30_000_001
	refuse(t, p, l.sign(2, low), chain.ErrGasLimit)
	refuse(t, p, types.NewTx(&types.DynamicFeeTx{ChainID: big.NewInt(testChainID), To: &dest, Gas: 21_000}), chain.ErrInvalidSender)
	huge := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	refuse(t, p, l.sign(2, &types.LegacyTx{To: &dest, Gas: 21_000, GasPrice: huge, Value: huge}), chain.ErrInsufficientFunds)
	checkInvariants(t, p)
}

func TestNoState(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	p := New(DefaultConfig(), testChain(true))
	if err := p.Add(l.tx(0, 0, 1, 0, 0), false); !errors.Is(err, ErrNoState) {
		t.Errorf("Add: %v", err)
	}
	if _, err := p.Nonce(dest); !errors.Is(err, ErrNoState) {
		t.Errorf("Nonce: %v", err)
	}
	if p.HasWork() || p.Candidates(nil).Next() != nil {
		t.Error("an empty pool has work")
	}
	l.include(p)
	l.fail = errors.New("disk is gone")
	if err := p.Add(l.tx(0, 0, 1, 0, 0), false); !errors.Is(err, l.fail) {
		t.Errorf("Add: %v", err)
	}
	if _, err := p.Nonce(dest); !errors.Is(err, l.fail) {
		t.Errorf("Nonce: %v", err)
	}
}

func TestReplacement(t *testing.T) {
	t.Parallel()
	var drops []Drop
	l := newLedger(t, false, 1)
	p := l.newPool(func(c *Config) { c.OnDrop = func(d Drop) { drops = append(drops, d) } })
	old, after := l.tx(0, 0, 1, 10, 200), l.tx(0, 1, 1, 10, 200)
	if err := p.Add(old, true); err != nil {
		t.Fatal(err)
	}
	add(t, p, after)
	better := l.tx(0, 0, 2, 11, 220)
	add(t, p, better)
	dropped(t, p, old, chain.ErrReplaced)
	if len(drops) != 1 || drops[0].Transaction != old || !drops[0].Local || !errors.Is(drops[0].Reason, chain.ErrReplaced) {
		t.Errorf("OnDrop was told %+v", drops)
	}
	same(t, drain(p.Candidates(nil)), better, after)
	refuse(t, p, old, chain.ErrReplaceUnderpriced)
	// All the sender has: what is replaced does not count twice.
	add(t, p, l.tx(0, 0, 1e18-21_000*(200+300)-1, 20, 300))
	checkInvariants(t, p)
}

func TestGapsCloseAndOpen(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	p := l.newPool(nil)
	txs := make([]*types.Transaction, 6)
	for i := range txs {
		txs[i] = l.tx(0, uint64(i), uint64(i+1), 0, 0)
	}
	add(t, p, txs[1], txs[5], txs[3])
	if s := p.Stats(); s.Executable != 0 || s.Gapped != 3 || p.HasWork() {
		t.Errorf("%+v", s)
	}
	if s, ok := p.Status(txs[5].Hash()); !ok || s.Executable || fmt.Sprint(s.Missing) != "[0 2 4]" {
		t.Errorf("status %+v", s)
	}
	if n, _ := p.Nonce(l.keys[0].Address()); n != 0 {
		t.Errorf("next nonce %d", n)
	}
	add(t, p, txs[0])
	same(t, drain(p.Candidates(nil)), txs[:2]...)
	add(t, p, txs[2], txs[4])
	same(t, drain(p.Candidates(nil)), txs...)
	if s, ok := p.Status(txs[5].Hash()); !ok || !s.Executable || s.Missing != nil {
		t.Errorf("status %+v", s)
	}
	if n, _ := p.Nonce(l.keys[0].Address()); n != 6 {
		t.Errorf("next nonce %d", n)
	}
	c := p.ContentFrom(l.keys[0].Address())
	if len(c.Executable) != 6 || len(c.Gapped) != 0 || len(p.Content()) != 1 {
		t.Errorf("content %+v", c)
	}
	// The balance falls below the value of one in the middle: it leaves, and what
	// comes after it has a gap before it.
	l.edit(l.keys[0].Address(), func(a *chain.Account) { a.Balance.SetUint64(6) })
	l.include(p, txs[0])
	dropped(t, p, txs[5], chain.ErrInsufficientFunds)
	if s := p.Stats(); s.Executable != 4 || s.Gapped != 0 {
		t.Errorf("%+v", s)
	}
	checkInvariants(t, p)
}

func TestResetKeepsReasons(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 3)
	p := l.newPool(nil)
	mine, other := l.tx(0, 0, 1, 0, 0), l.tx(0, 0, 2, 0, 0)
	second := l.tx(1, 0, 1, 0, 0)
	add(t, p, mine, second, l.tx(1, 1, 1, 0, 0))
	l.include(p, other, second)
	dropped(t, p, mine, chain.ErrNonceTooLow)
	if _, ok := p.Dropped(second.Hash()); ok || p.Has(second.Hash()) {
		t.Error("an included transaction is not a dropped one")
	}
	// A block that does not follow: everything is looked at.
	third := l.tx(2, 0, 1, 0, 0)
	add(t, p, third)
	l.edit(l.keys[2].Address(), func(a *chain.Account) { a.Nonce = 1 })
	l.include(p)
	if !p.Has(third.Hash()) {
		t.Error("a block that did not touch a sender changed its queue")
	}
	l.head = &types.Header{Number: big.NewInt(50)}
	l.include(p)
	dropped(t, p, third, chain.ErrNonceTooLow)
	l.fail = errors.New("disk is gone")
	if err := p.Reset(&types.Header{Number: big.NewInt(99)}, new(uint256.Int), l, nil); !errors.Is(err, l.fail) {
		t.Errorf("Reset: %v", err)
	}
	checkInvariants(t, p)
}

func TestRecipientMaySpendAtOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 2)
	poor := l.keys[1].Address()
	l.edit(poor, func(a *chain.Account) { a.Balance.SetUint64(1) })
	p := l.newPool(nil)
	add(t, p, l.tx(1, 0, 1, 0, 0))
	refuse(t, p, l.tx(1, 1, 100, 0, 0), chain.ErrInsufficientFunds)
	give := l.sign(0, &types.LegacyTx{To: &poor, Value: big.NewInt(500), Gas: 21_000, GasPrice: new(big.Int)})
	l.include(p, give)
	add(t, p, l.tx(1, 1, 100, 0, 0))
}

func TestGapLimitAfterADrop(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	p := l.newPool(func(c *Config) { c.PerSenderGapped = 3 })
	var txs []*types.Transaction
	for i := range 10 {
		value := uint64(1)
		if i == 2 {
			value = 1000
		}
		txs = append(txs, l.tx(0, uint64(i), value, 0, 0))
	}
	add(t, p, txs...)
	l.edit(l.keys[0].Address(), func(a *chain.Account) { a.Balance.SetUint64(100) })
	l.include(p, txs[0])
	dropped(t, p, txs[2], chain.ErrInsufficientFunds)
	for _, tx := range txs[3:6] {
		if !p.Has(tx.Hash()) {
			t.Errorf("nonce %d is within the gap limit", tx.Nonce())
		}
	}
	for _, tx := range txs[6:] {
		dropped(t, p, tx, chain.ErrNonceTooHigh)
	}
	checkInvariants(t, p)
}

func TestPriceOrder(t *testing.T) {
	t.Parallel()
	l := newLedger(t, false, 4)
	p := l.newPool(nil)
	a0, a1 := l.tx(0, 0, 1, 5, 300), l.tx(0, 1, 1, 50, 300)
	b0 := l.tx(1, 0, 1, 20, 300)
	c0 := l.tx(2, 0, 1, 90, 110) // effective tip 10
	d0 := l.tx(3, 0, 1, 20, 300) // as b0, later
	add(t, p, a0, a1, b0, c0, d0)
	same(t, drain(p.Candidates(nil)), b0, d0, c0, a0, a1)
	same(t, p.Executable(2), b0, d0)
	excluded := map[crypto.Hash]bool{a0.Hash(): true, b0.Hash(): true}
	same(t, drain(p.Candidates(func(h crypto.Hash) bool { return excluded[h] })), d0, c0, a1)

	c := p.Candidates(nil)
	c.Next()
	c.Skip(chain.ErrGasLimitReached)
	same(t, drain(c), d0, c0, a0, a1)
	c = p.Candidates(func(h crypto.Hash) bool { return h != a0.Hash() && h != a1.Hash() })
	c.Next()
	c.Skip(&chain.InvalidError{Kind: chain.ErrNonceTooLow}) // the builder's state is ahead
	same(t, drain(c), a1)

	// The base fee rises: c0 cannot be included, and comes back when it falls.
	l.baseFee = 111
	l.include(p)
	same(t, drain(p.Candidates(nil)), b0, d0, a0, a1)
	l.baseFee = 100
	l.include(p)
	same(t, drain(p.Candidates(nil)), b0, d0, c0, a0, a1)
	checkInvariants(t, p)
}

func TestCandidatesSurviveChanges(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 3)
	p := l.newPool(nil)
	a0, a1, b0, b1 := l.tx(0, 0, 1, 0, 0), l.tx(0, 1, 1, 0, 0), l.tx(1, 0, 1, 0, 0), l.tx(1, 1, 1, 0, 0)
	add(t, p, a0, a1, b0, b1)
	c := p.Candidates(nil)
	if c.Next() != a0 {
		t.Fatal("not the oldest first")
	}
	l.include(p, a0, a1, b0)
	c.Accept()
	same(t, drain(c), b1)
}
