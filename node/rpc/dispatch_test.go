package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/ledger/store"
)

// requestOf is a request as it comes to the dispatcher.
func requestOf(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r.WithContext(withCaller(r.Context(), &caller{host: "127.0.0.1"}))
}

// both are the answers of the dispatcher and of go-ethereum's server alone.
func (f *fixture) both(body string) (ours, theirs string) {
	frame := readFrame([]byte(body), DefaultLimits().Batch)
	ours = string(bytes.Join(f.server.dispatch(requestOf(body), []byte(body), &frame).parts, nil))
	_, answer := f.server.foreign(requestOf(body), []byte(body), time.Time{})
	return ours, string(answer)
}

// TestSameAnswers: what is answered without go-ethereum's server is answered
// byte for byte alike, result or error, alone or in a batch.
func TestSameAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	changes := map[string]bool{ // the second call answers something else
		"eth_sendRawTransaction": true, "eth_newFilter": true, "eth_newBlockFilter": true, "eth_newPendingTransactionFilter": true, "eth_getFilterChanges": true,
		"txpool_inspect": true, // in the order of a map
	}
	var bodies []string
	for i, c := range sampleCalls(f) {
		if changes[c[0].(string)] {
			continue
		}
		params, err := json.Marshal(append([]any{}, c[1:]...))
		check(t, err)
		bodies = append(bodies, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, i, c[0], params))
	}
	to := someone.Hex()
	bodies = append(bodies,
		`{"jsonrpc":"2.0","id":"a-b","method":"eth_getBalance","params":["`+to+`"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["`+to+`",null]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["`+to+`","0x63"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["`+to+`",{"blockNumber":"0x0"}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["`+to+`","newest"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["`+to+`","latest",1]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[null]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":null}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"`+to+`"},"latest",{"`+to+`":{}}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x000000000000000000000000000000000000ca10","data":"0x12345678"}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x2","toBlock":"0x1"}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x02c0"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_<b>","params":[]}`,
		`{"jsonrpc":"2.0","id":"<é\u0041>","method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":null,"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":1.5e3,"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":true,"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":1,"id":2,"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_\u0063hainId"}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","more":1}`,
		`{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","method":"eth_chainId"}`,
		`{"jsonrpc":"2.0","id":1,"method":""}`,
		`{"jsonrpc":"2.0","id":1,"result":1}`,
		`5`, `null`, `{}`,
	)
	for _, s := range []string{`[]`, `[`, `{`, ``, `[{}`, `hello`, `[5]x`} {
		equal(t, s, same(f.both(s)), true)
	}
	for _, s := range bodies {
		equal(t, s, same(f.both(s)), true)
		equal(t, "batch of "+s, same(f.both("[ "+s+" ]")), true)
	}
	equal(t, "all in a batch", same(f.both("["+strings.Join(bodies, ",")+"]")), true)
	equal(t, "notifications only", same(f.both(`[{"jsonrpc":"2.0","method":"eth_chainId"},{"jsonrpc":"2.0","method":"eth_x"}]`)), true)
}

// same says whether two answers are the same, else it is what they are.
func same(ours, theirs string) any {
	if ours == theirs {
		return true
	}
	return fmt.Sprintf("\nours   %.600s\ntheirs %.600s", ours, theirs)
}

// crashAPI has a method that panics and one that takes its time.
type crashAPI struct{}

func (*crashAPI) Crash(at *int) int { return *at }

func (*crashAPI) Sleep(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Wrapped has a code that counts only bare, as for go-ethereum's server.
func (*crashAPI) Wrapped() error { return fmt.Errorf("wrapped: %w", errTimeout) }

func (*crashAPI) Unwritable() any { return func() {} }

// TestFailingMethods: what a method does wrong is the error of its call alone.
func TestFailingMethods(t *testing.T) {
	t.Parallel()
	for limit, methods := range map[time.Duration]map[string]int{
		0:                     {"test_crash": -32000, "test_wrapped": -32000, "test_unwritable": -32000},
		50 * time.Millisecond: {"test_sleep": codeTimeout}, // the others may need longer on a busy machine
	} {
		f := newFixture(t, options{cfg: Config{Limits: Limits{RequestTime: Duration(limit)}}})
		for name, c := range callables(map[string][]any{"test": {&crashAPI{}}}) {
			f.server.service.methods[name] = c
		}
		for _, c := range []*rpc.Client{f.dial(), f.dialSocket()} {
			for method, want := range methods {
				var e rpc.Error
				if err := c.Call(nil, method); !errors.As(err, &e) || e.ErrorCode() != want {
					t.Errorf("%s: %v, want code %d", method, err, want)
				}
			}
			if limit == 0 {
				check(t, c.Call(new(string), "eth_chainId"))
			}
		}
	}
}

// TestFinalAnswers: answers about final blocks are kept within their bytes and
// stay right while blocks follow.
func TestFinalAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{CacheBytes: 40_000}}})
	block, txs := threeKinds(f)
	ask := func() string {
		raw, err := json.Marshal([]any{
			f.call("eth_getBlockByNumber", "0x1", true), f.call("eth_getBlockByHash", block.Hash(), false), f.call("eth_getBlockReceipts", "0x1"),
			f.call("eth_getTransactionReceipt", txs[1].Hash()), f.call("eth_getTransactionByHash", txs[2].Hash()),
		})
		check(t, err)
		return string(raw)
	}
	first := ask()
	equal(t, "kept", ask(), first)
	if f.call("eth_getBlockByNumber", "0x2", true) != nil {
		t.Error("a block beyond the head")
	}
	hits := counted(t, f.server.service.meters.cacheHits)
	equal(t, "hits", hits, 5.0)
	next := f.seal()
	got := f.call("eth_getBlockByNumber", "0x2", true).(map[string]any)
	equal(t, "null was not kept", got["hash"], any(next.Hash().Hex()))
	for range 50 {
		f.seal()
	}
	for n := range 50 {
		f.call("eth_getBlockByNumber", fmt.Sprintf("%#x", n), false)
	}
	equal(t, "made anew", ask(), first)
	if kept := f.server.service.finals; kept.most != 5000 {
		t.Errorf("an entry may have %d bytes", kept.most)
	}
}

// TestBatchTurns: while one caller fills the places for heavy work, another gets
// one.
func TestBatchTurns(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Heavy: 4}}})
	heavy := f.server.service.heavy
	for range 3 {
		check(t, heavy.enter(t.Context(), nil, "10.0.0.1"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := heavy.enter(ctx, nil, "10.0.0.1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth place for one caller: %v", err)
	}
	equal(t, "another caller", len(f.call("rpc_discover").(map[string]any)) > 0, true)
}

// TestPrunedHistory: of a block that is too old the error says where this node's
// history begins, and makes nobody try again.
func TestPrunedHistory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	threeKinds(f)
	for range 4 {
		f.seal()
	}
	check(t, f.ledger.RaiseBounds(store.Bounds{Base: 3, FirstBody: 4}))
	for _, method := range []string{"eth_getBalance", "eth_getTransactionCount"} {
		code, text := f.callError(method, someone, "0x1")
		equal(t, "code", code, codeDefault)
		equal(t, "text", text, "history of that block is not kept here: this node's states begin at block 3 and its transactions at block 4")
	}
	equal(t, "what is kept", f.call("eth_getBalance", someone, "0x3"), any("0x6"))
}

// TestConnections: beyond the limits a connection is closed at once, and a place
// that comes free is given again.
func TestConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Connections: 3, ConnectionsPerAddress: 2}}})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	l := f.server.Listener(inner)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		check(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	var served []net.Conn
	for range 3 { // loopback has no limit of its own
		dial()
		served = append(served, <-accepted)
	}
	over := dial()
	check(t, over.SetReadDeadline(time.Now().Add(patience)))
	if _, err := over.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: %v", err)
	}
	check(t, served[0].Close())
	_ = served[0].Close() // again: gives nothing back twice
	dial()
	last := <-accepted
	check(t, l.Close())
	<-accepted
	for _, c := range append(served[1:], last) {
		check(t, c.Close())
	}
	own := l.(*listener)
	equal(t, "nothing is left", [2]int{own.open, len(own.by)}, [2]int{0, 0})
	equal(t, "of one address", [3]bool{own.enter("10.0.0.1"), own.enter("10.0.0.1"), own.enter("10.0.0.1")}, [3]bool{true, true, false})
	equal(t, "refused", counted(t, f.server.service.meters.refusals.WithLabelValues("connections")), 1)
}
