package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	libp2p "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
)

// TestTransactionStatus walks one transaction through its stages, and others
// into those from which there is no way on.
func TestTransactionStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	status := func(hash crypto.Hash) *transactionStatus {
		t.Helper()
		var s transactionStatus
		check(t, f.dial().Call(&s, "cairn_transactionStatus", hash))
		return &s
	}
	tx, gapped := transfer(key(0), 0), transfer(key(0), 3)
	equal(t, "never seen", status(tx.Hash()).Status, StageUnknown)
	f.add(gapped)
	s := status(gapped.Hash())
	equal(t, "gapped", s.Status, StageGapped)
	equal(t, "missing", s.MissingNonces, []hexutil.Uint64{0, 1, 2})
	f.add(tx)
	s = status(tx.Hash())
	equal(t, "pending", s.Status, StagePending)
	contains(t, s.Why, "waits for the next leader")
	f.setStatus(func(s *Status) { s.Connected = 1 })
	contains(t, status(tx.Hash()).Why, "no quorum: 1 of 2 validators are connected, 2 are needed")
	b := f.seal()
	s = status(tx.Hash())
	equal(t, "final", [2]any{s.Status, *s.BlockNumber}, [2]any{StageFinal, hexutil.Uint64(1)})
	equal(t, "block", *s.BlockHash, b.Hash())
	equal(t, "time", uint64(*s.Timestamp), f.millis)
	better := dynamic(3)
	better.GasFeeCap, better.GasTipCap = gwei(20), gwei(2)
	f.add(sign(key(0), better))
	s = status(gapped.Hash())
	equal(t, "rejected", s.Status, StageRejected)
	contains(t, s.Why, "replaced: by 0x")
}

// TestStage: what the node knows of blocks that are not final is told.
func TestStage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	tx := transfer(key(0), 0)
	f.server.service.Stage = func(_ context.Context, hash crypto.Hash) string {
		if hash == tx.Hash() {
			return StageNotarized
		}
		return ""
	}
	f.add(tx)
	equal(t, "stage", f.call("cairn_transactionStatus", tx.Hash()).(map[string]any)["status"], any(StageNotarized))
}

// TestHistory: pages from the newest to the oldest, with balances after each
// block.
func TestHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	for i := range 5 {
		f.add(transfer(key(0), uint64(i)))
		f.seal()
		f.seal() // empty
	}
	var cursor any
	var heights, balances []uint64
	for pages := 0; ; pages++ {
		var h history
		check(t, f.dial().Call(&h, "cairn_history", someone, cursor, "0x2"))
		for _, e := range h.Entries {
			heights = append(heights, uint64(e.Height))
			balances = append(balances, e.Balance.ToInt().Uint64())
			equal(t, "transactions", len(e.Transactions), 1)
		}
		if h.Next == nil {
			equal(t, "pages", pages, 2)
			break
		}
		cursor = *h.Next
	}
	equal(t, "heights", heights, []uint64{9, 7, 5, 3, 1})
	equal(t, "balances", balances, []uint64{5, 4, 3, 2, 1})
}

// TestFinality: own certificate, that of a descendant with the headers between,
// and none for block 0.
func TestFinality(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	a := f.build(f.ledger.HeadInfo().Hash)
	b := f.build(a.Hash())
	c := f.build(b.Hash())
	f.finalize(c)
	for _, x := range []struct {
		at          any
		block       *types.Block
		descendants int
		certificate []byte
	}{
		{"0x0", f.ledger.Genesis(), 0, nil}, {"0x1", a, 2, certificate(c)}, {"latest", c, 0, certificate(c)}, {b.Hash(), b, 1, certificate(c)},
	} {
		var got finality
		check(t, f.dial().Call(&got, "cairn_finality", x.at))
		equal(t, "hash", crypto.Keccak256(got.HeaderRLP), x.block.Hash())
		equal(t, "certificate", bytes.Equal(got.Finalization, x.certificate), true)
		equal(t, "descendants", len(got.Headers), x.descendants)
		parent := x.block.Hash()
		for _, raw := range got.Headers {
			h, err := chain.DecodeHeader(raw)
			check(t, err)
			equal(t, "links", h.ParentHash, parent)
			parent = h.Hash()
		}
		equal(t, "set", got.SetHash, f.spec.ValidatorSet().Hash())
		equal(t, "members", len(got.Validators), 2)
	}
	set := f.call("cairn_validators", "latest").(map[string]any)
	equal(t, "quorum", set["quorum"], any(2.0))
	equal(t, "hash", set["validatorSetHash"], any(f.spec.ValidatorSet().Hash().Hex()))
}

// TestEvidence: none on an honest network; what the node keeps is told so that
// the signatures can be checked with nothing but the answer.
func TestEvidence(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	equal(t, "none", f.call("cairn_evidence"), any([]any{}))
	net := consensus.Network{ChainID: testChainID, Genesis: f.ledger.Genesis().Hash()}
	kept := Evidence{Epoch: 2, Validator: key(1).Address(), Name: "b"}
	for i := range kept.Votes {
		s := consensus.Subject{Kind: consensus.Notarize, Epoch: 2, View: 9, ParentView: 8, Block: crypto.Hash{byte(i + 1)}}
		sig := key(1).Sign(s.Digest(net))
		kept.Votes[i] = SignedVote{Kind: s.Kind.String(), View: s.View, ParentView: s.ParentView, Block: s.Block, Digest: s.Digest(net), Signature: sig[:]}
	}
	f.server.service.Evidence = func() ([]Evidence, error) { return []Evidence{kept}, nil }
	var got []Evidence
	check(t, f.dial().Call(&got, "cairn_evidence"))
	equal(t, "evidence", got, []Evidence{kept})
	for _, v := range got[0].Votes {
		s := consensus.Subject{Kind: consensus.Notarize, Epoch: got[0].Epoch, View: v.View, ParentView: v.ParentView, Block: v.Block}
		equal(t, "digest", s.Digest(net), v.Digest)
		sig, err := crypto.ParseSignature(v.Signature)
		check(t, err)
		signer, err := crypto.Recover(v.Digest, sig)
		check(t, err)
		equal(t, "signer", signer, got[0].Validator)
	}
	f.server.service.Evidence = func() ([]Evidence, error) { return nil, errors.New("read the evidence: disk") }
	contains(t, f.dial().Call(&got, "cairn_evidence").Error(), "read the evidence")
}

// TestNodeAnswers: status, peers, diagnosis.
func TestNodeAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	equal(t, "healthy", f.call("cairn_status").(map[string]any)["healthy"], any(true))
	peers := f.call("cairn_peers").(map[string]any)
	equal(t, "peers", [2]any{peers["total"], peers["validators"]}, [2]any{1.0, 1.0})
	f.setStatus(func(s *Status) { s.Connected, s.Healthy, s.Problems = 1, false, []string{"the disk is full"} })
	var d diagnosis
	check(t, f.dial().Call(&d, "cairn_diagnose"))
	var bad []string
	for _, c := range d.Checks {
		if !c.OK {
			bad = append(bad, c.Name)
			if c.Advice == "" {
				t.Errorf("no advice for %s", c.Name)
			}
		}
	}
	equal(t, "found", bad, []string{"quorum", "problem"})
	modules := f.call("rpc_modules").(map[string]any)
	for _, name := range []string{"eth", "net", "web3", "txpool", "cairn", "rpc", "ots", "erigon"} {
		if modules[name] == nil {
			t.Errorf("rpc_modules has no %s", name)
		}
	}
	if modules["admin"] != nil {
		t.Error("admin is on the public listener")
	}
}

// TestPool: what waits, by sender and nonce; too much for one answer is an
// error that says what to ask instead.
func TestPool(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{PoolContent: 3}}})
	f.add(transfer(key(0), 0), transfer(key(0), 2), legacy(key(1), 0))
	equal(t, "status", f.call("txpool_status"), any(map[string]any{"pending": "0x2", "queued": "0x1"}))
	content := f.call("txpool_content").(map[string]any)
	from := key(0).Address().Hex()
	equal(t, "pending", content["pending"].(map[string]any)[from].(map[string]any)["0"].(map[string]any)["nonce"], any("0x0"))
	equal(t, "queued", content["queued"].(map[string]any)[from].(map[string]any)["2"].(map[string]any)["blockHash"], nil)
	one := f.call("txpool_contentFrom", from).(map[string]any)
	equal(t, "of one", len(one["pending"].(map[string]any))+len(one["queued"].(map[string]any)), 2)
	lines := f.call("txpool_inspect").(map[string]any)
	contains(t, lines["pending"].(map[string]any)[from].(map[string]any)["0"].(string), "1 wei + 21000 gas")
	f.add(legacy(key(1), 1))
	_, text := f.callError("txpool_content")
	contains(t, text, "ask for txpool_contentFrom")
	equal(t, "drops are kept", pool.DefaultConfig().Reasons > 0, true)
}

// TestOtterscan: the pages of an explorer.
func TestOtterscan(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	var sent []string
	for i := range 6 {
		tx := transfer(key(0), uint64(i))
		sent = append(sent, tx.Hash().Hex())
		f.add(tx)
		if i%2 == 1 {
			f.seal()
		}
	}
	hashes := func(v any) (out []string) {
		for _, tx := range v.(map[string]any)["txs"].([]any) {
			out = append(out, tx.(map[string]any)["hash"].(string))
		}
		return out
	}
	newest := f.call("ots_searchTransactionsBefore", someone, 0, 3)
	equal(t, "newest", hashes(newest), []string{sent[5], sent[4], sent[3], sent[2]}) // a block is never split
	equal(t, "pages", [2]any{newest.(map[string]any)["firstPage"], newest.(map[string]any)["lastPage"]}, [2]any{true, false})
	rest := f.call("ots_searchTransactionsBefore", someone, 2, 3)
	equal(t, "rest", hashes(rest), []string{sent[1], sent[0]})
	equal(t, "last", rest.(map[string]any)["lastPage"], any(true))
	oldest := f.call("ots_searchTransactionsAfter", someone, 0, 1)
	equal(t, "oldest", hashes(oldest), []string{sent[1], sent[0]})
	equal(t, "pages", [2]any{oldest.(map[string]any)["firstPage"], oldest.(map[string]any)["lastPage"]}, [2]any{false, true})
	equal(t, "above", hashes(f.call("ots_searchTransactionsAfter", someone, 1, 3)), []string{sent[5], sent[4], sent[3], sent[2]})
	for i, hash := range sent {
		equal(t, "by nonce", f.call("ots_getTransactionBySenderAndNonce", key(0).Address(), i), any(hash))
	}
	equal(t, "no such nonce", f.call("ots_getTransactionBySenderAndNonce", key(0).Address(), 6), nil)
	page := f.call("ots_getBlockTransactions", "0x1", 0, 1).(map[string]any)
	block := page["fullblock"].(map[string]any)
	equal(t, "last of the block", block["transactions"].([]any)[0].(map[string]any)["hash"], any(sent[1]))
	equal(t, "count", block["transactionCount"], any("0x2"))
	details := f.call("ots_getBlockDetails", "0x1").(map[string]any)
	fees := new(big.Int).Mul(f.ledger.Genesis().BaseFee(), big.NewInt(0))
	for _, r := range must(f.ledger.Receipts(1)) {
		fees.Add(fees, new(big.Int).Mul(r.EffectiveGasPrice, new(big.Int).SetUint64(r.GasUsed)))
	}
	equal(t, "fees", details["totalFees"], any(hexutil.EncodeBig(fees)))
	equal(t, "level", f.call("ots_getApiLevel"), any(8.0))
	equal(t, "code", [2]any{f.call("ots_hasCode", chain.RegistryAddress, "latest"), f.call("ots_hasCode", someone, "latest")}, [2]any{true, false})
	trace := f.call("ots_traceTransaction", sent[0]).([]any)[0].(map[string]any)
	equal(t, "trace", [2]any{trace["type"], trace["to"]}, [2]any{"CALL", strings.ToLower(someone.Hex())})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestRegistry: a view over eth_call, and a transition whose event is in the
// receipt, the bloom, eth_getLogs, a filter and a subscription.
func TestRegistry(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	registry := must(abi.JSON(bytes.NewReader(chain.RegistryABI)))
	view := ""
	for name, m := range registry.Methods {
		if m.IsConstant() && len(m.Inputs) == 0 {
			view = name
		}
	}
	input := must(registry.Pack(view))
	ctx, c := context.Background(), f.eth()
	out, err := c.CallContract(ctx, ethereum.CallMsg{To: &chain.RegistryAddress, Data: input}, nil)
	check(t, err)
	if _, err := registry.Unpack(view, out); err != nil {
		t.Errorf("%s: %v", view, err)
	}
	_, err = c.EstimateGas(ctx, ethereum.CallMsg{To: &chain.RegistryAddress, Data: []byte{1, 2, 3, 4}})
	if err == nil || !strings.Contains(err.Error(), "execution reverted: no such method") {
		t.Errorf("unknown method: %v", err)
	}

	logs := make(chan types.Log, 1)
	sub, err := ethclient.NewClient(f.dialSocket()).SubscribeFilterLogs(ctx, ethereum.FilterQuery{Addresses: []crypto.Address{chain.RegistryAddress}}, logs)
	check(t, err)
	filter := f.call("eth_newFilter", map[string]any{"address": chain.RegistryAddress, "topics": []any{registry.Events["Registered"].ID}})
	tx := registration(t, f, registry, 0)
	f.add(tx)
	block := f.seal()
	r, err := c.TransactionReceipt(ctx, tx.Hash())
	check(t, err)
	equal(t, "status and events", [2]int{int(r.Status), len(r.Logs)}, [2]int{1, 1})
	equal(t, "estimate", r.GasUsed, chain.Gas(tx))
	if !types.BloomLookup(block.Bloom(), chain.RegistryAddress) {
		t.Error("the registry is not in the bloom")
	}
	want := *r.Logs[0]
	equal(t, "subscription", receive(t, logs, sub, 1)[0], want)
	for name, q := range map[string]ethereum.FilterQuery{
		"range":  {FromBlock: big.NewInt(0), Addresses: []crypto.Address{someone, chain.RegistryAddress}},
		"hash":   {BlockHash: new(block.Hash())},
		"topics": {FromBlock: big.NewInt(1), Topics: [][]crypto.Hash{{{1}, registry.Events["Registered"].ID}}},
	} {
		found, err := c.FilterLogs(ctx, q)
		check(t, err)
		if len(found) != 1 || !reflect.DeepEqual(found[0], want) {
			t.Errorf("%s: have %v, want %v", name, found, want)
		}
	}
	none, err := c.FilterLogs(ctx, ethereum.FilterQuery{FromBlock: big.NewInt(0), Topics: [][]crypto.Hash{{registry.Events["Withdrawn"].ID}}})
	check(t, err)
	equal(t, "another event", len(none), 0)
	equal(t, "filter", len(f.call("eth_getFilterChanges", filter).([]any)), 1)
	equal(t, "filter again", len(f.call("eth_getFilterChanges", filter).([]any)), 0)
	equal(t, "whole filter", len(f.call("eth_getFilterLogs", filter).([]any)), 1) // without a range: of the head
}

// registration is the n-th transaction of the first account, which makes another
// account a candidate.
func registration(t *testing.T, f *fixture, registry abi.ABI, n int) *types.Transaction {
	t.Helper()
	_, public, err := libp2p.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(n + 1)}, 64)))
	check(t, err)
	id, err := peer.IDFromPublicKey(public)
	check(t, err)
	k := key(100 + n)
	candidate := genesis.Validator{Address: k.Address(), PeerID: id.String(), Name: fmt.Sprintf("c%d", n)}
	proof := k.Sign(genesis.RegistrationDigest(testChainID, candidate, 0))
	data, err := registry.Pack("register", candidate.Address, candidate.PeerID, candidate.Name, proof[:])
	check(t, err)
	gas, err := f.eth().EstimateGas(context.Background(), ethereum.CallMsg{From: key(0).Address(), To: &chain.RegistryAddress, Data: data})
	check(t, err)
	return sign(key(0), &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: uint64(n), To: &chain.RegistryAddress, Data: data, Gas: gas,
		GasTipCap: gwei(1), GasFeeCap: gwei(10), Value: new(big.Int),
	})
}

// TestFilterPages: a log filter with more new logs than one answer holds comes
// to its end, block by block, and loses none.
func TestFilterPages(t *testing.T) {
	t.Parallel()
	registry := must(abi.JSON(bytes.NewReader(chain.RegistryABI)))
	for limit, pages := range map[int][]int{1: {2, 2, 2, 0}, 3: {2, 2, 2, 0}, 4: {4, 2, 0}, 6: {6, 0}} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, options{cfg: Config{Limits: Limits{LogResults: limit}}})
			filter := f.call("eth_newFilter", map[string]any{"address": chain.RegistryAddress})
			seen := map[string]bool{}
			for n := range 6 {
				f.add(registration(t, f, registry, n))
				if n%2 == 1 {
					f.seal()
				}
			}
			for i, want := range pages {
				got := f.call("eth_getFilterChanges", filter).([]any)
				equal(t, fmt.Sprintf("page %d", i), len(got), want)
				for _, l := range got {
					seen[l.(map[string]any)["transactionHash"].(string)] = true
				}
			}
			equal(t, "different logs", len(seen), 6)
			all := map[string]any{"address": chain.RegistryAddress, "fromBlock": "0x0"}
			if limit < 6 {
				code, text := f.callError("eth_getLogs", all)
				equal(t, "code", code, codeInvalidParams)
				if !strings.Contains(text, "rpc.limits.log_results") {
					t.Errorf("the error does not name the setting: %s", text)
				}
				return
			}
			equal(t, "all", len(f.call("eth_getLogs", all).([]any)), 6)
		})
	}
}
