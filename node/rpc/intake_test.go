package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestOtherVerbs: a call comes in a POST alone. With another verb nobody gets past
// the token or the limits, whatever the body says.
func TestOtherVerbs(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		f, all, _, _ := tokenFixture(t, closed)
		for _, path := range []string{"/", "/" + all} {
			for _, verb := range []string{http.MethodOptions, http.MethodGet, http.MethodPatch, http.MethodHead, http.MethodPut, http.MethodDelete, "CALL"} {
				r, err := http.NewRequest(verb, f.http.URL+path, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`))
				check(t, err)
				r.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(r)
				check(t, err)
				answer, err := io.ReadAll(resp.Body)
				check(t, err)
				check(t, resp.Body.Close())
				if resp.StatusCode == http.StatusOK || strings.Contains(string(answer), "jsonrpc") {
					t.Errorf("closed %t, %s %q: %d %s", closed, verb, path, resp.StatusCode, answer)
				}
			}
		}
		equal(t, "calls", counted(t, f.server.service.meters.method([]byte("eth_chainId")).calls), 0.0)
	}
}

// TestTokenAfterTheCall: what stands behind the JSON opens no method and no rate.
func TestTokenAfterTheCall(t *testing.T) {
	t.Parallel()
	f, _, some, slow := tokenFixture(t, true)
	for _, behind := range []string{"x", "]", "{}", "\x00", ` {"jsonrpc":"2.0","id":2,"method":"cairn_status"}`} {
		for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"cairn_status"}`, `[{"jsonrpc":"2.0","id":1,"method":"cairn_status"}]`} {
			if _, answer := f.postTo("/"+some, body+behind); strings.Contains(answer, "result") {
				t.Errorf("%s: %.200s", body+behind, answer)
			}
		}
	}
	served := 0
	for range 20 {
		if _, answer := f.postTo("/"+slow, `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}x`); strings.Contains(answer, "result") {
			served++
		}
	}
	if served > 10 {
		t.Errorf("%d of 20 calls with a token for one a second", served)
	}
}

// TestSocketPlaces: a subscription that is never answered, or only seems to be
// one, takes no place of its connection, and the connection ends with its client.
func TestSocketPlaces(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{SocketCalls: 4}}})
	c, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
	check(t, err)
	check(t, resp.Body.Close())
	for range 6 {
		for _, s := range []string{
			`{"jsonrpc":"2.0","method":"eth_subscribe","params":["newHeads"]}`, `{"jsonrpc":"2.0","method":"eth_unsubscribe","params":["0x1"]}`,
			`{"jsonrpc":"2.0","id":{},"method":"eth_subscribe","params":["newHeads"]}`,
		} {
			check(t, c.WriteMessage(websocket.TextMessage, []byte(s)))
		}
	}
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}`)))
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
	for answer := ""; !strings.Contains(answer, `"id":7`); {
		_, raw, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("the connection does not go on: %v", err)
		}
		answer = string(raw)
	}
	check(t, c.Close())
	eventually(t, "the connection's place comes back", func() bool { return f.server.service.sockets.count() == 0 })
}

// TestSeemingSubscription: go-ethereum's decoder takes the last of several
// spellings of a key; what it would take for another method is not handed to it
// past the limits.
func TestSeemingSubscription(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","Method":"rpc_discover"}`,
		`{"jsonrpc":"2.0","id":1,"method":"rpc_discover","method":"eth_subscribe"}`,
		`{"jsonrpc":"2.0","method":"eth_subscribe"}`,
	} {
		if f := readFrame([]byte(s), 10); f.subscribes() {
			t.Errorf("%s goes past the limits", s)
		}
	}
}

// TestTornIDs: a batch that is too large and ends within an id is refused, too.
func TestTornIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Batch: 2}}})
	for _, id := range []string{`"`, `"\`, `"a`, `"a\"`, `1`, `-`} {
		status, answer := f.post(fmt.Sprintf(`[{},{},{"jsonrpc":"2.0","method":"a","id":%s`, id))
		if status != http.StatusOK || !strings.Contains(answer, `"error"`) {
			t.Errorf("%s: %d %s", id, status, answer)
		}
	}
}

// TestTooMuchComes: bodies that come and do not end, over HTTP or WebSocket, are
// bounded together; small requests are answered meanwhile, and what ends gives its
// bytes back.
func TestTooMuchComes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{WaitingBytes: 200_000}}})
	bodies := &f.server.service.bodies
	half := strings.Repeat(" ", 150_000)
	dial := func() *websocket.Conn {
		c, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
		check(t, err)
		check(t, resp.Body.Close())
		w, err := c.NextWriter(websocket.TextMessage)
		check(t, err)
		_, _ = io.WriteString(w, half) // fails if it is refused before its end
		return c
	}
	first := dial()
	defer first.Close()
	eventually(t, "the first message's bytes", func() bool { return bodies.Load() > 140_000 })
	second := dial()
	defer second.Close()
	check(t, second.SetReadDeadline(time.Now().Add(patience)))
	if _, _, err := second.ReadMessage(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a second large message: %v", err)
	}
	equal(t, "refused", counted(t, f.server.service.meters.refusals.WithLabelValues("memory")), 1.0)
	status, answer := f.post(half + `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
	if status != http.StatusTooManyRequests || !strings.Contains(answer, "rpc.limits.waiting_bytes") {
		t.Errorf("a large body: %d %s", status, answer)
	}
	equal(t, "a small one", f.call("eth_chainId"), any("0x1cbd"))
	check(t, first.Close())
	eventually(t, "all bytes are given back", func() bool { return bodies.Load() == 0 })
	status, _ = f.post(half + `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
	equal(t, "a large body now", status, http.StatusOK)
	eventually(t, "and its bytes", func() bool { return bodies.Load() == 0 })
}

// TestBuffersOfSlow: large requests leave large buffers, and a request of which few
// bytes have come does not keep one of these.
func TestBuffersOfSlow(t *testing.T) {
	t.Parallel()
	svc := &service{limits: DefaultLimits()}
	for _, size := range []int{1 << 20, 3*firstBuffer + 1, firstBuffer, 10} {
		var large []*intake
		for range 4 {
			in := svc.intake(new(atomic.Int64))
			sent := bytes.Repeat([]byte("x y"), 1+size/3)[:size]
			have, err := in.read(bytes.NewReader(sent), -1)
			check(t, err)
			equal(t, "the request is as it was sent", bytes.Equal(have, sent), true)
			if most := max(firstBuffer, 2*size); cap(*in.buffer) > most {
				t.Errorf("a request of %d bytes has a buffer of %d", size, cap(*in.buffer))
			}
			large = append(large, in)
		}
		for _, in := range large {
			in.release()
			in.release() // does nothing
		}
	}
	equal(t, "bytes that count", svc.bodies.Load(), 0)
}

// TestLongMessages: of long messages that wait for their turn a connection has few,
// and all are answered in the end.
func TestLongMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Heavy: 1}}})
	svc := f.server.service
	check(t, svc.heavy.enter(t.Context(), nil, "another"))
	c, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
	check(t, err)
	defer c.Close()
	check(t, resp.Body.Close())
	message := `[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"eth_chainId"}` + strings.Repeat(" ", 100_000) + "]"
	const n = 30
	sent := make(chan error, 1)
	go func() {
		for range n {
			if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	eventually(t, "the connection's places are taken", func() bool {
		svc.sockets.mu.Lock()
		defer svc.sockets.mu.Unlock()
		for _, s := range svc.sockets.open {
			return len(s.calls) == cap(s.calls)
		}
		return false
	})
	if held, most := svc.bodies.Load(), int64(DefaultLimits().SocketCalls*smallAnswer+len(message)); held > most {
		t.Errorf("%d bytes wait, at most %d", held, most)
	}
	svc.heavy.leave("another")
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
	for range n {
		_, answer, err := c.ReadMessage()
		check(t, err)
		contains(t, string(answer), `"id":2`)
	}
	check(t, <-sent)
	eventually(t, "all bytes are given back", func() bool { return svc.bodies.Load() == 0 })
}

// TestReplyParts: what stands between large results, which are not copied, takes
// no buffer of its own each time.
func TestReplyParts(t *testing.T) {
	large := answered{id: []byte("1"), body: []byte(strings.Repeat("a", sharedPart))}
	small := answered{id: []byte("22"), body: []byte(`"0x1"`)}
	want, out := "", newReply()
	make200 := func() {
		out = newReply()
		for i := range 200 {
			for range 1 + i%3 {
				small.to(out)
			}
			large.to(out)
		}
	}
	allocs := testing.AllocsPerRun(5, make200)
	if allocs > 50 {
		t.Errorf("%v allocations for 200 large results", allocs)
	}
	for i := range 200 {
		for range 1 + i%3 {
			want += resultHead + "22" + resultMiddle + `"0x1"` + resultEnd
		}
		want += resultHead + "1" + resultMiddle + string(large.body) + resultEnd
	}
	equal(t, "the whole", string(bytes.Join(out.parts, nil)) == want, true)
	equal(t, "size", out.size, len(want))
}

// TestLongTransactions: few transactions with much data are no more of an answer
// than many without.
func TestLongTransactions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{ResponseBytes: 10_000}}})
	ask := func(method string, params ...any) string {
		code, text := f.callError(method, params...)
		equal(t, method, code == codeDefault || code == codeInvalidParams, true)
		return text
	}
	for i := range uint64(2) {
		tx := dynamic(i)
		tx.Data, tx.Gas = bytes.Repeat([]byte{1}, 3000), 200_000
		f.add(sign(key(0), tx))
	}
	contains(t, ask("txpool_content"), "rpc.limits.response_bytes")
	contains(t, ask("txpool_contentFrom", key(0).Address()), "rpc.limits.response_bytes")
	f.call("txpool_inspect")
	f.seal()
	contains(t, ask("ots_searchTransactionsBefore", someone, 0, 2), "rpc.limits.response_bytes")
	contains(t, ask("ots_searchTransactionsAfter", someone, 0, 2), "rpc.limits.response_bytes")
	f.call("txpool_content")
}

// TestClientLeaves: what a caller asked for is not worked on when it has left, over
// HTTP and WebSocket, alone or in a batch.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	const sleep = `{"jsonrpc":"2.0","id":1,"method":"test_sleep"}`
	f := newFixture(t, options{cfg: Config{Limits: Limits{RequestTime: Duration(time.Hour), Heavy: 4}}})
	svc := f.server.service
	for name, c := range callables(map[string][]any{"test": {&crashAPI{}}}) {
		svc.methods[name] = c
	}
	ctx, leave := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	for _, body := range []string{sleep, "[" + sleep + "," + sleep + "]"} {
		gone.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.http.URL, strings.NewReader(body))
			if err == nil {
				r.Header.Set("Content-Type", "application/json")
				var resp *http.Response
				if resp, err = http.DefaultClient.Do(r); err == nil {
					_ = resp.Body.Close()
				}
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", body, err)
			}
		})
	}
	c, resp, err := websocket.DefaultDialer.Dial(f.wsURL(), nil)
	check(t, err)
	check(t, resp.Body.Close())
	check(t, c.WriteMessage(websocket.TextMessage, []byte("["+sleep+","+sleep+"]")))
	eventually(t, "all are worked on", func() bool { return svc.heavy.taken() == 2 && f.server.busy.taken() == 2 })
	leave()
	check(t, c.Close())
	gone.Wait()
	eventually(t, "none is any more", func() bool { return svc.heavy.taken() == 0 && f.server.busy.taken() == 0 })
}

// TestSubscriptionsOfOne: one address has its share of all subscriptions, over as
// many connections as it likes; loopback has no share of its own.
func TestSubscriptionsOfOne(t *testing.T) {
	t.Parallel()
	s := newSockets(Limits{Subscriptions: 6, SubscriptionsPerAddress: 3, SocketSubscriptions: 2})
	var release []func()
	take := func(addresses ...string) (taken string) {
		for _, a := range addresses {
			if s.open[a] == nil {
				s.add(&socket{address: a})
			}
			s.mu.Lock()
			back, err := s.subscribeLocked(s.open[a])
			s.mu.Unlock()
			if err != nil {
				contains(t, err.Error(), "too many subscriptions: at most 2 on a connection, 3 from one address, 6 in all")
				taken += "-"
				continue
			}
			taken += "+"
			release = append(release, back)
		}
		return taken
	}
	equal(t, "one address", take("10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:2"), "++-+-")
	equal(t, "others", take("10.0.0.2:1", "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2"), "+++-")
	for _, f := range release {
		f()
	}
	equal(t, "nothing is left", [2]int{s.subscriptionCount(), len(s.subsBy)}, [2]int{0, 0})
	equal(t, "loopback alone", take("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2", "127.0.0.1:3"), "+++++")
}

// TestMessagePlaces: a message takes places by its bytes and its calls.
func TestMessagePlaces(t *testing.T) {
	t.Parallel()
	c := &socket{calls: make(chan struct{}, 64)}
	batch := frame{batch: true, count: 200}
	one := frame{calls: make([]call, 1), count: 1}
	equal(t, "places", [4]int{c.places(&one, 100), c.places(&one, 100_000), c.places(&batch, 100), c.places(&batch, 1<<20)}, [4]int{1, 7, 7, 64})
}
