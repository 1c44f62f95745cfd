package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/trie"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// threeKinds puts one transaction of each type into a final block.
func threeKinds(f *fixture) (*types.Block, types.Transactions) {
	f.t.Helper()
	txs := types.Transactions{legacy(key(0), 0), accessListTx(key(1), 0), transfer(key(2), 0)}
	f.add(txs...)
	b := f.seal()
	if len(b.Transactions()) != len(txs) {
		f.t.Fatalf("%d of %d transactions in the block", len(b.Transactions()), len(txs))
	}
	return b, txs
}

// TestEthclient drives every method that go-ethereum's own client has and this
// ledger can answer.
func TestEthclient(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		name := "fees"
		if free {
			name = "free"
		}
		t.Run(name, func(t *testing.T) { t.Parallel(); ethclientSuite(t, free) })
	}
}

func ethclientSuite(t *testing.T, free bool) {
	f := newFixture(t, options{free: free})
	ctx, c := context.Background(), f.eth()
	block, txs := threeKinds(f)

	id, err := c.ChainID(ctx)
	check(t, err)
	equal(t, "chain id", id.Uint64(), uint64(testChainID))
	n, err := c.BlockNumber(ctx)
	check(t, err)
	equal(t, "height", n, block.NumberU64())
	for _, tag := range []int64{1, int64(rpc.LatestBlockNumber), int64(rpc.SafeBlockNumber), int64(rpc.FinalizedBlockNumber), int64(rpc.PendingBlockNumber)} {
		b, err := c.BlockByNumber(ctx, big.NewInt(tag))
		check(t, err)
		equal(t, "block", b.Hash(), block.Hash()) // recomputed by the client
	}
	b, err := c.BlockByHash(ctx, block.Hash())
	check(t, err)
	equal(t, "transactions root", types.DeriveSha(b.Transactions(), trie.NewListHasher()), block.TxHash())
	_, err = c.HeaderByNumber(ctx, big.NewInt(9))
	equal(t, "no such block", err, ethereum.NotFound)
	zero, err := c.HeaderByNumber(ctx, big.NewInt(0))
	check(t, err)
	equal(t, "block 0", zero.Hash(), f.ledger.Genesis().Hash())

	for _, tx := range txs {
		clientTransaction(t, f, block, tx)
	}
	receipts, err := c.BlockReceipts(ctx, rpc.BlockNumberOrHashWithHash(block.Hash(), true))
	check(t, err)
	equal(t, "receipts root", types.DeriveSha(types.Receipts(receipts), trie.NewListHasher()), block.ReceiptHash())

	balance, err := c.BalanceAt(ctx, someone, nil)
	check(t, err)
	equal(t, "balance", balance.Int64(), int64(6))
	for _, at := range []rpc.BlockNumberOrHash{rpc.BlockNumberOrHashWithNumber(0), rpc.BlockNumberOrHashWithHash(f.ledger.Genesis().Hash(), true)} {
		var old hexutil.Big
		check(t, f.dial().Call(&old, "eth_getBalance", someone, at))
		equal(t, "balance at block 0", old.ToInt().Sign(), 0)
	}
	nonce, err := c.NonceAt(ctx, key(0).Address(), big.NewInt(1))
	check(t, err)
	equal(t, "nonce", nonce, uint64(1))

	price, err := c.SuggestGasPrice(ctx)
	check(t, err)
	tip, err := c.SuggestGasTipCap(ctx)
	check(t, err)
	equal(t, "free", price.Sign() == 0 && tip.Sign() == 0, free)
	gas, err := c.EstimateGas(ctx, ethereum.CallMsg{From: key(0).Address(), To: &someone, Value: big.NewInt(1), Data: []byte{0, 1}})
	check(t, err)
	equal(t, "gas", gas, uint64(21_020))
	out, err := c.CallContract(ctx, ethereum.CallMsg{To: &someone, Data: []byte{1, 2, 3, 4}}, nil)
	check(t, err)
	equal(t, "answer", len(out), 0)
	code, err := c.CodeAt(ctx, chain.RegistryAddress, nil)
	check(t, err)
	equal(t, "code", code, []byte{0xfe})
	slot, err := c.StorageAt(ctx, chain.RegistryAddress, crypto.Hash{31: 3}, nil)
	check(t, err)
	equal(t, "members", new(big.Int).SetBytes(slot).Int64(), int64(2))
	progress, err := c.SyncProgress(ctx)
	check(t, err)
	equal(t, "in step", progress == nil, true)
	peers, err := c.PeerCount(ctx)
	check(t, err)
	equal(t, "peers", peers, uint64(1))
	network, err := c.NetworkID(ctx)
	check(t, err)
	equal(t, "network", network.Uint64(), uint64(testChainID))
	logs, err := c.FilterLogs(ctx, ethereum.FilterQuery{FromBlock: big.NewInt(0), Addresses: []crypto.Address{someone}, Topics: [][]crypto.Hash{nil, {{1}}}})
	check(t, err)
	equal(t, "logs", len(logs), 0)
	uncles := f.call("eth_getUncleCountByBlockNumber", "latest")
	equal(t, "uncles", uncles, any("0x0"))

	tx := transfer(key(3), 0)
	check(t, c.SendTransaction(ctx, tx))
	pending, err := c.PendingNonceAt(ctx, key(3).Address())
	check(t, err)
	equal(t, "pending nonce", pending, uint64(1))
	_, waits, err := c.TransactionByHash(ctx, tx.Hash())
	check(t, err)
	equal(t, "waits", waits, true)
	_, err = c.TransactionReceipt(ctx, tx.Hash())
	equal(t, "no receipt yet", err, ethereum.NotFound)
}

func clientTransaction(t *testing.T, f *fixture, block *types.Block, tx *types.Transaction) {
	t.Helper()
	ctx, c := context.Background(), f.eth()
	got, waits, err := c.TransactionByHash(ctx, tx.Hash())
	check(t, err)
	equal(t, "hash", got.Hash(), tx.Hash())
	equal(t, "waits", waits, false)
	r, err := c.TransactionReceipt(ctx, tx.Hash())
	check(t, err)
	equal(t, "receipt", [3]uint64{r.Status, uint64(r.Type), r.BlockNumber.Uint64()}, [3]uint64{1, uint64(tx.Type()), 1})
	equal(t, "price", r.EffectiveGasPrice, chain.EffectiveGasPrice(&f.spec.Rules, tx, block.BaseFee()))
	at, err := c.TransactionInBlock(ctx, block.Hash(), r.TransactionIndex)
	check(t, err)
	equal(t, "in block", at.Hash(), tx.Hash())
	from, err := c.TransactionSender(ctx, got, block.Hash(), r.TransactionIndex)
	check(t, err)
	want, err := types.Sender(f.signer, tx)
	check(t, err)
	equal(t, "sender", from, want)
	fields := f.call("eth_getTransactionReceipt", tx.Hash()).(map[string]any)
	if v, there := fields["contractAddress"]; !there || v != nil {
		t.Errorf("contractAddress is %v, want null", v)
	}
	equal(t, "logs", fields["logs"], any([]any{}))
}

// TestHeaderHash computes the hash from the served fields alone, in each place
// that serves a header.
func TestHeaderHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	block, _ := threeKinds(f)
	finality := f.call("cairn_finality", "latest").(map[string]any)
	for name, fields := range map[string]any{
		"eth_getBlockByNumber":     f.call("eth_getBlockByNumber", "latest", false),
		"eth_getBlockByHash":       f.call("eth_getBlockByHash", block.Hash(), true),
		"eth_getHeaderByNumber":    f.call("eth_getHeaderByNumber", "0x1"),
		"eth_getHeaderByHash":      f.call("eth_getHeaderByHash", block.Hash()),
		"erigon_getHeaderByNumber": f.call("erigon_getHeaderByNumber", "0x1"),
		"cairn_finality":           finality["header"],
	} {
		h := fields.(map[string]any)
		for _, later := range []string{"withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash", "totalDifficulty"} {
			if _, there := h[later]; there {
				t.Errorf("%s serves %s, which a London block has not", name, later)
			}
		}
		if _, there := h["baseFeePerGas"]; !there {
			t.Errorf("%s serves no base fee", name)
		}
		equal(t, name, hashOfFields(t, h), block.Hash())
		equal(t, name+" hash", h["hash"], any(block.Hash().Hex()))
	}
}

// hashOfFields is keccak256(RLP) of the sixteen London fields as JSON has them.
func hashOfFields(t *testing.T, h map[string]any) crypto.Hash {
	t.Helper()
	var list []any
	for _, name := range []string{
		"parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
		"difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas",
	} {
		s := h[name].(string)
		switch name {
		case "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas":
			list = append(list, hexutil.MustDecodeBig(s))
		default:
			list = append(list, hexutil.MustDecode(s))
		}
	}
	raw, err := rlp.EncodeToBytes(list)
	check(t, err)
	return crypto.Keccak256(raw)
}

// TestProof checks eth_getProof and cairn_proof with go-ethereum's trie against
// the state root of the header that is served, for accounts that exist, do not
// exist and have storage.
func TestProof(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	threeKinds(f)
	root := crypto.Hash(hexutil.MustDecode(f.call("eth_getBlockByNumber", "latest", false).(map[string]any)["stateRoot"].(string)))
	for _, addr := range []crypto.Address{key(0).Address(), someone, {0x99}, chain.RegistryAddress} {
		keys := []string{"0x0", "0x" + strings.Repeat("0", 63) + "3", "0xffff"}
		var p accountProof
		check(t, f.dial().Call(&p, "eth_getProof", addr, keys, "latest"))
		value := verify(t, root, addr[:], p.AccountProof)
		if addr == (crypto.Address{0x99}) {
			equal(t, "absent", len(value), 0)
			continue
		}
		var acc types.StateAccount
		check(t, rlp.DecodeBytes(value, &acc))
		equal(t, "nonce", acc.Nonce, uint64(p.Nonce))
		equal(t, "balance", acc.Balance.ToBig(), p.Balance.ToInt())
		equal(t, "storage", acc.Root, p.StorageHash)
		for i, s := range p.StorageProof {
			if acc.Root == types.EmptyRootHash {
				equal(t, "value", s.Value.ToInt().Sign(), 0)
				continue
			}
			slot, err := parseSlot(keys[i])
			check(t, err)
			var number []byte
			if v := verify(t, acc.Root, slot[:], s.Proof); len(v) > 0 {
				check(t, rlp.DecodeBytes(v, &number))
			}
			equal(t, "slot "+keys[i], new(big.Int).SetBytes(number), s.Value.ToInt())
		}
		equal(t, "key names", []string{p.StorageProof[0].Key, p.StorageProof[1].Key, p.StorageProof[2].Key}, []string{"0x0", keys[1], "0xffff"})
		var whole proof
		check(t, f.dial().Call(&whole, "cairn_proof", addr))
		equal(t, "cairn_proof", verify(t, whole.Finality.Header.StateRoot, addr[:], whole.Account.AccountProof), value)
	}
	code, text := f.callError("eth_getProof", someone, []string{"0x" + strings.Repeat("1", 65)}, "latest")
	equal(t, "long key", code, codeInvalidParams)
	contains(t, text, "storage key too long")
}

func verify(t *testing.T, root crypto.Hash, key []byte, nodes []hexutil.Bytes) []byte {
	t.Helper()
	db := memorydb.New()
	for _, n := range nodes {
		check(t, db.Put(crypto.Keccak256(n).Bytes(), n))
	}
	value, err := trie.VerifyProof(root, crypto.Keccak256(key).Bytes(), db)
	check(t, err)
	return value
}

// TestFeeHistory: one base fee more than blocks, rewards only when asked for.
func TestFeeHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	f.seal()
	threeKinds(f)
	f.seal()
	ctx, c := context.Background(), f.eth()
	h, err := c.FeeHistory(ctx, 2, big.NewInt(2), []float64{0, 50, 100})
	check(t, err)
	equal(t, "oldest", h.OldestBlock.Int64(), int64(1))
	equal(t, "lengths", [3]int{len(h.BaseFee), len(h.GasUsedRatio), len(h.Reward)}, [3]int{3, 2, 2})
	equal(t, "rewards of an empty block", h.Reward[0][2].Sign(), 0)
	base := f.ledger.Head().BaseFee
	equal(t, "rewards", h.Reward[1], []*big.Int{gwei(1), new(big.Int).Sub(gwei(10), base), new(big.Int).Sub(gwei(10), base)})
	bare := f.call("eth_feeHistory", 1, "latest", []float64{}).(map[string]any)
	if _, there := bare["reward"]; there {
		t.Error("reward without percentiles")
	}
	all, err := c.FeeHistory(ctx, 5000, nil, nil)
	check(t, err)
	equal(t, "all blocks", len(all.BaseFee), 5)
	for _, bad := range []struct {
		params []any
		text   string
	}{
		{[]any{1, "latest", []float64{101}}, "invalid reward percentile: 101.000000"},
		{[]any{1, "latest", []float64{50, 10}}, "invalid reward percentile: #0:50.000000 >= #1:10.000000"},
		{[]any{1, "0x63", []float64{}}, "request beyond head block: requested 99, head 3"},
	} {
		_, text := f.callError("eth_feeHistory", bad.params...)
		equal(t, "text", text, bad.text)
	}
}

// TestPendingAfterForeignBlock: the pending nonce counts contiguous transactions
// only, and is never behind the ledger.
func TestPendingAfterForeignBlock(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	f.add(transfer(key(0), 0), transfer(key(0), 1), transfer(key(0), 3))
	n, err := f.eth().PendingNonceAt(context.Background(), key(0).Address())
	check(t, err)
	equal(t, "contiguous only", n, uint64(2))
	b := f.build(f.ledger.HeadInfo().Hash)
	finals, err := f.ledger.Finalize(b.Hash(), certificate(b), ledger.Floor{View: f.view}, nil)
	check(t, err)
	equal(t, "final", len(finals), 1)
	// The pool was not told yet.
	n, err = f.eth().PendingNonceAt(context.Background(), key(0).Address())
	check(t, err)
	equal(t, "pending", n, uint64(2))
	n, err = f.eth().NonceAt(context.Background(), key(0).Address(), nil)
	check(t, err)
	equal(t, "latest", n, uint64(2))
}

// TestSendSync: the receipt when it is final, code 4 with the hash when not.
func TestSendSync(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	done := make(chan error, 1)
	tx := transfer(key(0), 0)
	var r receipt
	c := f.dialSocket()
	go func() { done <- c.Call(&r, "eth_sendRawTransactionSync", rawHex(tx)) }()
	eventually(t, "the transaction is in the pool", func() bool { return f.pool.Has(tx.Hash()) })
	f.seal()
	check(t, <-done)
	equal(t, "hash", r.TransactionHash, tx.Hash())
	late := transfer(key(0), 1)
	err := f.dial().Call(&r, "eth_sendRawTransactionSync", rawHex(late), 1)
	var e rpc.Error
	if !errors.As(err, &e) || e.ErrorCode() != codeSyncTimeout {
		t.Fatalf("want code 4, have %v", err)
	}
	equal(t, "data", err.(rpc.DataError).ErrorData(), any(late.Hash().Hex()))
}

// TestTypes: what JSON says of each type, in a block and waiting.
func TestTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	_, txs := threeKinds(f)
	f.add(transfer(key(3), 0))
	for _, tx := range append(txs, transfer(key(3), 0)) {
		fields := f.call("eth_getTransactionByHash", tx.Hash()).(map[string]any)
		_, list := fields["accessList"]
		_, parity := fields["yParity"]
		_, feeCap := fields["maxFeePerGas"]
		typed, is1559 := tx.Type() != types.LegacyTxType, tx.Type() == types.DynamicFeeTxType
		equal(t, "fields of the type", [3]bool{list, parity, feeCap}, [3]bool{typed, typed, is1559})
		raw, err := json.Marshal(fields)
		check(t, err)
		var back types.Transaction
		check(t, back.UnmarshalJSON(raw))
		equal(t, "hash", back.Hash(), tx.Hash())
	}
}

func equal[T any](t testing.TB, what string, have, want T) {
	t.Helper()
	h, isBig := any(have).(*big.Int)
	if w, _ := any(want).(*big.Int); isBig && h.Cmp(w) == 0 {
		return
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%s: have %v, want %v", what, have, want)
	}
}

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q does not contain %q", text, part)
	}
}
