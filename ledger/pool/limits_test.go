package pool

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
)

func TestEviction(t *testing.T) {
	t.Parallel()
	l := newLedger(t, false, 5)
	p := l.newPool(func(c *Config) { c.Total = 4 })
	if p.LeastTip() != 0 {
		t.Error("an empty pool asks for a tip")
	}
	// The tail of a costs 50, but not without its head at 1.
	a0, a1 := l.tx(0, 0, 1, 1, 300), l.tx(0, 1, 1, 50, 300)
	b0, c0 := l.tx(1, 0, 1, 10, 300), l.tx(2, 0, 1, 10, 300)
	add(t, p, a0, a1, b0, c0)
	refuse(t, p, l.tx(3, 0, 1, 1, 300), chain.ErrUnderpriced)
	if least := p.LeastTip(); least != 2 { // the worst offers 1
		t.Errorf("a tip of at least %d is asked for", least)
	}
	if err := p.Add(l.tx(3, 0, 1, 1, 300), false); !strings.Contains(err.Error(), "a tip of at least 2 wei") {
		t.Error(err)
	}
	if _, ok := p.Dropped(a1.Hash()); ok || p.Stats().Executable != 4 {
		t.Error("a refused transaction evicted another")
	}
	d0 := l.tx(3, 0, 1, 10, 300)
	add(t, p, d0)
	dropped(t, p, a1, chain.ErrPoolFull)
	e0 := l.tx(4, 0, 1, 11, 300)
	add(t, p, e0)
	dropped(t, p, a0, chain.ErrPoolFull)
	// Equal price: the youngest goes.
	add(t, p, l.tx(4, 1, 1, 11, 300))
	dropped(t, p, d0, chain.ErrPoolFull)
	refuse(t, p, l.tx(0, 5, 1, 99, 300), chain.ErrPoolFull) // a gapped one is worth nothing
	checkInvariants(t, p)
	add(t, p, l.tx(0, 0, 1, 60, 300)) // back with a better price
	if _, ok := p.Dropped(l.tx(0, 0, 1, 60, 300).Hash()); ok {
		t.Error("what is in the pool has a drop reason")
	}
}

func TestEvictionByBytes(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 3)
	one := l.tx(0, 0, 1, 0, 0)
	p := l.newPool(func(c *Config) { c.Bytes = int64(3*one.Size()) + 10 })
	gapped := l.tx(1, 3, 1, 0, 0)
	add(t, p, one, gapped, l.tx(0, 1, 1, 0, 0))
	add(t, p, l.tx(0, 2, 1, 0, 0))
	dropped(t, p, gapped, chain.ErrPoolFull)
	refuse(t, p, l.tx(0, 3, 1, 0, 0), chain.ErrPoolFull)
	long := &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), To: &dest, Value: big.NewInt(1), Gas: 50_000, Data: make([]byte, 100),
		GasFeeCap: big.NewInt(9), GasTipCap: big.NewInt(9),
	}
	refuse(t, p, l.sign(0, long), chain.ErrPoolFull) // even as a replacement
	checkInvariants(t, p)
}

func TestEmptyAccountsOnAFreeNetwork(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	for i := 1; i < 5; i++ {
		l.keys = append(l.keys, key(t, 100+i))
	}
	p := l.newPool(func(c *Config) { c.PerEmptySender, c.EmptySenders = 2, 5 })
	add(t, p, l.tx(1, 0, 0, 0, 0), l.tx(1, 1, 0, 0, 0))
	refuse(t, p, l.tx(1, 2, 0, 0, 0), chain.ErrAccountLimitExceeded)
	add(t, p, l.tx(2, 0, 0, 0, 0), l.tx(2, 1, 0, 0, 0), l.tx(3, 0, 0, 0, 0))
	refuse(t, p, l.tx(4, 0, 0, 0, 0), chain.ErrPoolFull)
	add(t, p, l.tx(0, 0, 1, 0, 0), l.tx(0, 1, 1, 0, 0), l.tx(0, 2, 1, 0, 0))
	checkInvariants(t, p)
	l.include(p, l.tx(1, 0, 0, 0, 0))
	add(t, p, l.tx(4, 0, 0, 0, 0))
	checkInvariants(t, p)
}

// Gapped transactions of accounts that cost nothing must not keep others out for
// ever.
func TestEmptyAccountsWaitForNoNonce(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	l.keys = append(l.keys, key(t, 101), key(t, 102))
	p := l.newPool(func(c *Config) { c.EmptySenders = 3 })
	refuse(t, p, l.tx(1, 1, 0, 0, 0), chain.ErrNonceTooHigh)
	add(t, p, l.tx(1, 0, 0, 0, 0), l.tx(1, 1, 0, 0, 0))
	refuse(t, p, l.tx(1, 3, 0, 0, 0), chain.ErrNonceTooHigh)
	// With a balance it may wait, until the balance is gone.
	gapped := l.tx(0, 3, 0, 0, 0)
	add(t, p, gapped)
	l.edit(l.keys[0].Address(), func(a *chain.Account) { a.Balance.Clear() })
	l.include(p, l.tx(0, 0, 0, 0, 0))
	dropped(t, p, gapped, chain.ErrNonceTooHigh)
	add(t, p, l.tx(2, 0, 0, 0, 0))
	checkInvariants(t, p)
}

func TestWorkEndsAfterThreeBlocksWithRoom(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 2)
	p := l.newPool(nil)
	add(t, p, l.tx(0, 0, 1, 0, 0))
	other := uint64(0)
	full := make([]*types.Transaction, 0, 1001)
	for range 1001 {
		full = append(full, l.tx(1, other, 0, 0, 0))
		other++
	}
	l.include(p, full...) // no room: does not count
	for i := range 3 {
		if !p.HasWork() {
			t.Fatalf("no work after %d blocks with room", i)
		}
		if s, ok := p.Status(l.tx(0, 0, 1, 0, 0).Hash()); !ok || !s.Executable || s.LeftOut != uint64(i) || s.Before != 0 {
			t.Errorf("after %d blocks with room: %+v", i, s)
		}
		l.include(p, l.tx(1, other, 0, 0, 0))
		other++
	}
	if p.HasWork() {
		t.Error("work that three leaders do not want")
	}
	if len(p.Executable(5)) != 1 {
		t.Error("it is still a candidate")
	}
	second := l.tx(0, 1, 1, 0, 0)
	add(t, p, second)
	if p.HasWork() {
		t.Error("its successor cannot be included without it")
	}
	if s, ok := p.Status(second.Hash()); !ok || !s.Executable || s.LeftOut != 0 || s.Before != 1 {
		t.Errorf("the successor: %+v", s)
	}
	add(t, p, l.tx(1, other, 0, 0, 0))
	if !p.HasWork() {
		t.Error("a new transaction is work")
	}
	l.include(p, l.tx(0, 0, 1, 0, 0), l.tx(1, other, 0, 0, 0))
	if !p.HasWork() {
		t.Error("the successor is work now")
	}
	l.include(p, second)
	if p.HasWork() || len(p.work) != 0 {
		t.Error("an empty pool has work")
	}
	checkInvariants(t, p)
}

func TestHasWorkBesides(t *testing.T) {
	t.Parallel()
	l := newLedger(t, false, 2)
	p := l.newPool(nil)
	in := make(map[crypto.Hash]bool)
	exclude := func(h crypto.Hash) bool { return in[h] }
	want := func(w bool) {
		t.Helper()
		if p.HasWorkBesides(exclude) != w {
			t.Errorf("work besides %d: %v", len(in), !w)
		}
	}
	want(false)
	a0, a1, b0 := l.tx(0, 0, 1, 1, 300), l.tx(0, 1, 1, 1, 110), l.tx(1, 0, 1, 9, 300)
	add(t, p, a0, a1, b0)
	want(true)
	in[b0.Hash()], in[a0.Hash()] = true, true
	want(true)
	in[a1.Hash()] = true
	want(false)
	delete(in, a1.Hash())
	l.baseFee = 111
	l.include(p)
	want(false) // a1 cannot pay the base fee
	delete(in, a0.Hash())
	want(true)
	for range 3 {
		l.include(p)
	}
	want(false)
}

// A queue may be evicted between the reading of its account and the addition.
func TestAddReadsTheAccountAgain(t *testing.T) {
	t.Parallel()
	l := newLedger(t, true, 1)
	p := l.newPool(nil)
	tx := l.tx(0, 0, 1, 0, 0)
	e, _ := newEntry(p.chain, tx, l.keys[0].Address(), false)
	for _, r := range []reading{{known: true, version: p.version}, {version: p.version - 1}} {
		if done, err := p.tryAdd(e, r); done || err != nil {
			t.Errorf("%+v: done %v, %v", r, done, err)
		}
	}
	add(t, p, tx)
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	r := reasons{limit: 3}
	h := func(i byte) crypto.Hash { return crypto.Hash{i} }
	for i := range byte(5) {
		r.put(h(i), fmt.Errorf("%d", i))
	}
	r.put(h(4), errors.New("again"))
	if _, ok := r.get(h(1)); ok || len(r.byHash) != 3 || len(r.order) != 3 {
		t.Errorf("%+v", r)
	}
	if err, ok := r.get(h(4)); !ok || err.Error() != "again" {
		t.Error(err, ok)
	}
	r.forget(h(3))
	if _, ok := r.get(h(3)); ok {
		t.Error("forgotten, and still there")
	}
	r.put(h(3), errors.New("back"))
	if err, ok := r.get(h(3)); !ok || err.Error() != "back" || len(r.byHash) != 3 {
		t.Error(err, ok)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for i, f := range []func(*Config){
		func(c *Config) { c.Total = 0 }, func(c *Config) { c.Bytes = 0 }, func(c *Config) { c.PerSenderExecutable = 0 },
		func(c *Config) { c.PerSenderGapped = -1 }, func(c *Config) { c.PriceBump = -1 }, func(c *Config) { c.Reasons = -1 },
		func(c *Config) { c.PerEmptySender = 0 }, func(c *Config) { c.EmptySenders = 0 },
	} {
		c := DefaultConfig()
		f(&c)
		if c.Validate() == nil {
			t.Errorf("change %d passes", i)
		}
	}
}
