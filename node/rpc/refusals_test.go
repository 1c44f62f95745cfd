package rpc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// TestRefusedUnread: what can only be refused is answered before the rest of it
// has come.
func TestRefusedUnread(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Batch: 3, BodyBytes: 500_000}}})
	for _, x := range []struct {
		length int
		begun  string // nothing more comes
		want   string
	}{
		{400_000, `[{},{"jsonrpc":"2.0","id":7,"method":"a"},3,4`, `"id":7,"error":{"code":-32600,"message":"batch too large"}`},
		{400_000, strings.Repeat("[", maxDepth+1), `"code":-32700,"message":"parse error: nested deeper than 64"`},
		{600_000, "", "content length too large (more than 500000)"},
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.http.URL, "http://"))
		check(t, err)
		defer c.Close()
		check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", x.length, x.begun)
		check(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		answer, err := io.ReadAll(resp.Body)
		check(t, err)
		check(t, resp.Body.Close())
		contains(t, string(answer), x.want)
		equal(t, "the connection ends", resp.Close, true)
	}
}

// TestRefusals: an address that sends too much which is refused is not heard any
// more for a while; others are.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Batch: 3, BodyBytes: 20_000}}})
	const call = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`
	ask := func(host, body, content string) *httptest.ResponseRecorder {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for what comes late
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
		r.RemoteAddr = host + ":1"
		r.Header.Set("Content-Type", content)
		w := httptest.NewRecorder()
		f.server.ServeHTTP(w, r)
		return w
	}
	const json = "application/json"
	for _, x := range []struct {
		body, content string
		status        int
	}{
		{"[1,2,3,4]", json, 200},
		{strings.Repeat("[", 100), json, 200},
		{"{", json, 200},
		{strings.Repeat(" ", 30_000), json, http.StatusRequestEntityTooLarge},
		{call, "text/html", http.StatusUnsupportedMediaType},
	} {
		f.server.service.refusals = newRates(0, 2) // nothing comes back
		equal(t, "a call", ask("10.0.0.1", call, json).Code, 200)
		for range 2 {
			equal(t, "refused", ask("10.0.0.1", x.body, x.content).Code, x.status)
		}
		w := ask("10.0.0.1", call, json)
		equal(t, "a call after "+x.body[:1], w.Code, http.StatusTooManyRequests)
		equal(t, "headers", [2]string{w.Header().Get("Retry-After"), w.Header().Get("Connection")}, [2]string{"1", "close"})
		contains(t, w.Body.String(), "rpc.limits.refusals_per_second")
		equal(t, "another address", ask("10.0.0.2", call, json).Code, 200)
		for range 5 {
			equal(t, "this machine's proxy", ask("127.0.0.1", x.body, x.content).Code, x.status)
		}
		equal(t, "its call", ask("127.0.0.1", call, json).Code, 200)
	}
}

// TestRefusalsByToken: strangers do not lock out who has a token behind the same
// address, and who has one answers for what it sends.
func TestRefusalsByToken(t *testing.T) {
	t.Parallel()
	var tokens []Token
	var paths []string
	for _, name := range []string{"a", "b"} {
		token, hash := NewToken()
		tokens, paths = append(tokens, Token{Name: name, SHA256: hash}), append(paths, "/"+token)
	}
	f := newFixture(t, options{cfg: Config{Tokens: tokens}})
	f.server.service.refusals = newRates(0, 2)
	ask := func(host, path, body string) int {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits for what comes late
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1"+path, strings.NewReader(body))
		r.RemoteAddr = host + ":1"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		f.server.ServeHTTP(w, r)
		return w.Code
	}
	const call = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`
	const host, elsewhere, proxy = "10.0.0.1", "10.0.0.2", "127.0.0.1"
	for range 3 {
		ask(host, "/wrong", call)
	}
	equal(t, "a stranger after wrong tokens", ask(host, "/", call), http.StatusTooManyRequests)
	equal(t, "who has a token", ask(host, paths[0], call), 200)
	for range 3 {
		ask(host, paths[0], "{")
		ask(proxy, paths[0], "{")
	}
	equal(t, "who sends what is refused with a token", ask(host, paths[0], call), http.StatusTooManyRequests)
	equal(t, "another token", ask(host, paths[1], call), 200)
	equal(t, "the token elsewhere", ask(elsewhere, paths[0], call), 200)
	equal(t, "the token through this machine's proxy", ask(proxy, paths[0], call), 200)
}

// TestSocketRefusals: a connection goes on after a message that is refused, and
// ends when too many were.
func TestSocketRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Batch: 3}}})
	f.server.service.refusals = newRates(0, 4)
	d := websocket.Dialer{NetDialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	c, resp, err := d.Dial(f.wsURL(), nil)
	if err != nil {
		t.Skip("this system has no 127.0.0.2: ", err)
	}
	defer c.Close()
	check(t, resp.Body.Close())
	check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	for _, x := range [][2]string{
		{"[1,2,3,4]", "batch too large"}, {strings.Repeat("[", 100), "nested deeper"}, {"{", "parse error"}, {" ", "parse error"},
	} {
		check(t, c.WriteMessage(websocket.TextMessage, []byte(x[0])))
		_, answer, err := c.ReadMessage()
		check(t, err)
		contains(t, string(answer), x[1])
	}
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)))
	_, _, err = c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
		t.Errorf("have %v", err)
	}
}

// TestTurnPassed: who works for long passes its place on to who waits, and goes on
// when it is its turn again.
func TestTurnPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{heavy: newPlaces(1)}
		var order []string
		var all sync.WaitGroup
		work := func(who string, slices int) {
			all.Go(func() {
				ctx, turn, err := s.takeTurn(withCaller(t.Context(), &caller{host: who}))
				check(t, err)
				defer turn.leave()
				for range slices {
					order = append(order, who) // whoever has the place
					time.Sleep(turnSlice)      // of the bubble's clock: it works
					check(t, s.pause(ctx))
				}
			})
			synctest.Wait()
		}
		work("10.0.0.1", 4)
		work("10.0.0.2", 2)
		work("10.0.0.1", 1)
		all.Wait()
		equal(t, "order", fmt.Sprint(order), "[10.0.0.1 10.0.0.2 10.0.0.1 10.0.0.2 10.0.0.1 10.0.0.1 10.0.0.1]")
		equal(t, "taken", s.heavy.taken(), 0)
	})
}

// TestHeavyHoweverWritten: no way to write a call whose answer may be large gets by
// the few places for those.
func TestHeavyHoweverWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Heavy: 1}}})
	heavy := f.server.service.heavy
	waits := func() bool {
		heavy.mu.Lock()
		defer heavy.mu.Unlock()
		return len(heavy.turns) > 0
	}
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{}]}`,
		`[{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{}]}]`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getLog\u0073","params":[{}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","meth\u006fd":"eth_getLogs","params":[{}]}`,
		`[{"jsonrpc":"2.0","id":1,"method":"eth_chainId","meth\u006fd":"eth_getLogs","params":[{}]}]`,
	} {
		check(t, heavy.enter(t.Context(), nil, "10.0.0.9"))
		answer := make(chan string, 1)
		go func() {
			_, a := f.post(body)
			answer <- a
		}()
		eventually(t, body+" waits for the place", func() bool { return waits() || len(answer) > 0 })
		equal(t, "answers of "+body+" without a place", len(answer), 0)
		heavy.leave("10.0.0.9")
		contains(t, <-answer, `"result":[]`)
	}
}

// TestTurnLeft: who waits for a receipt in a batch does not keep others from
// working, and its batch goes on.
func TestTurnLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t, options{cfg: Config{Limits: Limits{Heavy: 1}}})
	heavy := f.server.service.heavy
	tx := transfer(key(0), 0)
	answer := make(chan string, 1)
	go func() {
		_, a := f.post(`[{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransactionSync","params":["` + rawHex(tx) + `"]},{"jsonrpc":"2.0","id":2,"method":"eth_chainId"}]`)
		answer <- a
	}()
	eventually(t, "it waits", func() bool { return f.pool.Has(tx.Hash()) && heavy.taken() == 0 })
	equal(t, "another caller", len(f.call("rpc_discover").(map[string]any)) > 0, true)
	f.seal()
	a := <-answer
	contains(t, a, `"status":"0x1"`)
	contains(t, a, `"id":2,"result":"0x1cbd"`)
	eventually(t, "the place comes back", func() bool { return heavy.taken() == 0 })
}
