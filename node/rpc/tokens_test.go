package rpc

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

// tokenFixture has one token for everything, one for two methods and heads, and
// one for a call a second.
func tokenFixture(t *testing.T, closed bool) (f *fixture, all, some, slow string) {
	t.Helper()
	var tokens [3]string
	var cfg Config
	for i, x := range []Token{
		{Name: "all"},
		{Name: "some", Methods: []string{"eth_getB*", "eth_chainId", "eth_subscribe"}},
		{Name: "slow", CallsPerSecond: 1, Burst: 3},
	} {
		tokens[i], x.SHA256 = NewToken()
		cfg.Tokens = append(cfg.Tokens, x)
	}
	cfg.RequireToken = closed
	return newFixture(t, options{cfg: cfg}), tokens[0], tokens[1], tokens[2]
}

func (f *fixture) dialWith(token string) []*rpc.Client {
	f.t.Helper()
	var out []*rpc.Client
	for _, base := range []string{f.http.URL, f.wsURL()} {
		c, err := rpc.Dial(base + "/" + token)
		check(f.t, err)
		f.t.Cleanup(c.Close)
		out = append(out, c)
	}
	return out
}

// TestTokenMethods: over HTTP and WebSocket, alone and in batches, a token opens
// the methods of its list and no others.
func TestTokenMethods(t *testing.T) {
	t.Parallel()
	f, all, some, _ := tokenFixture(t, true)
	for _, c := range f.dialWith(all) {
		check(t, c.Call(new(any), "cairn_status"))
	}
	for _, c := range f.dialWith(some) {
		check(t, c.Call(new(string), "eth_getBalance", someone))
		err := c.Call(new(any), "cairn_status")
		if e, ok := err.(rpc.Error); !ok || e.ErrorCode() != codeNoMethod {
			t.Errorf("a method that the token has not: %v", err)
		}
		contains(t, err.Error(), `the method cairn_status does not exist/is not available: the token "some" does not include it`)
		batch := []rpc.BatchElem{{Method: "eth_chainId", Result: new(string)}, {Method: "net_version", Result: new(string)}, {Method: "eth_getBlockByNumber", Args: []any{"latest", false}, Result: new(any)}}
		check(t, c.BatchCall(batch))
		equal(t, "in a batch", [3]bool{batch[0].Error == nil, batch[1].Error == nil, batch[2].Error == nil}, [3]bool{true, false, true})
	}
	sub, err := f.dialWith(some)[1].EthSubscribe(t.Context(), make(chan any, 1), "newHeads")
	check(t, err)
	sub.Unsubscribe()
	if _, err := f.dialWith(some)[1].Subscribe(t.Context(), "cairn", make(chan any), "drops"); err == nil {
		t.Error("a subscription that the token has not")
	}
	// What only seems to be another method.
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"cairn_\u0073tatus"}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","method":"cairn_status"}`,
		`{"jsonrpc":"2.0","id":1,"Method":"cairn_status","method":"eth_chainId"}`,
		`[{"jsonrpc":"2.0","id":1,"method":"cairn_\u0073tatus"}]`,
		`{"jsonrpc":"2.0","method":"cairn_status"}`,
	} {
		status, answer := f.postTo("/"+some, body)
		if status != http.StatusOK || strings.Contains(answer, "result") || !strings.Contains(answer, `"error"`) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

// TestTokenPath: who has no token, or a wrong one, comes in nowhere; without
// require_token the bare path stays open.
func TestTokenPath(t *testing.T) {
	t.Parallel()
	const body = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`
	for _, closed := range []bool{false, true} {
		f, all, _, _ := tokenFixture(t, closed)
		bare := http.StatusOK
		if closed {
			bare = http.StatusUnauthorized
		}
		for path, want := range map[string]int{
			"/": bare, "": bare, "/" + all: 200, "/" + all + "/": 200, "/" + all + "x": 401, "/" + all[1:]: 401, "/x": 401, "/" + HashToken(all): 401,
		} {
			status, answer := f.postTo(path, body)
			if status != want || status == 401 && !strings.Contains(answer, "token") {
				t.Errorf("closed %t, path %q: %d %s, want %d", closed, path, status, answer, want)
			}
			c, resp, err := websocket.DefaultDialer.Dial(f.wsURL()+path, nil)
			if c != nil {
				c.Close()
			}
			if resp != nil {
				resp.Body.Close()
			}
			if (err == nil) != (want == 200) || err != nil && resp.StatusCode != want {
				t.Errorf("closed %t, WebSocket to %q: %v", closed, path, err)
			}
		}
	}
}

// TestTokenRate: every call counts, those of a batch one by one; beyond the rate
// the error makes clients come back.
func TestTokenRate(t *testing.T) {
	t.Parallel()
	f, _, _, slow := tokenFixture(t, true)
	const call = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`
	_, answer := f.postTo("/"+slow, "["+strings.Repeat(call+",", 5)+call+"]")
	if n := strings.Count(answer, `"result"`); n != 3 && n != 4 { // a second may pass
		t.Errorf("%d answers: %s", n, answer)
	}
	contains(t, answer, `"code":-32005`)
	contains(t, answer, `too many calls with the token`)
	// Nothing that is public says the token.
	families, err := f.registry.Gather()
	check(t, err)
	for _, m := range families {
		if strings.Contains(m.String(), slow) {
			t.Error("the metrics tell a token")
		}
	}
}

// TestTokensNotLogged: neither a right nor a wrong token is in what the server
// logs or answers.
func TestTokensNotLogged(t *testing.T) {
	t.Parallel()
	f, all, _, _ := tokenFixture(t, true)
	var log bytes.Buffer
	f.server.service.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.server.service.methods["test_crash"] = callables(map[string][]any{"test": {&crashAPI{}}})["test_crash"]
	f.postTo("/"+all, `{"jsonrpc":"2.0","id":1,"method":"test_crash"}`)
	_, answer := f.postTo("/wrong-"+all, `{}`)
	contains(t, log.String(), "crashed")
	if strings.Contains(log.String()+answer, all) {
		t.Error("the token is told")
	}
}

// TestTokenConfig: what is wrong is named.
func TestTokenConfig(t *testing.T) {
	t.Parallel()
	_, hash := NewToken()
	_, other := NewToken()
	for want, cfg := range map[string]Config{
		"rpc.require_token":    {RequireToken: true},
		"two have this name":   {Tokens: []Token{{Name: "a", SHA256: hash}, {Name: "a", SHA256: other}}},
		"has the same hash":    {Tokens: []Token{{Name: "a", SHA256: hash}, {Name: "b", SHA256: strings.ToUpper(hash)}}},
		"64 hex digits":        {Tokens: []Token{{Name: "a", SHA256: "secret"}}},
		"the name of number 1": {Tokens: []Token{{SHA256: hash}}},
		"must not be negative": {Tokens: []Token{{Name: "a", SHA256: hash, CallsPerSecond: -1}}},
		`"eth_*B" is neither`:  {Tokens: []Token{{Name: "a", SHA256: hash, Methods: []string{"eth_*B"}}}},
		"at most 256":          {Tokens: make([]Token, maxTokens+1)},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %s", err, want)
		}
	}
	slip := Token{Name: "a", SHA256: hash, Methods: []string{"eth_getBalanse"}}
	if _, err := newGrants([]Token{slip}, []string{"eth_getBalance"}); err == nil || !strings.Contains(err.Error(), "eth_getBalanse") {
		t.Errorf("a slip: %v", err)
	}
}
