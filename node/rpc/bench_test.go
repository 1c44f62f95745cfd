package rpc

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkBalance is the server's own part of a read, without a network.
func BenchmarkBalance(b *testing.B) {
	f := newFixture(b, options{})
	one := `{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["` + key(0).Address().Hex() + `","latest"]}`
	for name, body := range map[string]string{"single": one, "batch of 100": "[" + strings.Repeat(one+",", 99) + one + "]"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				f.server.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
