package rpc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/ledger/chain"
	"cairn/ledger/pool"
)

// TestSendErrors: every refusal of a transaction begins with geth's text, has
// code −32000 and HTTP status 200.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{pool: func(c *pool.Config) { c.PerSenderExecutable = 4 }})
	f.add(transfer(key(0), 0))
	f.seal()
	f.add(transfer(key(0), 1))
	dynamicWith := func(k int, change func(*types.DynamicFeeTx)) string {
		data := dynamic(uint64(0))
		if k == 0 {
			data.Nonce = 2
		}
		change(data)
		return rawHex(sign(key(k), data))
	}
	badSignature := func() string {
		tx := transfer(key(1), 0)
		tx, err := tx.WithSignature(f.signer, make([]byte, 65))
		check(t, err)
		return rawHex(tx)
	}
	unprotected := func() string {
		tx := types.NewTx(&types.LegacyTx{To: &someone, Gas: 21_000, GasPrice: gwei(10)})
		sig := key(1).Sign(types.HomesteadSigner{}.Hash(tx))
		tx, err := tx.WithSignature(types.HomesteadSigner{}, sig[:])
		check(t, err)
		return rawHex(tx)
	}
	huge := make([]byte, chain.MaxTransactionBytes+1)
	for _, x := range []struct{ name, raw, text string }{
		{"known", rawHex(transfer(key(0), 1)), "already known"},
		{"nonce too low", rawHex(transfer(key(0), 0)), "nonce too low"},
		{"nonce too high", rawHex(transfer(key(0), 1000)), "nonce too high"},
		{"funds", dynamicWith(1, func(d *types.DynamicFeeTx) { d.Value = coins(1000).ToBig() }), "insufficient funds for gas * price + value"},
		{"no funds at all", dynamicWith(9, func(*types.DynamicFeeTx) {}), "insufficient funds for gas * price + value"},
		{"replacement", rawHex(sign(key(0), func() *types.DynamicFeeTx { d := dynamic(1); d.Value = big.NewInt(9); return d }())), "replacement transaction underpriced"},
		{"intrinsic gas", dynamicWith(1, func(d *types.DynamicFeeTx) { d.Gas = 20_999 }), "intrinsic gas too low"},
		{"gas limit", dynamicWith(1, func(d *types.DynamicFeeTx) { d.Gas = 1 << 60 }), "exceeds block gas limit"},
		{"fee cap", dynamicWith(1, func(d *types.DynamicFeeTx) { d.GasFeeCap, d.GasTipCap = big.NewInt(1), big.NewInt(1) }), "max fee per gas less than block base fee"},
		{"tip", dynamicWith(1, func(d *types.DynamicFeeTx) { d.GasTipCap = gwei(11) }), "max priority fee per gas higher than max fee per gas"},
		{"chain id", dynamicWith(1, func(d *types.DynamicFeeTx) { d.ChainID = big.NewInt(1) }), "invalid chain id for signer"},
		{"creation", dynamicWith(1, func(d *types.DynamicFeeTx) { d.To = nil; d.Gas = 100_000 }), "contract creation is not supported"},
		{"blob transaction", "0x03f800", "transaction type not supported"},
		{"set code transaction", "0x04f800", "transaction type not supported"},
		{"sender", badSignature(), "invalid sender"},
		{"unprotected", unprotected(), "only replay-protected (EIP-155) transactions allowed over RPC"},
		{"no bytes", "0x", "malformed transaction"},
		{"no list", "0x02c0", "malformed transaction"},
		{"rest", rawHex(transfer(key(1), 0)) + "00", "malformed transaction"},
		{"size", fmt.Sprintf("%#x", huge), "oversized data"},
	} {
		t.Run(x.name, func(t *testing.T) {
			code, text := f.callError("eth_sendRawTransaction", x.raw)
			equal(t, "code", code, -32000)
			if !strings.HasPrefix(text, x.text) {
				t.Errorf("have %q, want it to begin with %q", text, x.text)
			}
			status, _ := f.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":[%q]}`, x.raw))
			equal(t, "HTTP status", status, http.StatusOK)
		})
	}
	f.add(transfer(key(0), 2), transfer(key(0), 3), transfer(key(0), 4))
	_, text := f.callError("eth_sendRawTransaction", rawHex(transfer(key(0), 5)))
	contains(t, text, "account limit exceeded")
}

// TestPoolFull: the two texts of a pool that has no room.
func TestPoolFull(t *testing.T) {
	t.Parallel()
	for free, want := range map[bool]string{false: "transaction underpriced", true: "txpool is full"} {
		f := newFixture(t, options{free: free, pool: func(c *pool.Config) { c.Total = 1 }})
		f.add(transfer(key(0), 0))
		_, text := f.callError("eth_sendRawTransaction", rawHex(transfer(key(1), 0)))
		contains(t, text, want)
	}
}

// TestCallErrors: calls and reads that cannot be answered.
func TestCallErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	to, registry := someone.Hex(), chain.RegistryAddress.Hex()
	type object = map[string]any
	for _, x := range []struct {
		method string
		params []any
		code   int
		text   string
	}{
		{"eth_nothing", nil, -32601, "the method eth_nothing does not exist/is not available"},
		{"eth_fillTransaction", []any{object{}}, -32601, "the method eth_fillTransaction does not exist/is not available"},
		{"admin_addPeer", []any{"x"}, -32601, "the method admin_addPeer does not exist/is not available"},
		{"eth_subscribe", []any{"newHeads"}, -32601, "notifications not supported"},
		{"eth_getBalance", []any{to, "0x63"}, -32000, "header not found"},
		{"eth_getBalance", []any{to, "0x" + strings.Repeat("9", 64)}, -32000, "header for hash not found"},
		{"eth_getBalance", []any{to, object{"blockHash": "0x" + strings.Repeat("9", 64), "requireCanonical": true}}, -32000, "header for hash not found"},
		{"eth_getBalance", []any{to, object{"blockHash": "0x" + strings.Repeat("9", 64), "blockNumber": "0x0"}}, -32602, "cannot specify both"},
		{"eth_getBalance", []any{"0x12"}, -32602, "invalid argument 0"},
		{"eth_getBalance", nil, -32602, "missing value for required argument 0"},
		{"eth_getBalance", []any{to, "latest", 1}, -32602, "too many arguments, want at most 2"},
		{"eth_getBalance", []any{to, "soon"}, -32602, "invalid argument 1"},
		{"eth_getStorageAt", []any{to, "0xzz", "latest"}, -32602, "invalid hex in storage key"},
		{"eth_call", []any{object{"data": "0x00"}}, -32000, "contract creation is not supported"},
		{"eth_call", []any{object{"to": to, "data": "0x00", "input": "0x01"}}, -32602, `both "data" and "input" are set and not equal`},
		{"eth_call", []any{object{"to": to, "value": "0x1"}}, -32000, "insufficient funds for gas * price + value"},
		{"eth_call", []any{object{"to": registry}}, 3, "execution reverted: no such method"},
		{"eth_call", []any{object{"to": to}, "latest", object{to: object{"code": "0x00"}}}, -32602, "overrides are not supported"},
		{"eth_estimateGas", []any{object{"to": to, "gasPrice": "0x1", "maxFeePerGas": "0x1"}}, -32602, "both gasPrice and"},
		{"eth_estimateGas", []any{object{"to": to, "gasPrice": "0x1"}}, -32000, "max fee per gas less than block base fee"},
		{"eth_estimateGas", []any{object{"to": to, "gasPrice": "0x174876e800"}}, -32000, "gas required exceeds allowance (0)"},
		{"eth_estimateGas", []any{object{"to": to, "gas": "0x1"}}, -32000, "intrinsic gas too low"},
		{"eth_estimateGas", []any{object{"to": to, "chainId": "0x1"}}, -32602, "chainId does not match node's (have=1, want=7357)"},
		{"eth_estimateGas", []any{object{"to": registry}}, 3, "execution reverted: no such method"},
		{"eth_getLogs", []any{object{"blockHash": "0x" + strings.Repeat("9", 64)}}, -32000, "unknown block"},
		{"eth_getLogs", []any{object{"blockHash": "0x" + strings.Repeat("9", 64), "fromBlock": "0x0"}}, -32602, "cannot specify both BlockHash and FromBlock/ToBlock"},
		{"eth_getLogs", []any{object{"fromBlock": "0x2", "toBlock": "0x1"}}, -32602, "invalid block range params"},
		{"eth_getLogs", []any{object{"topics": []any{nil, nil, nil, nil, nil}}}, -32602, "exceed max topics"},
		{"eth_getFilterChanges", []any{"0x12"}, -32000, "filter not found"},
		{"eth_getFilterLogs", []any{"0x12"}, -32000, "filter not found"},
		{"eth_getProof", []any{to, []string{}, "0x63"}, -32000, "header not found"},
		{"ots_searchTransactionsBefore", []any{to, 0, 100_000}, -32602, "page size"},
	} {
		code, text := f.callError(x.method, x.params...)
		if code != x.code || !strings.Contains(text, x.text) {
			t.Errorf("%s%v: have %d %q, want %d %q", x.method, x.params, code, text, x.code, x.text)
		}
	}
	err := f.dial().Call(nil, "eth_call", object{"to": registry})
	reason, unpackErr := abi.UnpackRevert(hexutil.MustDecode(err.(rpc.DataError).ErrorData().(string)))
	check(t, unpackErr)
	contains(t, reason, "no such method")
}

// TestNull: what is not there is null, not an error.
func TestNull(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	none := "0x" + strings.Repeat("9", 64)
	for _, x := range [][]any{
		{"eth_getBlockByNumber", "0x63", false},
		{"eth_getBlockByHash", none, true},
		{"eth_getHeaderByNumber", "0x63"},
		{"eth_getHeaderByHash", none},
		{"eth_getBlockReceipts", "0x63"},
		{"eth_getBlockReceipts", none},
		{"eth_getBlockTransactionCountByNumber", "0x63"},
		{"eth_getBlockTransactionCountByHash", none},
		{"eth_getTransactionByHash", none},
		{"eth_getTransactionReceipt", none},
		{"eth_getTransactionByBlockNumberAndIndex", "0x0", "0x0"},
		{"eth_getTransactionByBlockHashAndIndex", none, "0x0"},
		{"eth_getUncleCountByBlockNumber", "0x63"},
		{"eth_getUncleCountByBlockHash", none},
		{"eth_getUncleByBlockNumberAndIndex", "0x0", "0x0"},
		{"eth_getUncleByBlockHashAndIndex", none, "0x0"},
		{"cairn_finality", "0x63"},
		{"cairn_validators", none},
		{"erigon_getHeaderByNumber", "0x63"},
		{"ots_getBlockDetails", "0x63"},
		{"ots_getBlockDetailsByHash", none},
		{"ots_getBlockTransactions", "0x63", 0, 10},
		{"ots_getContractCreator", someone},
		{"ots_traceTransaction", none},
		{"ots_getTransactionBySenderAndNonce", someone, 0},
	} {
		if v := f.call(x[0].(string), x[1:]...); v != nil {
			t.Errorf("%v: have %v, want null", x, v)
		}
	}
}

// TestMalformedBodies: each gets one clear error, and the server goes on.
func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{BodyBytes: 4096, Batch: 10}}})
	const ok = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}`
	for _, x := range []struct {
		name, body string
		status     int
		part       string
	}{
		{"no JSON", `hello`, 200, `"code":-32700`},
		{"cut off", `{"jsonrpc":"2.0","id":1,`, 200, `"code":-32700`},
		{"two values", ok + ok, 200, `"code":-32700`},
		{"invalid UTF-8 escape", `{"a":"\x"}`, 200, `"code":-32700`},
		{"deep list", strings.Repeat("[", 3000), 200, "nested deeper"},
		{"deep params", `{"jsonrpc":"2.0","id":1,"method":"eth_call","params":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, 200, "nested deeper"},
		{"number", `5`, 200, "invalid request"},
		{"text", `"eth_chainId"`, 200, "invalid request"},
		{"null", `null`, 200, "invalid request"},
		{"empty object", `{}`, 200, "invalid request"},
		{"empty batch", `[]`, 200, "empty batch"},
		{"batch of nothing", `[1,null,"x"]`, 200, "invalid request"},
		{"no version", `{"id":1,"method":"eth_chainId"}`, 200, "invalid request"},
		{"method is no text", `{"jsonrpc":"2.0","id":1,"method":7}`, 200, `"error"`},
		{"params are text", `{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":"x"}`, 200, "non-array args"},
		{"params are an object", `{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{"address":"0x"}}`, 200, "non-array args"},
		{"id is an object", `{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}`, 200, "invalid request"},
		{"long method", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 3000) + `"}`, 200, "method name too long"},
		{"too many in a batch", "[" + strings.Repeat(ok+",", 10) + ok + "]", 200, "batch too large"},
		{"too long", `{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x` + strings.Repeat("0", 8000) + `"]}`, http.StatusRequestEntityTooLarge, "content length too large"},
		{"nothing", ``, 200, ``},
	} {
		status, answer := f.post(x.body)
		if status != x.status || !strings.Contains(answer, x.part) {
			t.Errorf("%s: have %d %s, want %d %s", x.name, status, answer, x.status, x.part)
		}
		if strings.Contains(answer, "-32603") || strings.Contains(answer, "-32005") {
			t.Errorf("%s: %s makes clients try again", x.name, answer)
		}
	}
	if status, answer := f.post(ok, "Content-Type", "text/plain"); status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d %s", status, answer)
	}
	_, answer := f.post(ok)
	equal(t, "answer", strings.TrimSpace(answer), `{"jsonrpc":"2.0","id":1,"result":"0x1cbd"}`)
}

// TestHostAndOrigin: browsers get in only where the operator says so; what is no
// browser, and names no host, always does.
func TestHostAndOrigin(t *testing.T) {
	t.Parallel()
	const body = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`
	closed, open := newFixture(t, options{}), newFixture(t, options{cfg: Config{CORS: []string{"https://wallet.example"}, Hosts: []string{"node.example"}}})
	pattern := newFixture(t, options{cfg: Config{CORS: []string{"https://*.wallet.example"}}})
	any := newFixture(t, options{cfg: Config{CORS: []string{"*"}, Hosts: []string{"*"}}})
	for _, x := range []struct {
		f      *fixture
		host   string
		status int
	}{
		{closed, "localhost:1", 200},
		{closed, "10.1.2.3", 200},
		{closed, "[::1]:8545", 200},
		{closed, "evil.example", 403},
		{open, "node.example:8545", 200},
		{open, "NODE.example", 200},
		{open, "evil.example", 403},
		{any, "evil.example", 200},
	} {
		if status, _ := x.f.post(body, "Host", x.host); status != x.status {
			t.Errorf("host %s: %d, want %d", x.host, status, x.status)
		}
	}
	for _, x := range []struct {
		f      *fixture
		origin string
		may    bool
	}{
		{closed, "", true},
		{closed, "http://localhost", false},
		{closed, "https://wallet.example", false},
		{closed, "null", false},
		{open, "https://wallet.example", true},
		{open, "https://evil.example", false},
		{open, "http://wallet.example", false},
		{open, "https://a.wallet.example", false},
		{pattern, "https://a.wallet.example", true},
		{pattern, "https://A.wallet.example", true},
		{pattern, "https://wallet.example", false},
		{pattern, "http://a.wallet.example", false},
		{pattern, "https://a.wallet.example.evil.example", false},
		{any, "https://evil.example", true},
	} {
		c, err := rpc.DialWebsocket(t.Context(), x.f.wsURL(), x.origin)
		if (err == nil) != x.may {
			t.Errorf("WebSocket from origin %q: %v", x.origin, err)
		}
		if err == nil {
			c.Close()
		}
		if x.origin == "" {
			continue
		}
		r, err := http.NewRequest(http.MethodOptions, x.f.http.URL, nil)
		check(t, err)
		r.Header.Set("Origin", x.origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
		resp, err := http.DefaultClient.Do(r)
		check(t, err)
		resp.Body.Close()
		if allowed := resp.Header.Get("Access-Control-Allow-Origin") != ""; allowed != x.may {
			t.Errorf("preflight from origin %q: allowed %t, want %t", x.origin, allowed, x.may)
		}
	}
}

// TestBatches: a hundred reads in one batch, over HTTP and WebSocket, in order.
func TestBatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	threeKinds(f)
	for _, c := range []*rpc.Client{f.dial(), f.dialSocket()} {
		batch := make([]rpc.BatchElem, 100)
		for i := range batch {
			batch[i] = rpc.BatchElem{Method: "eth_getTransactionCount", Args: []any{key(i % 5).Address(), "pending"}, Result: new(string)}
		}
		batch[7].Method, batch[7].Args = "eth_nothing", nil
		check(t, c.BatchCall(batch))
		for i, e := range batch {
			want := "0x1"
			if i%5 > 2 {
				want = "0x0"
			}
			if i == 7 {
				if e.Error == nil {
					t.Error("no error for an unknown method")
				}
			} else if have := *e.Result.(*string); e.Error != nil || have != want {
				t.Errorf("%d: %s %v, want %s", i, have, e.Error, want)
			}
		}
	}
	txs := make([]rpc.BatchElem, 100)
	for i := range txs {
		txs[i] = rpc.BatchElem{Method: "eth_sendRawTransaction", Args: []any{rawHex(transfer(key(3), uint64(i)))}, Result: new(string)}
	}
	check(t, f.dial().BatchCall(txs))
	equal(t, "in the pool", f.pool.Stats().Executable, 100)
	equal(t, "in the block", len(f.seal().Transactions()), 100)
}

// TestBatchResponseLimit: what does not fit is an error in its place.
func TestBatchResponseLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{ResponseBytes: 10_000}}})
	batch := make([]rpc.BatchElem, 30)
	for i := range batch {
		batch[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{"latest", false}, Result: new(json.RawMessage)}
	}
	check(t, f.dial().BatchCall(batch))
	if batch[0].Error != nil || batch[29].Error == nil {
		t.Errorf("first %v, last %v", batch[0].Error, batch[29].Error)
	}
	contains(t, batch[29].Error.Error(), "response too large")
}

// TestWriteRate: an address that is not loopback may send so many a second; it
// is told to come back, with a code that makes it do so.
func TestWriteRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testWriteRate) // no allowance comes back meanwhile
}

func testWriteRate(t *testing.T) {
	w := newRates(1, 3)
	for range 3 {
		equal(t, "within the burst", w.allow("10.0.0.1"), true)
	}
	equal(t, "beyond it", w.allow("10.0.0.1"), false)
	equal(t, "another address", w.allow("10.0.0.2"), true)
	for range 10 {
		equal(t, "loopback", w.allow("127.0.0.1"), true)
	}
	for i := range 2 * maxRates {
		w.allow(fmt.Sprint("host", i))
	}
	if len(w.by) > maxRates {
		t.Errorf("%d addresses are remembered, at most %d", len(w.by), maxRates)
	}
	equal(t, "IPv6 by network", remoteHost("[2001:db8::1:2:3]:1"), remoteHost("[2001:db8::9]:2"))
}

// TestBusy: beyond the limit of concurrent requests others wait, then HTTP 429.
func TestBusy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Concurrent: 1}}})
	check(t, f.server.busy.enter(t.Context(), nil, "10.0.0.1"))
	free := time.AfterFunc(20*time.Millisecond, func() { f.server.busy.leave("10.0.0.1") })
	defer free.Stop()
	status, _ := f.post(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
	equal(t, "after a wait", status, 200)
}

// TestRequestTime: who waits for a receipt is told the hash before the request's
// time is up, and the rest of a batch is told that it is.
func TestRequestTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{RequestTime: Duration(3 * time.Second)}}})
	wait := func(k int) rpc.BatchElem {
		return rpc.BatchElem{Method: "eth_sendRawTransactionSync", Args: []any{rawHex(transfer(key(k), 0)), 60_000}, Result: new(string)}
	}
	batch := []rpc.BatchElem{wait(0), wait(1), {Method: "eth_chainId", Result: new(string)}}
	check(t, f.dial().BatchCall(batch))
	for i, want := range []int{codeSyncTimeout, codeTimeout, codeTimeout} {
		var e rpc.Error
		if !errors.As(batch[i].Error, &e) || e.ErrorCode() != want {
			t.Errorf("%d: %v, want code %d", i, batch[i].Error, want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	if err := (Limits{Batch: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "rpc.limits.batch") {
		t.Errorf("negative limit: %v", err)
	}
	want := DefaultLimits()
	want.Heavy = max(1, runtime.GOMAXPROCS(0)-1)
	equal(t, "defaults", Limits{}.withDefaults(), want)
	if _, err := New(Config{Limits: Limits{RequestTime: -1}}, Backend{}); err == nil {
		t.Error("a server with a negative limit")
	}
}

// TestSlowBody: a body that trickles in takes nobody's place, and ends when its time
// is up.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{RequestTime: Duration(4 * time.Second), Concurrent: 1}}})
	var slow []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.http.URL, "http://"))
		check(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", smallBody+1)
		check(t, err)
		slow = append(slow, c)
	}
	eventually(t, "the slow ones are read", func() bool { return f.server.service.bodies.Load() == 3 })
	equal(t, "places taken", f.server.busy.taken(), 0)
	status, _ := f.post(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
	equal(t, "others are served", status, 200)
	for _, c := range slow {
		check(t, c.SetReadDeadline(time.Now().Add(patience)))
		answer, err := bufio.NewReader(c).ReadString('\n')
		check(t, err)
		contains(t, answer, "408")
	}
}

// TestSlowAnswer: who does not read an answer takes nobody's place.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Concurrent: 1}}})
	c, err := net.Dial("tcp", strings.TrimPrefix(f.http.URL, "http://"))
	check(t, err)
	defer c.Close()
	check(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	body := `[` + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"rpc_discover"},`, 400) + `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}]`
	_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	check(t, err)
	eventually(t, "the answer waits, at no place", func() bool {
		return f.server.service.waiting.Load() > 1<<20 && f.server.busy.taken() == 0
	})
	status, _ := f.post(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
	equal(t, "others are served", status, 200)
}

// TestOvertime: a read that takes too long over WebSocket ends with the same
// error as over HTTP.
func TestOvertime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{RequestTime: 1}}})
	c := f.dialSocket()
	for _, x := range [][]any{
		{"eth_getLogs", map[string]any{"fromBlock": "0x0"}},
		{"eth_feeHistory", 1, "latest", []float64{}},
		{"cairn_history", key(0).Address()},
		{"ots_searchTransactionsAfter", key(0).Address(), 0, 1},
	} {
		var e rpc.Error
		if err := c.Call(nil, x[0].(string), x[1:]...); !errors.As(err, &e) || e.ErrorCode() != codeTimeout {
			t.Errorf("%v: %v", x, err)
		}
	}
}

// TestBatchTooLarge: as many calls as may be are answered; of one more, and of a
// body full of them, none, with the id of the first call that has one.
func TestBatchTooLarge(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Batch: 5}}})
	batch := func(n int, first, rest string) string {
		return "[" + first + strings.Repeat(","+rest, n-1) + "]"
	}
	call := `{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}`
	refused := func(id string) string {
		return `[{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32600,"message":"batch too large"}}]`
	}
	status, answer := f.post(batch(5, call, call))
	equal(t, "answers", [2]int{status, strings.Count(answer, `"result":`)}, [2]int{200, 5})
	for _, x := range []struct{ body, want string }{
		{batch(6, call, call), refused("7")},
		{batch(6, "{}", call), refused("7")},
		{batch(80_000, "{}", "{}"), refused("null")},
		{batch(80_000, "1", "[]"), refused("null")},
	} {
		status, answer := f.post(x.body)
		equal(t, "status", status, 200)
		equal(t, "answer", strings.TrimSpace(answer), x.want)
	}
	equal(t, "calls that are read", len(readFrame([]byte(batch(300_000, "{}", "{}")), 5).calls), 6)
	var results []rpc.BatchElem
	for range 6 {
		results = append(results, rpc.BatchElem{Method: "eth_chainId", Result: new(string)})
	}
	check(t, f.dialSocket().BatchCall(results))
	var e rpc.Error
	if !errors.As(results[0].Error, &e) || e.ErrorCode() != -32600 {
		t.Errorf("over WebSocket: %v", results[0].Error)
	}
}
