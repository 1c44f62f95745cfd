package rpc

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkServer is the server's own part of reads, without a network: of a
// balance, and of a block with 200 transactions and a receipt of it.
func BenchmarkServer(b *testing.B) {
	f := newFixture(b, options{})
	for nonce := range uint64(200) {
		f.add(transfer(key(0), nonce))
	}
	f.seal()
	tx := transfer(key(0), 7).Hash().Hex()
	for name, call := range map[string]string{
		"balance": fmt.Sprintf(`"eth_getBalance","params":[%q,"latest"]`, key(0).Address().Hex()),
		"block":   `"eth_getBlockByNumber","params":["0x1",true]`,
		"receipt": fmt.Sprintf(`"eth_getTransactionReceipt","params":[%q]`, tx),
	} {
		one := `{"jsonrpc":"2.0","id":1,"method":` + call + `}`
		for kind, body := range map[string]string{"single": one, "batch of 100": "[" + strings.Repeat(one+",", 99) + one + "]"} {
			b.Run(name+", "+kind, func(b *testing.B) {
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
}
