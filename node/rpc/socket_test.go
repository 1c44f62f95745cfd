package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"cairn/crypto"
)

// receive takes n values of a subscription.
func receive[T any](t *testing.T, ch <-chan T, sub interface{ Err() <-chan error }, n int) []T {
	t.Helper()
	var out []T
	timeout := time.After(patience)
	for len(out) < n {
		select {
		case v := <-ch:
			out = append(out, v)
		case err := <-sub.Err():
			t.Fatalf("subscription ended after %d of %d: %v", len(out), n, err)
		case <-timeout:
			t.Fatalf("%d of %d notifications", len(out), n)
		}
	}
	return out
}

// TestNewHeads: every header, in order, although more blocks become final at
// once than the ledger keeps for a subscriber; hashes recomputed by the client.
func TestNewHeads(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	ch := make(chan *types.Header)
	sub, err := ethclient.NewClient(f.dialSocket()).SubscribeNewHead(context.Background(), ch)
	check(t, err)
	defer sub.Unsubscribe()
	const n = 300
	var want []crypto.Hash
	var b *types.Block
	for parent := f.ledger.HeadInfo().Hash; len(want) < n; parent = b.Hash() {
		b = f.build(parent)
		want = append(want, b.Hash())
	}
	f.finalize(b)
	for i, h := range receive(t, ch, sub, n) {
		if h.Hash() != want[i] {
			t.Fatalf("header %d is of block %d", i, h.Number)
		}
	}
}

// TestPoolSubscriptions: additions, as hashes and whole, and drops with their
// reason.
func TestPoolSubscriptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	ctx, c := context.Background(), f.dialSocket()
	hashes, full, drops := make(chan crypto.Hash), make(chan *types.Transaction), make(chan drop)
	hashSub, err := c.EthSubscribe(ctx, hashes, "newPendingTransactions")
	check(t, err)
	fullSub, err := c.EthSubscribe(ctx, full, "newPendingTransactions", true)
	check(t, err)
	dropSub, err := c.Subscribe(ctx, "cairn", drops, "drops")
	check(t, err)
	var want []crypto.Hash
	for i := range 10 {
		tx := transfer(key(0), uint64(i))
		want = append(want, tx.Hash())
		f.add(tx)
	}
	equal(t, "hashes", receive(t, hashes, hashSub, 10), want)
	for i, tx := range receive(t, full, fullSub, 10) {
		equal(t, "transaction", tx.Hash(), want[i])
	}
	better := dynamic(4)
	better.GasFeeCap, better.GasTipCap = gwei(20), gwei(2)
	f.add(sign(key(0), better))
	d := receive(t, drops, dropSub, 1)[0]
	equal(t, "dropped", d.Hash, want[4])
	equal(t, "sender", d.From, key(0).Address())
	contains(t, d.Reason, "replaced: by 0x")
}

// TestSubscriptionErrors: unknown kinds, bad parameters and too many.
func TestSubscriptionErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SocketSubscriptions: 2}}})
	ctx, c := context.Background(), f.dialSocket()
	ch := make(chan json.RawMessage, 10)
	for _, x := range []struct {
		namespace string
		params    []any
		text      string
	}{
		{"eth", []any{"sideHeads"}, `no "sideHeads" subscription in eth namespace`},
		{"eth", []any{"logs", map[string]any{"address": "0x12"}}, "invalid argument 1"},
		{"nothing", []any{"newHeads"}, `no "newHeads" subscription in nothing namespace`},
	} {
		_, err := c.Subscribe(ctx, x.namespace, ch, x.params...)
		if err == nil || !strings.Contains(err.Error(), x.text) {
			t.Errorf("%v: %v, want %s", x.params, err, x.text)
		}
	}
	one, err := c.EthSubscribe(ctx, ch, "newHeads")
	check(t, err)
	_, err = c.EthSubscribe(ctx, ch, "logs", map[string]any{})
	check(t, err)
	_, err = c.EthSubscribe(ctx, ch, "newHeads")
	var e rpc.Error
	if !errors.As(err, &e) || e.ErrorCode() != codeLimit {
		t.Fatalf("third subscription: %v", err)
	}
	one.Unsubscribe()
	eventually(t, "the place is free", func() bool { return f.server.service.sockets.subscriptionCount() == 1 })
	_, err = c.EthSubscribe(ctx, ch, "newHeads")
	check(t, err)
	c.Close()
	eventually(t, "all places are free", func() bool { return f.server.service.sockets.subscriptionCount() == 0 })
}

// TestSyncingSubscription: at once, and when it changes.
func TestSyncingSubscription(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	f.setStatus(func(s *Status) { s.Syncing, s.Target = true, 99 })
	equal(t, "eth_syncing", f.call("eth_syncing").(map[string]any)["highestBlock"], any("0x63"))
	ch := make(chan any, 1)
	sub, err := f.dialSocket().EthSubscribe(context.Background(), ch, "syncing")
	check(t, err)
	equal(t, "behind", receive(t, ch, sub, 1)[0].(map[string]any)["syncing"], any(true))
	f.setStatus(func(s *Status) { s.Syncing = false })
	equal(t, "in step", receive(t, ch, sub, 1)[0], any(false))
}

func (f *fixture) rawSocket() *websocket.Conn {
	f.t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
	check(f.t, err)
	resp.Body.Close()
	f.t.Cleanup(func() { c.Close() })
	return c
}

// TestSocketMalformed: what is no JSON is answered and the connection goes on; a
// message that is too long ends it with the code for that.
func TestSocketMalformed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{BodyBytes: 4096}}})
	c := f.rawSocket()
	for _, x := range []struct{ send, want string }{
		{`hello`, `"code":-32700`},
		{strings.Repeat("[", 1000), "nested deeper"},
		{`5`, "invalid request"},
		{`[]`, "empty batch"},
		{`[1]`, "invalid request"},
		{`{"jsonrpc":"2.0","method":"eth_chainId"}` + ` `, ""}, // a notification has no answer
		{`{"jsonrpc":"2.0","id":"a,\"b","method":"eth_chainId"}`, `"id":"a,\"b","result":"0x1cbd"`},
	} {
		check(t, c.WriteMessage(websocket.TextMessage, []byte(x.send)))
		if x.want == "" {
			continue
		}
		_, answer, err := c.ReadMessage()
		check(t, err)
		contains(t, string(answer), x.want)
	}
	check(t, c.WriteMessage(websocket.TextMessage, make([]byte, 5000)))
	_, _, err := c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("after a message that is too long: %v", err)
	}
}

// TestSocketManyCalls: more calls than places, all answered; none is leaked by
// notifications, answers and nonsense.
func TestSocketManyCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SocketCalls: 3}}})
	c := f.rawSocket()
	go func() {
		for i := range 500 {
			_ = c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"eth_chainId"}`, i))
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","method":"eth_chainId"}`))
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"result":7}`))
			_ = c.WriteMessage(websocket.TextMessage, []byte(`[{"jsonrpc":"2.0","method":"eth_chainId"}]`))
		}
	}()
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
	for i := range 500 {
		if _, _, err := c.ReadMessage(); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

// TestSlowReader: who does not read is closed and told why, if it reads at last;
// others are served meanwhile.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SlowReader: Duration(300 * time.Millisecond), ResponseBytes: 1 << 20}}})
	var last error
	for found := 1.0; found <= 10; found++ { // the frame that says why is dropped if this machine stands still for a second
		slow := f.rawSocket()
		for range 60 {
			check(t, slow.WriteMessage(websocket.TextMessage, []byte(`[`+strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"rpc_discover"},`, 5)+`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}]`)))
		}
		equal(t, "others", f.call("eth_chainId"), any("0x1cbd"))
		eventually(t, "the slow reader is found", func() bool {
			return counted(t, f.server.service.meters.refusals.WithLabelValues("slow reader")) == found
		})
		check(t, slow.SetReadDeadline(time.Now().Add(patience)))
		for last = nil; last == nil; {
			_, _, last = slow.ReadMessage()
		}
		eventually(t, "the connection is gone", func() bool { return f.server.service.sockets.count() == 0 })
		var closed *websocket.CloseError
		if errors.As(last, &closed) && closed.Code == websocket.CloseTryAgainLater && strings.Contains(closed.Text, "slow reader") {
			return
		}
	}
	t.Errorf("closed without a reason: %v", last)
}

// TestLostEvents: a subscriber that is behind more than what is kept is told
// that it has lost some.
func TestLostEvents(t *testing.T) {
	t.Parallel()
	e := NewEvents(nil)
	for i := range eventBacklog + 10 {
		e.Added(crypto.Hash{byte(i), byte(i >> 8)})
	}
	values, next, lost := e.added.since(5)
	equal(t, "lost", lost, true)
	equal(t, "kept", len(values), eventBacklog)
	equal(t, "oldest kept", values[0], crypto.Hash{10})
	more := e.added.more()
	values, _, lost = e.added.since(next - 1)
	equal(t, "newest", len(values) == 1 && !lost, true)
	e.Added(crypto.Hash{})
	select {
	case <-more:
	default:
		t.Error("not woken")
	}
}

// TestSocketLimits: so many connections and no more; Stop closes them with the
// code for it.
func TestSocketLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Sockets: 2}}})
	one := f.rawSocket()
	f.rawSocket()
	_, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err == nil || resp.StatusCode != 429 {
		t.Fatalf("third connection: %v", err)
	}
	one.Close()
	eventually(t, "a place is free", func() bool { return f.server.service.sockets.count() == 1 })
	c := f.rawSocket()
	f.server.Stop()
	_, _, err = c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("after Stop: %v", err)
	}
	s := newSockets(Limits{SocketsPerAddress: 1}.withDefaults())
	equal(t, "first of an address", s.enter("10.0.0.1"), true)
	equal(t, "second of an address", s.enter("10.0.0.1"), false)
	equal(t, "loopback", s.enter("127.0.0.1"), true)
	equal(t, "second of loopback", s.enter("127.0.0.1"), true)
}

// TestFilters: changes since the last call, expiry, limits.
func TestFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Filters: 4}}})
	blocks := f.call("eth_newBlockFilter")
	pending := f.call("eth_newPendingTransactionFilter")
	logs := f.call("eth_newFilter", map[string]any{"address": someone, "fromBlock": "0x0"})
	tx := transfer(key(0), 0)
	f.add(tx)
	a, b := f.seal(), f.seal()
	equal(t, "blocks", f.call("eth_getFilterChanges", blocks), any([]any{a.Hash().Hex(), b.Hash().Hex()}))
	equal(t, "no more blocks", f.call("eth_getFilterChanges", blocks), any([]any{}))
	equal(t, "pending", f.call("eth_getFilterChanges", pending), any([]any{tx.Hash().Hex()}))
	equal(t, "no more pending", f.call("eth_getFilterChanges", pending), any([]any{}))
	equal(t, "logs", f.call("eth_getFilterChanges", logs), any([]any{}))
	equal(t, "all logs", f.call("eth_getFilterLogs", logs), any([]any{}))
	_, text := f.callError("eth_getFilterLogs", blocks)
	equal(t, "not a log filter", text, "filter not found")
	f.call("eth_newBlockFilter")
	code, _ := f.callError("eth_newBlockFilter")
	equal(t, "too many", code, codeLimit)
	equal(t, "uninstall", f.call("eth_uninstallFilter", blocks), any(true))
	equal(t, "again", f.call("eth_uninstallFilter", blocks), any(false))

	store := f.server.service.filters
	store.mu.Lock()
	store.now = func() time.Time { return time.Now().Add(6 * time.Minute) }
	store.mu.Unlock()
	_, text = f.callError("eth_getFilterChanges", pending)
	equal(t, "expired", text, "filter not found")
	f.call("eth_newBlockFilter")
	equal(t, "the others went too", store.count(), 1)
}

// TestMetrics: calls and errors by method; names that a caller invents are one.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{})
	socket := f.dialSocket()
	check(t, socket.Call(new(string), "eth_chainId"))
	f.call("eth_chainId")
	f.callError("eth_getBalance", someone, "0x99")
	_ = socket.Call(new(string), "eth_getBalance", someone, "0x99")
	for i := range 5 {
		f.callError(fmt.Sprint("eth_invented", i))
	}
	m := f.server.service.meters
	equal(t, "calls", counted(t, m.calls.WithLabelValues("eth_chainId")), 2)
	eventually(t, "errors", func() bool {
		return counted(t, m.errors.WithLabelValues("eth_getBalance", "-32000")) == 2
	})
	equal(t, "unknown", counted(t, m.calls.WithLabelValues(labelUnknown)), 5)
	families, err := f.registry.Gather()
	check(t, err)
	equal(t, "families", len(families) >= 6, true)
}

// counted reads a counter.
func counted(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	check(t, c.Write(&m))
	return m.GetCounter().GetValue()
}

// TestMemory: large answers are refused while too many wait for their readers,
// small ones are given, and nothing that waited stays counted.
func TestMemory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{WaitingBytes: 1 << 20, Heavy: 1}}})
	svc := f.server.service
	svc.waiting.Store(1 << 20)
	status, answer := f.post(`{"jsonrpc":"2.0","id":1,"method":"rpc_discover"}`)
	equal(t, "large answer", status, 429)
	contains(t, answer, "try again later")
	equal(t, "small answer", f.call("eth_chainId"), any("0x1cbd"))
	c := f.rawSocket()
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"rpc_discover"}`)))
	_, _, err := c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("large answer over WebSocket: %v", err)
	}
	svc.waiting.Store(0)

	check(t, svc.heavy.enter(t.Context(), nil, "10.0.0.1"))
	free := time.AfterFunc(50*time.Millisecond, func() { svc.heavy.leave("10.0.0.1") })
	defer free.Stop()
	equal(t, "light beside heavy", f.call("eth_chainId"), any("0x1cbd"))
	f.call("rpc_discover") // waits for its turn
	socket := f.dialSocket()
	for range 20 {
		check(t, socket.Call(new(json.RawMessage), "rpc_discover"))
	}
	_, err = socket.EthSubscribe(context.Background(), make(chan any, 1), "newHeads")
	check(t, err)
	f.seal()
	eventually(t, "nothing waits", func() bool { return svc.waiting.Load() == 0 })
	slow := f.rawSocket()
	for range 200 {
		_ = slow.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"rpc_discover"}`))
	}
	slow.Close()
	eventually(t, "nothing of a closed connection waits", func() bool { return svc.waiting.Load() == 0 && svc.sockets.count() == 1 })
}
