// Package wallettest is a stand-in for a node's JSON-RPC endpoint, for tests of
// what the wallet does when a node refuses, lies, stalls or goes away. It keeps
// balances and nonces but no rules of the ledger: what a real network does is
// tested against real nodes.
package wallettest

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// Node is the stand-in. Its fields may be set before the first request; later
// only through its methods.
type Node struct {
	ChainID  uint64
	BaseFee  *big.Int // of every block
	Tip      *big.Int
	Instant  bool // a transaction is final when it is sent
	HashLie  bool // eth_sendRawTransaction answers another hash
	BlockLie bool // blocks carry another hash than their header's

	mu       sync.Mutex
	refused  map[string]error
	http     http.HandlerFunc // instead of JSON-RPC
	balances map[crypto.Address]*big.Int
	nonces   map[crypto.Address]uint64
	pool     map[crypto.Hash]*types.Transaction
	receipts map[crypto.Hash]map[string]any
	final    map[crypto.Hash]*types.Transaction
	blocks   []*types.Block
	failing  bool
	sockets  []net.Conn // of WebSocket
	heads    map[chan *types.Header]bool

	server *httptest.Server
	rpc    *rpc.Server
}

// Refusal is a JSON-RPC error.
type Refusal struct {
	Code    int
	Message string
}

func (r *Refusal) Error() string  { return r.Message }
func (r *Refusal) ErrorCode() int { return r.Code }

// New starts a stand-in on a loopback port, free of fees.
func New(t testing.TB) *Node {
	n := &Node{
		ChainID: 7357, BaseFee: new(big.Int), Tip: new(big.Int), Instant: true,
		refused: map[string]error{}, balances: map[crypto.Address]*big.Int{}, nonces: map[crypto.Address]uint64{},
		pool: map[crypto.Hash]*types.Transaction{}, final: map[crypto.Hash]*types.Transaction{},
		receipts: map[crypto.Hash]map[string]any{}, heads: map[chan *types.Header]bool{},
	}
	n.addBlock()
	n.start(t)
	t.Cleanup(func() {
		n.server.CloseClientConnections()
		n.server.Close()
		n.rpc.Stop()
	})
	return n
}

func (n *Node) start(t testing.TB) {
	n.rpc = rpc.NewServer()
	for name, api := range map[string]any{"eth": &ethAPI{n}, "cairn": &cairnAPI{n}} {
		if err := n.rpc.RegisterName(name, api); err != nil {
			t.Fatal(err)
		}
	}
	ws := n.rpc.WebsocketHandler([]string{"*"})
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		instead := n.http
		n.mu.Unlock()
		switch {
		case instead != nil:
			instead(w, r)
		case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			ws.ServeHTTP(w, r)
		default:
			n.rpc.ServeHTTP(w, r)
		}
	}))
	n.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			n.mu.Lock()
			n.sockets = append(n.sockets, conn)
			n.mu.Unlock()
		}
	}
	n.server.Start()
}

// HTTP is the node's http:// URL.
func (n *Node) HTTP() string { return n.server.URL }

// WS is the node's ws:// URL.
func (n *Node) WS() string { return "ws" + strings.TrimPrefix(n.server.URL, "http") }

// Refuse makes a method answer an error; nil makes it work again.
func (n *Node) Refuse(method string, code int, message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if delete(n.refused, method); message != "" {
		n.refused[method] = &Refusal{code, message}
	}
}

// AnswerHTTP replaces every answer; nil makes the node work again. WebSocket
// connections are cut.
func (n *Node) AnswerHTTP(f http.HandlerFunc) {
	n.mu.Lock()
	n.http = f
	for _, conn := range n.sockets {
		conn.Close()
	}
	n.sockets = nil
	n.mu.Unlock()
	n.server.CloseClientConnections()
}

// Fund sets a balance in wei.
func (n *Node) Fund(a crypto.Address, wei *big.Int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.balances[a] = wei
}

// FailNext gives coming receipts status 0.
func (n *Node) FailNext() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failing = true
}

// UseNonce counts one more final transaction of an account, as if another
// wallet had sent it.
func (n *Node) UseNonce(a crypto.Address) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nonces[a]++
}

// SetInstant changes Instant.
func (n *Node) SetInstant(instant bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Instant = instant
}

// Forget empties the pool.
func (n *Node) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.pool)
}

// Finalize puts everything in the pool into a block.
func (n *Node) Finalize() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.finalize()
}

func (n *Node) finalize() {
	var txs []*types.Transaction
	for _, tx := range n.pool {
		txs = append(txs, tx)
	}
	block := n.addBlock(txs...)
	signer := types.NewLondonSigner(new(big.Int).SetUint64(n.ChainID))
	status := 1
	if n.failing {
		status = 0
	}
	for i, tx := range txs {
		from, _ := types.Sender(signer, tx)
		n.nonces[from] = tx.Nonce() + 1
		n.final[tx.Hash()] = tx
		n.receipts[tx.Hash()] = map[string]any{
			"transactionHash": tx.Hash(), "from": from, "to": tx.To(), "type": hexutil.Uint64(tx.Type()),
			"status": hexutil.Uint64(status), "blockNumber": (*hexutil.Big)(block.Number()), "blockHash": block.Hash(),
			"transactionIndex": hexutil.Uint64(i), "gasUsed": hexutil.Uint64(tx.Gas()),
			"cumulativeGasUsed": hexutil.Uint64(tx.Gas()), "logs": []any{}, "contractAddress": nil,
			"effectiveGasPrice": (*hexutil.Big)(new(big.Int).Add(n.BaseFee, tx.EffectiveGasTipValue(n.BaseFee))),
		}
	}
	clear(n.pool)
	for ch := range n.heads {
		select {
		case ch <- block.Header():
		default:
		}
	}
}

func (n *Node) addBlock(txs ...*types.Transaction) *types.Block {
	h := &types.Header{
		Number: big.NewInt(int64(len(n.blocks))), Difficulty: new(big.Int), GasLimit: 30_000_000, Time: 1_700_000_000,
		BaseFee: n.BaseFee, TxHash: types.EmptyTxsHash, UncleHash: types.EmptyUncleHash, ReceiptHash: types.EmptyReceiptsHash,
		Extra: []byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, byte(len(n.blocks)), 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b},
	}
	if k := len(n.blocks); k > 0 {
		h.ParentHash = n.blocks[k-1].Hash()
	}
	b := types.NewBlockWithHeader(h).WithBody(types.Body{Transactions: txs})
	n.blocks = append(n.blocks, b)
	return b
}

// enter is how every method begins; the lock is held when it answers nil.
func (n *Node) enter(method string) error {
	n.mu.Lock()
	if err := n.refused[method]; err != nil {
		n.mu.Unlock()
		return err
	}
	return nil
}

type ethAPI struct{ n *Node }

func (e *ethAPI) ChainId() (hexutil.Uint64, error) {
	if err := e.n.enter("eth_chainId"); err != nil {
		return 0, err
	}
	defer e.n.mu.Unlock()
	return hexutil.Uint64(e.n.ChainID), nil
}

func (e *ethAPI) GetBalance(a crypto.Address, _ string) (*hexutil.Big, error) {
	if err := e.n.enter("eth_getBalance"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	if b := e.n.balances[a]; b != nil {
		return (*hexutil.Big)(b), nil
	}
	return (*hexutil.Big)(new(big.Int)), nil
}

func (e *ethAPI) GetTransactionCount(a crypto.Address, which string) (hexutil.Uint64, error) {
	if err := e.n.enter("eth_getTransactionCount"); err != nil {
		return 0, err
	}
	defer e.n.mu.Unlock()
	count := e.n.nonces[a]
	if which == "pending" {
		count += uint64(len(e.n.pool))
	}
	return hexutil.Uint64(count), nil
}

func (e *ethAPI) FeeHistory(hexutil.Uint64, string, []float64) (map[string]any, error) {
	if err := e.n.enter("eth_feeHistory"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	fee := (*hexutil.Big)(e.n.BaseFee)
	return map[string]any{"oldestBlock": "0x0", "baseFeePerGas": []*hexutil.Big{fee, fee}, "gasUsedRatio": []float64{0}}, nil
}

func (e *ethAPI) MaxPriorityFeePerGas() (*hexutil.Big, error) {
	if err := e.n.enter("eth_maxPriorityFeePerGas"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	return (*hexutil.Big)(e.n.Tip), nil
}

func (e *ethAPI) GasPrice() (*hexutil.Big, error) {
	if err := e.n.enter("eth_gasPrice"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	return (*hexutil.Big)(new(big.Int).Add(e.n.BaseFee, e.n.Tip)), nil
}

func (e *ethAPI) GetCode(crypto.Address, string) (hexutil.Bytes, error) {
	if err := e.n.enter("eth_getCode"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	return hexutil.Bytes{}, nil
}

func (e *ethAPI) EstimateGas(arg map[string]any) (hexutil.Uint64, error) {
	if err := e.n.enter("eth_estimateGas"); err != nil {
		return 0, err
	}
	defer e.n.mu.Unlock()
	data, _ := arg["data"].(string)
	return hexutil.Uint64(21000 + 8*(len(data)-2)), nil
}

func (e *ethAPI) SendRawTransaction(raw hexutil.Bytes) (crypto.Hash, error) {
	if err := e.n.enter("eth_sendRawTransaction"); err != nil {
		return crypto.Hash{}, err
	}
	defer e.n.mu.Unlock()
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return crypto.Hash{}, err
	}
	from, err := types.Sender(types.NewLondonSigner(new(big.Int).SetUint64(e.n.ChainID)), tx)
	if err != nil {
		return crypto.Hash{}, &Refusal{-32000, "invalid sender"}
	}
	switch {
	case e.n.pool[tx.Hash()] != nil || e.n.final[tx.Hash()] != nil:
		return crypto.Hash{}, &Refusal{-32000, "already known"}
	case tx.Nonce() < e.n.nonces[from]:
		return crypto.Hash{}, &Refusal{-32000, fmt.Sprintf("nonce too low: next nonce %d, tx nonce %d", e.n.nonces[from], tx.Nonce())}
	}
	e.n.pool[tx.Hash()] = tx
	if e.n.Instant {
		e.n.finalize()
	}
	if e.n.HashLie {
		return crypto.Hash{1}, nil
	}
	return tx.Hash(), nil
}

func (e *ethAPI) GetTransactionReceipt(hash crypto.Hash) (map[string]any, error) {
	if err := e.n.enter("eth_getTransactionReceipt"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	return e.n.receipts[hash], nil
}

func (e *ethAPI) GetTransactionByHash(hash crypto.Hash) (map[string]any, error) {
	if err := e.n.enter("eth_getTransactionByHash"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	tx, r := e.n.pool[hash], e.n.receipts[hash]
	if r != nil {
		tx = e.n.final[hash]
	}
	if tx == nil {
		return nil, nil
	}
	from, _ := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
	v, rr, s := tx.RawSignatureValues()
	out := map[string]any{
		"hash": tx.Hash(), "type": hexutil.Uint64(tx.Type()), "nonce": hexutil.Uint64(tx.Nonce()), "from": from, "to": tx.To(),
		"value": (*hexutil.Big)(tx.Value()), "gas": hexutil.Uint64(tx.Gas()), "gasPrice": (*hexutil.Big)(tx.GasPrice()),
		"input": hexutil.Bytes(tx.Data()), "v": (*hexutil.Big)(v), "r": (*hexutil.Big)(rr), "s": (*hexutil.Big)(s),
		"chainId": (*hexutil.Big)(tx.ChainId()),
	}
	if tx.Type() == types.DynamicFeeTxType {
		out["maxFeePerGas"], out["maxPriorityFeePerGas"] = (*hexutil.Big)(tx.GasFeeCap()), (*hexutil.Big)(tx.GasTipCap())
		out["accessList"] = types.AccessList{}
	}
	if r != nil {
		out["blockHash"], out["blockNumber"], out["transactionIndex"] = r["blockHash"], r["blockNumber"], r["transactionIndex"]
	}
	return out, nil
}

func (e *ethAPI) GetBlockByNumber(which string, _ bool) (map[string]any, error) {
	if err := e.n.enter("eth_getBlockByNumber"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	if which == "latest" {
		return e.n.block(e.n.blocks[len(e.n.blocks)-1]), nil
	}
	number, err := hexutil.DecodeUint64(which)
	if err != nil {
		return nil, err
	}
	if number >= uint64(len(e.n.blocks)) {
		return nil, nil
	}
	return e.n.block(e.n.blocks[number]), nil
}

func (e *ethAPI) GetBlockByHash(hash crypto.Hash, _ bool) (map[string]any, error) {
	if err := e.n.enter("eth_getBlockByHash"); err != nil {
		return nil, err
	}
	defer e.n.mu.Unlock()
	for _, b := range e.n.blocks {
		if b.Hash() == hash {
			return e.n.block(b), nil
		}
	}
	return nil, nil
}

func (n *Node) block(b *types.Block) map[string]any {
	h := b.Header()
	hash := h.Hash()
	if n.BlockLie {
		hash[0] ^= 1
	}
	txs := []crypto.Hash{}
	for _, tx := range b.Transactions() {
		txs = append(txs, tx.Hash())
	}
	return map[string]any{
		"number": (*hexutil.Big)(h.Number), "hash": hash, "parentHash": h.ParentHash, "sha3Uncles": h.UncleHash,
		"miner": h.Coinbase, "stateRoot": h.Root, "transactionsRoot": h.TxHash, "receiptsRoot": h.ReceiptHash,
		"logsBloom": h.Bloom, "difficulty": (*hexutil.Big)(h.Difficulty), "gasLimit": hexutil.Uint64(h.GasLimit),
		"gasUsed": hexutil.Uint64(h.GasUsed), "timestamp": hexutil.Uint64(h.Time), "extraData": hexutil.Bytes(h.Extra),
		"mixHash": h.MixDigest, "nonce": h.Nonce, "baseFeePerGas": (*hexutil.Big)(h.BaseFee),
		"size": hexutil.Uint64(b.Size()), "uncles": []any{}, "transactions": txs,
	}
}

// NewHeads is eth_subscribe("newHeads").
func (e *ethAPI) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, errors.New("no subscriptions here")
	}
	sub := notifier.CreateSubscription()
	ch := make(chan *types.Header, 16)
	e.n.mu.Lock()
	e.n.heads[ch] = true
	e.n.mu.Unlock()
	go func() {
		defer func() {
			e.n.mu.Lock()
			delete(e.n.heads, ch)
			e.n.mu.Unlock()
		}()
		for {
			select {
			case h := <-ch:
				_ = notifier.Notify(sub.ID, h) // a gone client ends sub
			case <-sub.Err():
				return
			}
		}
	}()
	return sub, nil
}

type cairnAPI struct{ n *Node }

func (a *cairnAPI) Status() (map[string]any, error) {
	if err := a.n.enter("cairn_status"); err != nil {
		return nil, err
	}
	defer a.n.mu.Unlock()
	head := a.n.blocks[len(a.n.blocks)-1]
	return map[string]any{
		"version": "stand-in", "chainId": hexutil.Uint64(a.n.ChainID), "genesisHash": a.n.blocks[0].Hash(),
		"height": hexutil.Uint64(head.NumberU64()), "hash": head.Hash(), "stateRoot": head.Root(),
		"timestampMillis": hexutil.Uint64(1_700_000_000_123), "epoch": "0x2", "view": "0x9", "finalizedView": "0x8",
		"leader": "north", "role": "validator", "name": "south", "voting": true, "peers": 3, "validators": 4, "quorum": 3,
		"validatorsConnected": 4, "syncing": false, "targetHeight": hexutil.Uint64(head.NumberU64()),
		"pendingTransactions": len(a.n.pool), "queuedTransactions": 0, "healthy": true, "problems": []string{},
	}, nil
}

// Stall answers nothing until the client gives up or d passes.
func Stall(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(d):
		}
	}
}
