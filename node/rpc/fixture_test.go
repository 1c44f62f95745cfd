package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/ledger/pool"
	"cairn/ledger/store"
)

const testChainID = 7_357

func key(i int) *crypto.PrivateKey {
	h := crypto.Keccak256(fmt.Appendf(nil, "test key %d", i))
	k, err := crypto.PrivateKeyFromBytes(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

// fixture is a ledger over a store in memory, a pool and the server on a real
// listener. seal makes blocks of what is in the pool.
type fixture struct {
	t        testing.TB
	spec     *genesis.Spec
	ledger   *ledger.Ledger
	pool     *pool.Pool
	events   *Events
	server   *Server
	http     *httptest.Server
	signer   types.Signer
	registry *prometheus.Registry

	mu     sync.Mutex
	status Status
	view   uint64
	millis uint64
}

type options struct {
	cfg  Config
	free bool
	pool func(*pool.Config)
}

var proposer = crypto.Address{0xaa}

func newFixture(t testing.TB, o options) *fixture {
	t.Helper()
	rules := genesis.DefaultRules()
	rules.MinBlockInterval = 1
	rules.Fees.Free = o.free
	if o.free {
		rules.Fees.InitialBaseFee, rules.Fees.MinBaseFee = new(uint256.Int), new(uint256.Int)
	}
	f := &fixture{t: t, millis: 1_700_000_000_123, registry: prometheus.NewRegistry()}
	f.spec = &genesis.Spec{
		ChainID: testChainID, Name: "test", Timestamp: f.millis, Rules: rules,
		Validators: []genesis.Validator{
			{Address: crypto.Address{1}, PeerID: "12D3KooWPkYkAyPRJaJvxGe5T8VDpcDQFxFzCdrsYcSrBjZKnXxF", Name: "a"},
			{Address: crypto.Address{2}, PeerID: "12D3KooWBuXTTzSRRDcWyC2XBGPEJNLzWu8f1x5KgqUPfoNNqBUK", Name: "b"},
		},
	}
	for i := range 4 {
		f.spec.Alloc = append(f.spec.Alloc, genesis.Allocation{Address: key(i).Address(), Balance: coins(1000)})
	}
	st, err := store.Open("/data/ledger", store.Options{FS: vfs.NewMem()})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	f.ledger, err = ledger.Open(st, f.spec)
	check(t, err)
	f.signer = f.ledger.Config().Signer()
	f.events = NewEvents(f.signer)
	cfg := pool.DefaultConfig()
	if o.pool != nil {
		o.pool(&cfg)
	}
	cfg.OnDrop = f.events.Dropped
	f.pool = pool.New(cfg, f.ledger.Config())
	f.resetPool(nil)
	f.status = Status{Role: "validator", Validators: 2, Quorum: 2, Connected: 2, Peers: 1, Voting: true, Healthy: true, Problems: []string{}}
	f.server, err = New(o.cfg, Backend{
		Ledger: f.ledger, Pool: f.pool, Signer: f.signer, Events: f.events, Registerer: f.registry,
		Submit: f.submit, Status: f.nodeStatus, ClientVersion: "cairnd/test",
		Peers: func() []Peer {
			return []Peer{{ID: "12D3KooWBuXTTzSRRDcWyC2XBGPEJNLzWu8f1x5KgqUPfoNNqBUK", Validator: true}}
		},
	})
	check(t, err)
	f.http = httptest.NewServer(f.server)
	t.Cleanup(func() { f.server.Stop(); f.http.Close() })
	return f
}

func (f *fixture) submit(_ context.Context, tx *types.Transaction) error {
	err := f.pool.Add(tx, true)
	if err == nil {
		f.events.Added(tx.Hash())
	}
	return err
}

func (f *fixture) nodeStatus() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	h := f.ledger.Head()
	s.ChainID, s.Height, s.Hash, s.StateRoot = testChainID, hexutil.Uint64(h.Number.Uint64()), h.Hash(), h.Root
	return s
}

func (f *fixture) setStatus(change func(*Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

func (f *fixture) resetPool(included []*types.Transaction) {
	f.t.Helper()
	h := f.ledger.Head()
	check(f.t, f.pool.Reset(h, chain.NextBaseFee(&f.spec.Rules, h), f.ledger, included))
}

// build makes a block of what the pool has on parent, without finalizing it.
func (f *fixture) build(parent crypto.Hash) *types.Block {
	f.t.Helper()
	f.view++
	f.millis += 7
	b, err := f.ledger.Build(parent, chain.BuildParams{View: f.view, TimestampMillis: f.millis, Proposer: proposer}, f.pool.Candidates(f.ledger.Included(parent)))
	check(f.t, err)
	return b
}

func certificate(b *types.Block) []byte { return fmt.Appendf(nil, "finalization of %s", b.Hash()) }

// finalize makes a block and its ancestors final.
func (f *fixture) finalize(b *types.Block) {
	f.t.Helper()
	finals, err := f.ledger.Finalize(b.Hash(), certificate(b), ledger.Floor{View: f.view}, nil)
	check(f.t, err)
	for _, x := range finals {
		f.resetPool(x.Block.Transactions())
	}
}

// seal makes a final block of what the pool has.
func (f *fixture) seal() *types.Block {
	f.t.Helper()
	b := f.build(f.ledger.HeadInfo().Hash)
	f.finalize(b)
	return b
}

func (f *fixture) add(txs ...*types.Transaction) {
	f.t.Helper()
	for _, tx := range txs {
		check(f.t, f.submit(context.Background(), tx))
	}
}

func (f *fixture) dial() *rpc.Client {
	f.t.Helper()
	c, err := rpc.Dial(f.http.URL)
	check(f.t, err)
	f.t.Cleanup(c.Close)
	return c
}

func (f *fixture) eth() *ethclient.Client { return ethclient.NewClient(f.dial()) }

func (f *fixture) wsURL() string { return "ws" + strings.TrimPrefix(f.http.URL, "http") }

func (f *fixture) dialSocket() *rpc.Client {
	f.t.Helper()
	c, err := rpc.Dial(f.wsURL())
	check(f.t, err)
	f.t.Cleanup(c.Close)
	return c
}

// call is one call over HTTP, decoded into a map or list.
func (f *fixture) call(method string, params ...any) any {
	f.t.Helper()
	var out any
	if err := f.dial().Call(&out, method, params...); err != nil {
		f.t.Fatalf("%s: %v", method, err)
	}
	return out
}

// callError is the error of one call over HTTP.
func (f *fixture) callError(method string, params ...any) (code int, text string) {
	f.t.Helper()
	var out any
	err := f.dial().Call(&out, method, params...)
	e, ok := err.(rpc.Error)
	if !ok {
		f.t.Fatalf("%s: want an error of JSON-RPC, have %v, answer %v", method, err, out)
	}
	return e.ErrorCode(), e.Error()
}

// post sends a body as it is.
func (f *fixture) post(body string, header ...string) (status int, answer string) {
	f.t.Helper()
	return f.postTo("", body, header...)
}

func (f *fixture) postTo(path, body string, header ...string) (status int, answer string) {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodPost, f.http.URL+path, strings.NewReader(body))
	check(f.t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	check(f.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(f.t, err)
	return resp.StatusCode, string(raw)
}

func coins(n uint64) *uint256.Int {
	return new(uint256.Int).Mul(uint256.NewInt(n), uint256.NewInt(1e18))
}

func gwei(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e9)) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sign(k *crypto.PrivateKey, data types.TxData) *types.Transaction {
	tx := types.NewTx(data)
	id := uint64(testChainID)
	if tx.Type() != types.LegacyTxType {
		id = tx.ChainId().Uint64()
	}
	s := chain.NewSigner(id)
	sig := k.Sign(s.Hash(tx))
	signed, err := tx.WithSignature(s, sig[:])
	if err != nil {
		panic(err)
	}
	return signed
}

var someone = crypto.Address{0x5e}

func dynamic(nonce uint64) *types.DynamicFeeTx {
	return &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &someone, Value: big.NewInt(1), Gas: 21_000,
		GasTipCap: gwei(1), GasFeeCap: gwei(10),
	}
}

// transfer is an EIP-1559 transfer of 1 wei.
func transfer(k *crypto.PrivateKey, nonce uint64) *types.Transaction { return sign(k, dynamic(nonce)) }

func legacy(k *crypto.PrivateKey, nonce uint64) *types.Transaction {
	return sign(k, &types.LegacyTx{Nonce: nonce, To: &someone, Value: big.NewInt(2), Gas: 21_000, GasPrice: gwei(10)})
}

func accessListTx(k *crypto.PrivateKey, nonce uint64) *types.Transaction {
	return sign(k, &types.AccessListTx{
		ChainID: big.NewInt(testChainID), Nonce: nonce, To: &someone, Value: big.NewInt(3), Gas: 30_000, GasPrice: gwei(10),
		AccessList: types.AccessList{{Address: someone, StorageKeys: []crypto.Hash{{1}}}},
	})
}

func rawHex(tx *types.Transaction) string { return fmt.Sprintf("%#x", chain.EncodeTransaction(tx)) }

// patience is how long a test waits for what must come: a busy machine is no
// fault.
const patience = time.Minute

// eventually polls until ok or its patience has passed.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func decode(t testing.TB, raw []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
}
