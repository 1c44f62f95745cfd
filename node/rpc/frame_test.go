package rpc

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// FuzzReadFrame: no bytes make it panic or loop, and on JSON it sees what a JSON
// decoder sees.
func FuzzReadFrame(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}`,
		`[{"jsonrpc":"2.0","id":"a\"b","method":"x"}, {"jsonrpc":"2.0","method":"x"} ]`,
		`[]`, `[1,null,"]"]`, `{"id":{"a":[1,"}"]},"result":null,"jsonrpc":"2.0"}`, "\t{ \"method\" : 1 }\n", `5`, `"x"`, `{"a":"\`, `[[`, `[,]`, `{"a":1,}`, `]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := readFrame(b, len(b))
		_, _, _ = outcome(b)
		s := scan{most: len(b)}
		if err := s.feed(b); err != nil || !json.Valid(b) {
			return
		}
		var members []json.RawMessage
		if err := json.Unmarshal(b, &members); got.batch != (err == nil && bytes.TrimSpace(b)[0] == '[') {
			t.Fatalf("batch %t: %s", got.batch, b)
		}
		if !got.batch {
			members = []json.RawMessage{bytes.TrimSpace(b)}
		}
		if got.batch && len(members) != s.calls {
			t.Fatalf("%d calls scanned, want %d: %s", s.calls, len(members), b)
		}
		if len(members) != len(got.calls) {
			t.Fatalf("%d members, want %d: %s", len(got.calls), len(members), b)
		}
		for i, raw := range members {
			checkCall(t, &got.calls[i], raw)
		}
	})
}

// checkCall holds a call against the decoder, unless a key has escapes or stands
// twice.
func checkCall(t *testing.T, c *call, raw json.RawMessage) {
	t.Helper()
	want := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &want) != nil || bytes.ContainsRune(raw, '\\') {
		return
	}
	for key, have := range map[string][]byte{"id": c.id, "method": c.method} {
		if bytes.Count(raw, []byte(`"`+key+`"`)) == 1 && !bytes.Equal(have, want[key]) {
			t.Fatalf("%s is %s, want %s: %s", key, have, want[key], raw)
		}
	}
}

// TestOutcome: answers as go-ethereum's server writes them.
func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		answer, id string
		code       int
		ok         bool
	}{
		{`{"jsonrpc":"2.0","id":1,"result":"0x1"}`, "1", 0, true},
		{`{"jsonrpc":"2.0","id":"a\"b","error":{"code":-32000,"message":"x"}}`, `"a\"b"`, -32000, true},
		{`{"jsonrpc":"2.0","id":null,"error":{"code":3,"message":"x"}}`, "null", 3, true},
		{`[{"jsonrpc":"2.0","id":1,"result":1}]`, "", 0, false},
		{`{"jsonrpc":"2.0","method":"eth_subscription","params":{}}`, "", 0, false},
		{`{"jsonrpc":"2.0","id":"cut`, "", 0, false},
		{``, "", 0, false},
	} {
		id, code, ok := outcome([]byte(x.answer))
		if string(id) != x.id || code != x.code || ok != x.ok {
			t.Errorf("%s: %q %d %t", x.answer, id, code, ok)
		}
	}
}

// FuzzBody: whatever the body, the answer is JSON or nothing, no error in it is an
// internal one, and it is what go-ethereum's server answers.
func FuzzBody(f *testing.F) {
	x := newFixture(f, options{})
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x0","address":["0x00"],"topics":[[null]]}]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_getProof","params":["0x000000000000000000000000000000000000ca10",["0x0"],"latest"]}`,
		`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x000000000000000000000000000000000000ca10","data":"0x12345678"},{"blockNumber":"0x0"}]}`,
		`[{"jsonrpc":"2.0","id":1,"method":"eth_feeHistory","params":["0x5","latest",[0,100]]},{"jsonrpc":"2.0","id":2,"method":"eth_sendRawTransaction","params":["0x02c0"]}]`,
		`{"jsonrpc":"2.0","id":1,"method":"ots_getBlockTransactions","params":["0x0",18446744073709551615,1]}`,
		`{"jsonrpc":"2.0","id":1,"method":"cairn_history","params":["0x000000000000000000000000000000000000ca10","0xffffffffffffffff","0x1"]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("Sync")) {
			return // it waits, as it should
		}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", bytes.NewReader(b))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = "127.0.0.1:1" // has no limits of its own
		w := httptest.NewRecorder()
		x.server.ServeHTTP(w, r)
		answer := w.Body.Bytes()
		if w.Code != http.StatusOK || len(answer) > 0 && !json.Valid(answer) || bytes.Contains(answer, []byte(`"code":-32603`)) {
			t.Fatalf("%d %s for %s", w.Code, answer, b)
		}
		if s := (scan{most: len(b)}); s.feed(b) != nil || bytes.Contains(b, []byte("ilter")) || bytes.Contains(b, []byte("end")) {
			return // refused before, or the second call would answer something else
		}
		if ours, theirs := x.both(string(b)); ours != theirs {
			t.Fatalf("%s: ours %s, go-ethereum's %s", b, ours, theirs)
		}
	})
}
