package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/trie"
)

var (
	registry = common.HexToAddress("0x000000000000000000000000000000000000ca10")
	missing  = common.HexToHash("0x" + strings.Repeat("9", 64))
)

// network is one network, by HTTP and by WebSocket, and a funded account.
type network struct {
	free     bool
	raw      *rpc.Client // over HTTP
	socket   *rpc.Client
	http, ws *ethclient.Client
	key      *ecdsa.PrivateKey
	from, to common.Address
}

func newNetwork(kind string, http, ws *rpc.Client, key *ecdsa.PrivateKey) *network {
	from := crypto.PubkeyToAddress(key.PublicKey)
	return &network{
		free: kind == "free", raw: http, socket: ws, http: ethclient.NewClient(http), ws: ethclient.NewClient(ws),
		key: key, from: from, to: common.BytesToAddress(crypto.Keccak256(from[:], []byte(time.Now().String()))),
	}
}

type check struct {
	title string
	body  func(context.Context) error
}

func (n *network) checks() []check {
	return []check{
		{"connects", n.connects},
		{"fees", n.fees},
		{"legacy transfer", n.transferOf(types.LegacyTxType)},
		{"EIP-2930 transfer", n.transferOf(types.AccessListTxType)},
		{"EIP-1559 transfer", n.transferOf(types.DynamicFeeTxType)},
		{"error insufficient funds", n.refused(func(tx *types.DynamicFeeTx) { tx.Value = new(big.Int).Lsh(big.NewInt(1), 200) }, "insufficient funds for gas * price + value")},
		{"error nonce too low", n.refused(func(tx *types.DynamicFeeTx) { tx.Nonce = 0 }, "nonce too low")},
		{"error intrinsic gas too low", n.refused(func(tx *types.DynamicFeeTx) { tx.Gas = 20_000 }, "intrinsic gas too low")},
		{"revert with its data", n.reverts},
		{"what is not there is NotFound", n.notFound},
		{"batch of 100", n.batch},
		{"header hash and transactions root recomputed", n.headers},
		{"account and storage proofs against the state root", n.proofs},
		{"subscriptions over WebSocket", n.subscriptions},
	}
}

// equal says what differs.
func equal[T comparable](what string, have, want T) error {
	if have != want {
		return fmt.Errorf("%s: have %v, want %v", what, have, want)
	}
	return nil
}

func (n *network) connects(ctx context.Context) error {
	id, err := n.http.ChainID(ctx)
	if err != nil {
		return err
	}
	net, err := n.ws.NetworkID(ctx)
	if err != nil {
		return err
	}
	height, err := n.http.BlockNumber(ctx)
	if err != nil {
		return err
	}
	progress, err := n.http.SyncProgress(ctx)
	if err != nil {
		return err
	}
	code, err := n.http.CodeAt(ctx, n.to, nil)
	return errors.Join(err, equal("network id", net.Cmp(id), 0), equal("height above 0", height > 0, true),
		equal("in sync", progress == nil, true), equal("code", len(code), 0))
}

func (n *network) fees(ctx context.Context) error {
	price, err := n.http.SuggestGasPrice(ctx)
	if err != nil {
		return err
	}
	tip, err := n.http.SuggestGasTipCap(ctx)
	if err != nil {
		return err
	}
	history, err := n.http.FeeHistory(ctx, 1, nil, []float64{50})
	if err != nil {
		return err
	}
	gas, err := n.http.EstimateGas(ctx, ethereum.CallMsg{From: n.from, To: &n.to, Value: big.NewInt(1)})
	return errors.Join(err, equal("gas", gas, 21_000), equal("base fees", len(history.BaseFee), 2),
		equal("price is 0", price.Sign() == 0, n.free), equal("tip is 0", tip.Sign() == 0, n.free))
}

// next is an EIP-1559 transfer with the account's next nonce and fees as told.
func (n *network) next(ctx context.Context) (*types.DynamicFeeTx, error) {
	id, err := n.http.ChainID(ctx)
	if err != nil {
		return nil, err
	}
	nonce, err := n.http.PendingNonceAt(ctx, n.from)
	if err != nil {
		return nil, err
	}
	price, err := n.http.SuggestGasPrice(ctx)
	if err != nil {
		return nil, err
	}
	tip, err := n.http.SuggestGasTipCap(ctx)
	return &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, To: &n.to, Value: big.NewInt(7), Gas: 30_000, GasTipCap: tip, GasFeeCap: price.Lsh(price, 1),
	}, err
}

func (n *network) sign(data types.TxData, chain *big.Int) (*types.Transaction, error) {
	return types.SignNewTx(n.key, types.LatestSignerForChainID(chain), data)
}

func (n *network) receipt(ctx context.Context, hash common.Hash) (*types.Receipt, error) {
	for {
		r, err := n.http.TransactionReceipt(ctx, hash)
		if !errors.Is(err, ethereum.NotFound) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (n *network) transferOf(kind uint8) func(context.Context) error {
	return func(ctx context.Context) error {
		tx, err := n.next(ctx)
		if err != nil {
			return err
		}
		var data types.TxData = tx
		switch kind {
		case types.LegacyTxType:
			data = &types.LegacyTx{Nonce: tx.Nonce, To: tx.To, Value: tx.Value, Gas: tx.Gas, GasPrice: tx.GasFeeCap}
		case types.AccessListTxType:
			data = &types.AccessListTx{
				ChainID: tx.ChainID, Nonce: tx.Nonce, To: tx.To, Value: tx.Value, Gas: tx.Gas, GasPrice: tx.GasFeeCap,
				AccessList: types.AccessList{{Address: n.to, StorageKeys: []common.Hash{missing}}},
			}
		}
		signed, err := n.sign(data, tx.ChainID)
		if err != nil {
			return err
		}
		return n.transfer(ctx, signed)
	}
}

// transfer sends a transaction and holds receipt and balances against it.
func (n *network) transfer(ctx context.Context, tx *types.Transaction) error {
	before, err := n.http.BalanceAt(ctx, n.from, nil)
	if err != nil {
		return err
	}
	if err := n.http.SendTransaction(ctx, tx); err != nil {
		return err
	}
	r, err := n.receipt(ctx, tx.Hash())
	if err != nil {
		return err
	}
	found, waits, err := n.http.TransactionByHash(ctx, tx.Hash())
	if err != nil {
		return err
	}
	after, err := n.http.BalanceAt(ctx, n.from, r.BlockNumber)
	if err != nil {
		return err
	}
	nonce, err := n.http.NonceAt(ctx, n.from, r.BlockNumber)
	if err != nil {
		return err
	}
	fee := new(big.Int).Mul(r.EffectiveGasPrice, new(big.Int).SetUint64(r.GasUsed))
	left := new(big.Int).Sub(new(big.Int).Sub(before, tx.Value()), fee)
	return errors.Join(equal("status", r.Status, types.ReceiptStatusSuccessful), equal("type", r.Type, tx.Type()),
		equal("hash from the fields", found.Hash(), tx.Hash()), equal("waits", waits, false), equal("nonce", nonce, tx.Nonce()+1),
		equal("free", fee.Sign() == 0, n.free), equal("balance", after.String(), left.String()))
}

// refused is a check that a changed transfer is refused with a text.
func (n *network) refused(change func(*types.DynamicFeeTx), text string) func(context.Context) error {
	return func(ctx context.Context) error {
		tx, err := n.next(ctx)
		if err != nil {
			return err
		}
		change(tx)
		signed, err := n.sign(tx, tx.ChainID)
		if err != nil {
			return err
		}
		err = n.http.SendTransaction(ctx, signed)
		var refusal rpc.Error
		if !errors.As(err, &refusal) || refusal.ErrorCode() != -32000 || !strings.HasPrefix(refusal.Error(), text) {
			return fmt.Errorf("error %v, want -32000 %q", err, text)
		}
		return nil
	}
}

func (n *network) reverts(ctx context.Context) error {
	_, err := n.http.CallContract(ctx, ethereum.CallMsg{To: &registry, Data: []byte{0x12, 0x34, 0x56, 0x78}}, nil)
	data, ok := ethclient.RevertErrorData(err)
	if !ok {
		return fmt.Errorf("no revert data in %v", err)
	}
	return equal("Error(string)", common.Bytes2Hex(data[:min(4, len(data))]), "08c379a0")
}

func (n *network) notFound(ctx context.Context) error {
	_, block := n.http.BlockByNumber(ctx, big.NewInt(1_000_000_000))
	_, header := n.http.HeaderByHash(ctx, missing)
	_, _, tx := n.http.TransactionByHash(ctx, missing)
	_, receipt := n.http.TransactionReceipt(ctx, missing)
	for _, err := range []error{block, header, tx, receipt} {
		if !errors.Is(err, ethereum.NotFound) {
			return fmt.Errorf("error %v, want NotFound", err)
		}
	}
	return nil
}

func (n *network) batch(ctx context.Context) error {
	calls := make([]rpc.BatchElem, 100)
	for i := range calls {
		at := "latest"
		if i%2 == 0 {
			at = "0x0"
		}
		calls[i] = rpc.BatchElem{Method: "eth_getBalance", Args: []any{n.to, at}, Result: new(string)}
	}
	if err := n.raw.BatchCallContext(ctx, calls); err != nil {
		return err
	}
	for i, c := range calls {
		if err := errors.Join(c.Error, equal("is 0", *c.Result.(*string) == "0x0", i%2 == 0)); err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	return nil
}

// headers recomputes hashes: types.Header.Hash is of its fields.
func (n *network) headers(ctx context.Context) error {
	for _, at := range []*big.Int{nil, new(big.Int), big.NewInt(1)} {
		block, err := n.http.BlockByNumber(ctx, at)
		if err != nil {
			return err
		}
		var raw struct{ Hash common.Hash }
		if err := n.raw.CallContext(ctx, &raw, "eth_getBlockByNumber", rpc.BlockNumber(block.Number().Int64()), false); err != nil {
			return err
		}
		if err := errors.Join(equal("hash", block.Hash(), raw.Hash), equal("transactions root", types.DeriveSha(block.Transactions(), trie.NewListHasher()), block.TxHash())); err != nil {
			return err
		}
		receipts, err := n.http.BlockReceipts(ctx, rpc.BlockNumberOrHashWithHash(block.Hash(), true))
		if err != nil {
			return err
		}
		if err := equal("receipts root", types.DeriveSha(types.Receipts(receipts), trie.NewListHasher()), block.ReceiptHash()); err != nil {
			return err
		}
	}
	return nil
}

// proofs checks with go-ethereum's trie, which Cairn's own is not.
func (n *network) proofs(ctx context.Context) error {
	header, err := n.http.HeaderByNumber(ctx, nil)
	if err != nil {
		return err
	}
	for _, addr := range []common.Address{n.from, n.to, registry, {0x99}} {
		var p accountProof
		err := n.raw.CallContext(ctx, &p, "eth_getProof", addr, []string{"0x1", "0x3", "0x63"}, (*hexutil.Big)(header.Number))
		if err != nil {
			return err
		}
		value, err := proven(header.Root, addr[:], p.AccountProof)
		if err != nil {
			return err
		}
		if addr == (common.Address{0x99}) {
			if err := equal("absent", len(value), 0); err != nil {
				return err
			}
			continue
		}
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			return err
		}
		if err := errors.Join(equal("nonce", account.Nonce, uint64(p.Nonce)), equal("balance", account.Balance.ToBig().String(), p.Balance.ToInt().String()), equal("storage", account.Root, p.StorageHash)); err != nil {
			return err
		}
		if addr != registry {
			continue
		}
		if err := equal("members", p.StorageProof[1].Value.ToInt().Int64(), 4); err != nil {
			return err
		}
		for _, s := range p.StorageProof {
			if err := slotProven(account.Root, s); err != nil {
				return fmt.Errorf("slot %s: %w", s.Key, err)
			}
		}
	}
	return nil
}

// accountProof is the answer of eth_getProof.
type accountProof struct {
	Nonce        hexutil.Uint64 `json:"nonce"`
	Balance      hexutil.Big    `json:"balance"`
	StorageHash  common.Hash    `json:"storageHash"`
	AccountProof []string       `json:"accountProof"`
	StorageProof []slotProof    `json:"storageProof"`
}

type slotProof struct {
	Key   string      `json:"key"`
	Value hexutil.Big `json:"value"`
	Proof []string    `json:"proof"`
}

func slotProven(root common.Hash, s slotProof) error {
	value, err := proven(root, common.HexToHash(s.Key).Bytes(), s.Proof)
	if err != nil {
		return err
	}
	var number []byte
	if len(value) > 0 {
		if err := rlp.DecodeBytes(value, &number); err != nil {
			return err
		}
	}
	return equal("value", new(big.Int).SetBytes(number).String(), s.Value.ToInt().String())
}

// proven is the value of a key under a root, nil if it is proven absent.
func proven(root common.Hash, key []byte, nodes []string) ([]byte, error) {
	db := memorydb.New()
	for _, text := range nodes {
		node := common.FromHex(text)
		if err := db.Put(crypto.Keccak256(node), node); err != nil {
			return nil, err
		}
	}
	return trie.VerifyProof(root, crypto.Keccak256(key), db)
}

func (n *network) subscriptions(ctx context.Context) error {
	heads, pending, logs := make(chan *types.Header, 64), make(chan common.Hash, 64), make(chan types.Log, 64)
	onHeads, err := n.ws.SubscribeNewHead(ctx, heads)
	if err != nil {
		return err
	}
	defer onHeads.Unsubscribe()
	onPending, err := n.socket.EthSubscribe(ctx, pending, "newPendingTransactions")
	if err != nil {
		return err
	}
	defer onPending.Unsubscribe()
	onLogs, err := n.ws.SubscribeFilterLogs(ctx, ethereum.FilterQuery{Addresses: []common.Address{registry}}, logs)
	if err != nil {
		return err
	}
	defer onLogs.Unsubscribe()
	tx, err := n.next(ctx)
	if err != nil {
		return err
	}
	signed, err := n.sign(tx, tx.ChainID)
	if err != nil {
		return err
	}
	if err := n.http.SendTransaction(ctx, signed); err != nil {
		return err
	}
	var told bool
	var at common.Hash
	for seen := map[common.Hash]bool{}; !told || at == (common.Hash{}) || !seen[at]; {
		select {
		case h := <-heads:
			seen[h.Hash()] = true
			if r, err := n.http.TransactionReceipt(ctx, signed.Hash()); err == nil {
				at = r.BlockHash
			}
		case hash := <-pending:
			told = told || hash == signed.Hash()
		case err := <-onHeads.Err():
			return fmt.Errorf("heads end: %w", err)
		case err := <-onLogs.Err():
			return fmt.Errorf("logs end: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("told of the transaction: %t, block %s: %w", told, at, ctx.Err())
		}
	}
	return nil
}
