package chain

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/internal/randtest"
)

// Wallets match these texts, which are those of go-ethereum's core, core/txpool
// and internal/ethapi.
func TestErrorTextsAreGoEthereums(t *testing.T) {
	t.Parallel()
	for kind, theirs := range map[ErrorKind]string{
		ErrTypeNotSupported:     types.ErrTxTypeNotSupported.Error(),
		ErrInvalidChainID:       types.ErrInvalidChainId.Error(),
		ErrOversizedData:        "oversized data",
		ErrNegativeValue:        "negative value",
		ErrInvalidSender:        "invalid sender",
		ErrGasLimit:             "exceeds block gas limit",
		ErrAlreadyKnown:         "already known",
		ErrUnderpriced:          "transaction underpriced",
		ErrReplaceUnderpriced:   "replacement transaction underpriced",
		ErrAccountLimitExceeded: "account limit exceeded",
		ErrFeeCapVeryHigh:       "max fee per gas higher than 2^256-1",
		ErrTipVeryHigh:          "max priority fee per gas higher than 2^256-1",
		ErrTipAboveFeeCap:       "max priority fee per gas higher than max fee per gas",
		ErrNonceMax:             "nonce has max value",
		ErrNonceTooLow:          "nonce too low",
		ErrNonceTooHigh:         "nonce too high",
		ErrIntrinsicGas:         "intrinsic gas too low",
		ErrInsufficientFunds:    "insufficient funds for gas * price + value",
		ErrFeeCapTooLow:         "max fee per gas less than block base fee",
		ErrSenderNoEOA:          "sender not an eoa",
		ErrGasLimitReached:      "gas limit reached",
		ErrPoolFull:             "txpool is full",
		ErrUnprotected:          "only replay-protected (EIP-155) transactions allowed over RPC",
	} {
		if string(kind) != theirs {
			t.Errorf("%q, go-ethereum says %q", kind, theirs)
		}
	}
}

func TestCheckTransaction(t *testing.T) {
	t.Parallel()
	cfg := NewConfig(testSpec(t, 0), crypto.Hash{})
	k := key(t, 0)
	huge := new(big.Int).Lsh(big.NewInt(1), 256)
	good := func() *types.DynamicFeeTx { return dynamic(0, proposer, coins(1), 1, 2) }
	with := func(f func(*types.DynamicFeeTx)) *types.Transaction {
		tx := good()
		f(tx)
		return types.NewTx(tx)
	}
	if err := CheckTransaction(cfg, sign(t, k, good())); err != nil {
		t.Fatal(err)
	}
	if err := CheckTransaction(cfg, sign(t, k, legacy(0, proposer, coins(1), 1))); err != nil {
		t.Fatal(err)
	}
	unprotected, err := types.NewTx(legacy(0, proposer, coins(1), 1)).WithSignature(types.HomesteadSigner{}, make([]byte, 65))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		tx   *types.Transaction
		kind ErrorKind
	}{
		{"blob", types.NewTx(&types.BlobTx{}), ErrTypeNotSupported},
		{"set code", types.NewTx(&types.SetCodeTx{}), ErrTypeNotSupported},
		{"size", with(func(tx *types.DynamicFeeTx) { tx.Data = make([]byte, MaxTransactionBytes) }), ErrOversizedData},
		{"unprotected", unprotected, ErrUnprotected},
		{"chain id", with(func(tx *types.DynamicFeeTx) { tx.ChainID = big.NewInt(1) }), ErrInvalidChainID},
		{"chain id of 300 bits", with(func(tx *types.DynamicFeeTx) { tx.ChainID = new(big.Int).Lsh(huge, 44) }), ErrInvalidChainID},
		{"legacy chain id", signFor(t, 1, k, legacy(0, proposer, coins(1), 1)), ErrInvalidChainID},
		{"creation", with(func(tx *types.DynamicFeeTx) { tx.To = nil }), ErrContractCreation},
		{"gas limit", with(func(tx *types.DynamicFeeTx) { tx.Gas = cfg.Rules.GasLimit + 1 }), ErrGasLimit},
		{"nonce", with(func(tx *types.DynamicFeeTx) { tx.Nonce = math.MaxUint64 }), ErrNonceMax},
		{"negative value", with(func(tx *types.DynamicFeeTx) { tx.Value = big.NewInt(-1) }), ErrNegativeValue},
		{"fee cap", with(func(tx *types.DynamicFeeTx) { tx.GasFeeCap = huge }), ErrFeeCapVeryHigh},
		{"tip", with(func(tx *types.DynamicFeeTx) { tx.GasTipCap = huge }), ErrTipVeryHigh},
		{"tip above fee cap", with(func(tx *types.DynamicFeeTx) { tx.GasTipCap = big.NewInt(3) }), ErrTipAboveFeeCap},
		{"value", with(func(tx *types.DynamicFeeTx) { tx.Value = huge }), ErrInsufficientFunds},
		{"gas", with(func(tx *types.DynamicFeeTx) { tx.Gas = 20_999 }), ErrIntrinsicGas},
		{"gas of calldata", with(func(tx *types.DynamicFeeTx) { tx.Data, tx.Gas = []byte{0, 1}, 21_019 }), ErrIntrinsicGas},
	} {
		err := CheckTransaction(cfg, c.tx)
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		} else if !strings.HasPrefix(err.Error(), string(c.kind)) {
			t.Errorf("%s: %q does not begin with %q", c.name, err, c.kind)
		}
	}
}

func TestIntrinsicGas(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for i := range 200 {
		tx := randomTransaction(t, r, key(t, 0), uint64(i))
		want := uint64(21_000)
		for _, b := range tx.Data() {
			if b == 0 {
				want += 4
			} else {
				want += 16
			}
		}
		for _, tuple := range tx.AccessList() {
			want += 2400 + 1900*uint64(len(tuple.StorageKeys))
		}
		if got := IntrinsicGas(tx); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	k, s := key(t, 0), NewSigner(testChainID)
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	huge := new(big.Int).Lsh(big.NewInt(1), 256)
	good := sign(t, k, dynamic(0, proposer, coins(1), 1, 1))
	_, gr, gs := good.RawSignatureValues()
	raw := func(v, r, s *big.Int) *types.Transaction {
		tx := dynamic(0, proposer, coins(1), 1, 1)
		tx.V, tx.R, tx.S = v, r, s
		return types.NewTx(tx)
	}
	old := func(v int64) *types.Transaction {
		tx := legacy(0, proposer, coins(1), 1)
		tx.V, tx.R, tx.S = big.NewInt(v), gr, gs
		return types.NewTx(tx)
	}
	one := big.NewInt(1)
	for _, c := range []struct {
		name string
		tx   *types.Transaction
		kind ErrorKind
	}{
		{"blob", types.NewTx(&types.BlobTx{}), ErrTypeNotSupported},
		{"unsigned", types.NewTx(dynamic(0, proposer, coins(1), 1, 1)), ErrInvalidSender},
		{"v of 2", raw(big.NewInt(2), gr, gs), ErrInvalidSender},
		{"v of 27", raw(big.NewInt(27), gr, gs), ErrInvalidSender},
		{"r of zero", raw(one, new(big.Int), gs), ErrInvalidSender},
		{"s of zero", raw(one, gr, new(big.Int)), ErrInvalidSender},
		{"r of the order", raw(one, order, gs), ErrInvalidSender},
		{"high s", raw(one, gr, new(big.Int).Sub(order, gs)), ErrInvalidSender},
		{"r of 257 bits", raw(one, huge, gs), ErrInvalidSender},
		{"other chain", signFor(t, 5, k, &types.DynamicFeeTx{ChainID: big.NewInt(5), To: &proposer}), ErrInvalidChainID},
		{"legacy of another chain", signFor(t, 5, k, legacy(0, proposer, coins(1), 1)), ErrInvalidChainID},
		{"legacy 27", old(27), ErrUnprotected},
		{"legacy 28", old(28), ErrUnprotected},
		{"legacy 0", old(0), ErrInvalidSender},
		{"legacy 34", old(34), ErrInvalidSender},
		{"legacy 35", old(35), ErrInvalidChainID},
		{"legacy one too many", old(37 + 2*testChainID), ErrInvalidChainID},
	} {
		if _, err := Sender(s, c.tx); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	if s.Equal(NewSigner(testChainID+1)) || !s.Equal(NewSigner(testChainID)) || s.Equal(types.NewLondonSigner(big.NewInt(testChainID))) {
		t.Error("Equal is wrong: a cached sender would be used for the wrong chain")
	}
}

func TestNextBaseFee(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for range 2000 {
		rules := testRules()
		f := &rules.Fees
		f.GasTarget, f.BaseFeeChangeDenominator = 1+r.Uint64N(20_000_000), 1+r.Uint64N(16)
		f.MinBaseFee = uint256.NewInt(r.Uint64N(1000))
		fee := new(big.Int).SetUint64(r.Uint64() >> r.IntN(64))
		used := r.Uint64N(2*f.GasTarget + 1)
		want := referenceBaseFee(fee, used, f.GasTarget, f.BaseFeeChangeDenominator, f.MinBaseFee.ToBig())
		got := NextBaseFee(&rules, &types.Header{BaseFee: fee, GasUsed: used})
		if got.ToBig().Cmp(want) != 0 {
			t.Fatalf("base fee after %d with %d of %d gas is %d, want %d", fee, used, f.GasTarget, got, want)
		}
	}
	rules := testRules()
	rules.Fees.Free = true
	if got := NextBaseFee(&rules, &types.Header{BaseFee: big.NewInt(99)}); !got.IsZero() {
		t.Errorf("base fee of a free network is %d", got)
	}
	rules = testRules()
	top := new(uint256.Int).SetAllOne()
	if got := NextBaseFee(&rules, &types.Header{BaseFee: top.ToBig(), GasUsed: 30_000_000}); !got.Eq(top) {
		t.Errorf("base fee went over the top to %d", got)
	}
}

// referenceBaseFee is EIP-1559's text.
func referenceBaseFee(fee *big.Int, used, target, denominator uint64, least *big.Int) *big.Int {
	next := new(big.Int).Set(fee)
	t, d := new(big.Int).SetUint64(target), new(big.Int).SetUint64(denominator)
	delta := new(big.Int).SetUint64(max(used, target) - min(used, target))
	delta.Mul(delta, fee).Div(delta, t).Div(delta, d)
	switch {
	case used > target:
		if delta.Sign() == 0 {
			delta.SetInt64(1)
		}
		next.Add(next, delta)
	case used < target:
		next.Sub(next, delta)
	}
	if next.Cmp(least) < 0 {
		next.Set(least)
	}
	return next
}

func TestEffectiveTip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tip, feeCap, base, want uint64
		ok                      bool
	}{
		{2, 10, 5, 2, true}, {7, 10, 5, 5, true}, {0, 5, 5, 0, true}, {1, 4, 5, 0, false},
	} {
		tx := types.NewTx(dynamic(0, crypto.Address{}, coins(0), c.tip, c.feeCap))
		tip, ok := EffectiveTip(tx, uint256.NewInt(c.base))
		if ok != c.ok || tip.Uint64() != c.want {
			t.Errorf("%+v: tip %d %v", c, &tip, ok)
		}
		rules := testRules()
		if price := EffectiveGasPrice(&rules, tx, new(big.Int).SetUint64(c.base)); ok && price.Uint64() != c.base+c.want {
			t.Errorf("%+v: price %d", c, price)
		}
	}
}
