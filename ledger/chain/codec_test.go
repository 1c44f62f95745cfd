package chain

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/internal/randtest"
)

// randomTransaction is one of any type with fields of any form.
func randomTransaction(t testing.TB, r *rand.Rand, k *crypto.PrivateKey, nonce uint64) *types.Transaction {
	to, value := crypto.Address(randomBytes(r, 20)), new(big.Int).SetBytes(randomBytes(r, r.IntN(9)))
	fee, data := new(big.Int).SetUint64(r.Uint64N(1e12)), randomBytes(r, r.IntN(200))
	list := types.AccessList{}
	for range r.IntN(3) {
		tuple := types.AccessTuple{Address: crypto.Address(randomBytes(r, 20)), StorageKeys: []crypto.Hash{}}
		for range r.IntN(3) {
			tuple.StorageKeys = append(tuple.StorageKeys, crypto.Hash(randomBytes(r, 32)))
		}
		list = append(list, tuple)
	}
	gas := uint64(100_000)
	switch r.IntN(3) {
	case 0:
		return sign(t, k, &types.LegacyTx{Nonce: nonce, GasPrice: fee, Gas: gas, To: &to, Value: value, Data: data})
	case 1:
		return sign(t, k, &types.AccessListTx{ChainID: big.NewInt(testChainID), Nonce: nonce, GasPrice: fee, Gas: gas, To: &to, Value: value, Data: data, AccessList: list})
	default:
		return sign(t, k, &types.DynamicFeeTx{
			ChainID: big.NewInt(testChainID), Nonce: nonce, GasTipCap: new(big.Int).Rsh(fee, 1),
			GasFeeCap: fee, Gas: gas, To: &to, Value: value, Data: data, AccessList: list,
		})
	}
}

func TestAccountEncodingIsGoEthereums(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for range 1000 {
		a := Account{
			Nonce: r.Uint64() >> r.IntN(64), Balance: new(uint256.Int).SetBytes(randomBytes(r, r.IntN(33))),
			StorageRoot: crypto.Hash(randomBytes(r, 32)), CodeHash: crypto.Hash(randomBytes(r, 32)),
		}
		want, err := rlp.EncodeToBytes(&types.StateAccount{Nonce: a.Nonce, Balance: a.Balance, Root: a.StorageRoot, CodeHash: a.CodeHash[:]})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Encode(); !bytes.Equal(got, want) {
			t.Fatalf("encoded %x, want %x", got, want)
		}
		back, err := DecodeAccount(want)
		if err != nil || back.Nonce != a.Nonce || !back.Balance.Eq(a.Balance) || back.StorageRoot != a.StorageRoot || back.CodeHash != a.CodeHash {
			t.Fatalf("decoded %+v, %v, want %+v", back, err, a)
		}
	}
}

func TestDecodeAccountRefuses(t *testing.T) {
	t.Parallel()
	good := NewAccount(coins(3)).Encode()
	encode := func(v ...any) []byte {
		b, err := rlp.EncodeToBytes(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	h := make([]byte, 32)
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"no list":            {0x80},
		"cut":                good[:len(good)-1],
		"trailing":           append(bytes.Clone(good), 0),
		"leading zero":       encode([]byte{0, 1}, uint64(1), h, h),
		"balance of 33":      encode(uint64(1), bytes.Repeat([]byte{1}, 33), h, h),
		"balance with zero":  encode(uint64(1), []byte{0, 1}, h, h),
		"short storage root": encode(uint64(1), uint64(1), h[1:], h),
		"three fields":       encode(uint64(1), uint64(1), h),
		"five fields":        encode(uint64(1), uint64(1), h, h, h),
	} {
		if _, err := DecodeAccount(b); !errors.Is(err, ErrAccountEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSlotEncoding(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for range 200 {
		v := crypto.Hash(new(uint256.Int).SetBytes(randomBytes(r, r.IntN(33))).Bytes32())
		back, err := DecodeSlot(EncodeSlot(v))
		if err != nil || back != v {
			t.Fatalf("%s came back as %s, %v", v, back, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty string": {0x80}, "zero": {0x00}, "leading zero": {0x82, 0, 1}, "list": {0xc0},
		"trailing": {1, 2}, "33 bytes": append([]byte{0xa1}, bytes.Repeat([]byte{1}, 33)...),
	} {
		if _, err := DecodeSlot(b); !errors.Is(err, ErrSlotEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListRootIsGoEthereums(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	k := key(t, 0)
	var txs types.Transactions
	var receipts types.Receipts
	for i := range 300 {
		txs = append(txs, randomTransaction(t, r, k, uint64(i)))
		receipt := &types.Receipt{Type: txs[i].Type(), Status: uint64(i % 2), CumulativeGasUsed: r.Uint64() >> r.IntN(64)}
		if r.IntN(5) == 0 {
			receipt.Logs = []*types.Log{{Address: proposer, Topics: []crypto.Hash{{1}}, Data: randomBytes(r, 40)}}
			receipt.Bloom = types.CreateBloom(receipt)
		}
		receipts = append(receipts, receipt)
	}
	for _, n := range []int{0, 1, 2, 15, 16, 17, 127, 128, 129, 130, 255, 256, 257, 300} {
		if got, want := types.DeriveSha(txs[:n], new(listRoot)), types.DeriveSha(txs[:n], trie.NewStackTrie(nil)); got != want {
			t.Errorf("root of %d transactions is %s, want %s", n, got, want)
		}
		if got, want := types.DeriveSha(receipts[:n], new(listRoot)), types.DeriveSha(receipts[:n], trie.NewStackTrie(nil)); got != want {
			t.Errorf("root of %d receipts is %s, want %s", n, got, want)
		}
		if got, want := receiptsRoot(receipts[:n]), types.DeriveSha(receipts[:n], trie.NewStackTrie(nil)); got != want {
			t.Errorf("receiptsRoot of %d is %s, want %s", n, got, want)
		}
	}
}

func TestTransactionRoundTrip(t *testing.T) {
	t.Parallel()
	r := randtest.New(t, "./ledger/chain")
	for i := range 300 {
		tx := randomTransaction(t, r, key(t, 0), uint64(i))
		raw, err := tx.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeTransaction(raw)
		if err != nil {
			t.Fatal(err)
		}
		if back.Hash() != tx.Hash() || !bytes.Equal(EncodeTransaction(back), raw) {
			t.Fatalf("%x came back as %x", raw, EncodeTransaction(back))
		}
		from, err := Sender(NewSigner(testChainID), back)
		want, err2 := types.NewLondonSigner(big.NewInt(testChainID)).Sender(tx)
		if err != nil || err2 != nil || from != want || from != key(t, 0).Address() {
			t.Fatalf("sender %s %v, want %s %v", from, err, want, err2)
		}
	}
}

// The example of EIP-155.
func TestSenderOfAPublishedTransaction(t *testing.T) {
	t.Parallel()
	raw := hexutil.MustDecode("0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83")
	tx, err := DecodeTransaction(raw)
	if err != nil {
		t.Fatal(err)
	}
	if from, err := Sender(NewSigner(1), tx); err != nil || from.Hex() != "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" {
		t.Errorf("sender %s, %v", from, err)
	}
	if tx.Hash().Hex() != "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788" {
		t.Errorf("hash %s", tx.Hash())
	}
}

func TestDecodeTransactionRefuses(t *testing.T) {
	t.Parallel()
	k := key(t, 0)
	good := EncodeTransaction(sign(t, k, dynamic(0, proposer, coins(1), 1, 1)))
	old := EncodeTransaction(sign(t, k, legacy(0, proposer, coins(1), 1)))
	list, _, _ := rlp.SplitList(old)
	for _, c := range []struct {
		name string
		raw  []byte
		kind ErrorKind
	}{
		{"nothing", nil, ErrTransactionEncoding},
		{"type 0 as a typed one", append([]byte{0}, old...), ErrTypeNotSupported},
		{"type 3", append([]byte{3}, good[1:]...), ErrTypeNotSupported},
		{"type 4", append([]byte{4}, good[1:]...), ErrTypeNotSupported},
		{"type 127", append([]byte{0x7f}, good[1:]...), ErrTypeNotSupported},
		{"a string", append([]byte{0xb8, byte(len(good))}, good...), ErrTransactionEncoding},
		{"type only", good[:1], ErrTransactionEncoding},
		{"cut", good[:len(good)-1], ErrTransactionEncoding},
		{"trailing", append(bytes.Clone(good), 0), ErrTransactionEncoding},
		{"legacy cut", old[:len(old)-1], ErrTransactionEncoding},
		{"legacy trailing", append(bytes.Clone(old), 0), ErrTransactionEncoding},
		{"long form of a length", append([]byte{0xf9, 0, byte(len(list))}, list...), ErrTransactionEncoding},
		{"too long", append([]byte{2}, make([]byte, MaxTransactionBytes)...), ErrOversizedData},
	} {
		if _, err := DecodeTransaction(c.raw); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
}

func testBlock(t testing.TB) (*memory, *types.Block) {
	m := newMemory(t, testSpec(t, 3))
	block, _ := m.build(t,
		sign(t, key(t, 0), dynamic(0, key(t, 5).Address(), coins(1), 1e9, 3e9)),
		sign(t, key(t, 1), legacy(0, key(t, 6).Address(), coins(2), 2e9)),
		sign(t, key(t, 2), &types.AccessListTx{
			ChainID: big.NewInt(testChainID), GasPrice: big.NewInt(2e9), Gas: 50_000, To: &proposer, Value: big.NewInt(5),
			Data: []byte{0, 1, 2}, AccessList: types.AccessList{{Address: proposer, StorageKeys: []crypto.Hash{{1}}}},
		}))
	return m, block
}

func TestBlockRoundTrip(t *testing.T) {
	t.Parallel()
	m, block := testBlock(t)
	raw := EncodeBlock(block)
	back, err := DecodeBlock(raw, &m.cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	if back.Hash() != block.Hash() || !bytes.Equal(EncodeBlock(back), raw) || len(back.Transactions()) != 3 {
		t.Fatal("block came back changed")
	}
	var theirs types.Block
	if err := rlp.DecodeBytes(raw, &theirs); err != nil || theirs.Hash() != block.Hash() {
		t.Fatalf("go-ethereum reads %s, %v", theirs.Hash(), err)
	}
	header, err := DecodeHeader(EncodeHeader(block.Header()))
	if err != nil || header.Hash() != block.Hash() || crypto.Keccak256(EncodeHeader(header)) != block.Hash() {
		t.Fatalf("header came back as %s, %v", header.Hash(), err)
	}
	if n := len(EncodeHeader(block.Header())); n > MaxHeaderBytes {
		t.Fatalf("header of %d bytes", n)
	}
}

func TestDecodeBlockRefuses(t *testing.T) {
	t.Parallel()
	m, block := testBlock(t)
	raw, header := EncodeBlock(block), block.Header()
	rlpOf := func(v ...any) []byte {
		b, err := rlp.EncodeToBytes(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	withHeader := func(f func(*types.Header)) []byte {
		h := types.CopyHeader(header)
		f(h)
		return rlpOf(h, block.Transactions(), []*types.Header{})
	}
	small, few := m.cfg.Rules, m.cfg.Rules
	small.BlockBytes, few.BlockTransactions = uint64(len(raw))-1, 2
	blob := types.NewTx(&types.BlobTx{Value: uint256.NewInt(1)})
	old := EncodeTransaction(block.Transactions()[1])
	none := []*types.Header{}
	rules := &m.cfg.Rules
	for _, c := range []struct {
		name string
		raw  []byte
		kind ErrorKind
	}{
		{"nothing", nil, ErrBlockEncoding},
		{"a string", []byte{0x83, 1, 2, 3}, ErrBlockEncoding},
		{"cut", raw[:len(raw)-1], ErrBlockEncoding},
		{"trailing", append(bytes.Clone(raw), 0), ErrBlockEncoding},
		{"header only", rlpOf(header), ErrBlockEncoding},
		{"no uncles field", rlpOf(header, block.Transactions()), ErrBlockEncoding},
		{"withdrawals", rlpOf(header, block.Transactions(), none, []any{}), ErrBlockEncoding},
		{"uncle", rlpOf(header, block.Transactions(), []*types.Header{header}), ErrUncles},
		{"header without base fee", withHeader(func(h *types.Header) { h.BaseFee = nil }), ErrHeaderEncoding},
		{"header of a later fork", withHeader(func(h *types.Header) { h.WithdrawalsHash = &crypto.Hash{} }), ErrHeaderEncoding},
		{"number of 65 bits", withHeader(func(h *types.Header) { h.Number = new(big.Int).Lsh(big.NewInt(1), 64) }), ErrHeaderEncoding},
		{"base fee of 257 bits", withHeader(func(h *types.Header) { h.BaseFee = new(big.Int).Lsh(big.NewInt(1), 256) }), ErrHeaderEncoding},
		{"huge extra", withHeader(func(h *types.Header) { h.Extra = make([]byte, 200) }), ErrHeaderEncoding},
		{"extra of 20", withHeader(func(h *types.Header) { h.Extra = h.Extra[:20] }), ErrExtra},
		{"blob transaction", rlpOf(header, []*types.Transaction{blob}, none), ErrTypeNotSupported},
		{"legacy in a string", rlpOf(header, [][]byte{old}, none), ErrTransactionEncoding},
		{"empty string", rlpOf(header, [][]byte{{}}, none), ErrTransactionEncoding},
		{"single byte", rlpOf(header, [][]byte{{2}}, none), ErrTransactionEncoding},
	} {
		if _, err := DecodeBlock(c.raw, rules); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	if _, err := DecodeBlock(raw, &small); !errors.Is(err, ErrBlockBytes) {
		t.Errorf("one byte too many: %v", err)
	}
	if _, err := DecodeBlock(raw, &few); !errors.Is(err, ErrBlockTransactions) {
		t.Errorf("one transaction too many: %v", err)
	}
	var inv *InvalidError
	if _, err := DecodeBlock(raw[1:], rules); !errors.As(err, &inv) {
		t.Errorf("%T is no *InvalidError", err)
	}
}

func TestExtra(t *testing.T) {
	t.Parallel()
	e := Extra{Version: 1, Epoch: 0x01020304, View: 0x05060708090a0b0c, TimestampMillis: 0x0d0e0f1011121314}
	want := []byte{1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	if got := e.Encode(); !bytes.Equal(got, want) {
		t.Fatalf("encoded %x", got)
	}
	if back, err := DecodeExtra(&types.Header{Extra: want}); err != nil || back != e {
		t.Fatalf("decoded %+v, %v", back, err)
	}
	late := Extra{Version: 1, TimestampMillis: MaxTimestampMillis + 1}
	last := Extra{Version: 1, TimestampMillis: MaxTimestampMillis}
	if back, err := DecodeExtra(&types.Header{Extra: last.Encode()}); err != nil || back != last {
		t.Errorf("the last time there is: %+v, %v", back, err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "long": append(bytes.Clone(want), 0), "version 2": append([]byte{2}, want[1:]...), "late": late.Encode(),
	} {
		if _, err := DecodeExtra(&types.Header{Extra: b}); !errors.Is(err, ErrExtra) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
