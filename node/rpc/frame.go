package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// headBytes of an answer say whether it is an error and which.
const headBytes = 256

// frame is what must be known of a request before it is handed on.
type frame struct {
	batch bool
	large bool // it has more calls than a batch may have
	calls []call
	count int // of calls, that were scanned or read
}

// firstLook is what must be known of a request that was scanned before it has its
// turn: of a batch of several calls, how many they are. They take more memory than
// their bytes and are read when their turn has come.
func firstLook(b []byte, s *scan) frame {
	if s.batch && s.calls > 1 {
		return frame{batch: true, count: s.calls}
	}
	return readFrame(b, 1)
}

// call is one member of a request, as its bytes: nil = absent.
type call struct {
	raw                         []byte
	id, method, params, version []byte
	odd                         bool // it is no object, or has keys that are unknown, escaped or there twice
}

// readFrame looks at one HTTP body or WebSocket message, which need not be JSON.
// What it finds serves limits and metrics only: what is valid is decided where
// it is answered. Of a batch it reads one call more than most, so that a million
// of them cost no more than too many do.
func readFrame(b []byte, most int) frame {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return frame{}
	}
	f := frame{batch: b[0] == '['}
	if f.batch {
		members(b, func(member []byte) bool {
			f.calls = append(f.calls, readCall(member))
			return len(f.calls) <= most
		})
		f.large = len(f.calls) > most
	} else {
		f.calls = []call{readCall(b)}
	}
	f.count = len(f.calls)
	return f
}

// heavyMethods have answers that grow with a block, the pool or the request, or
// read all of a block.
var heavyMethods = map[string]bool{
	"eth_getBlockByNumber": true, "eth_getBlockByHash": true, "eth_getBlockReceipts": true,
	"eth_getBlockTransactionCountByNumber": true, "eth_getBlockTransactionCountByHash": true, "eth_getLogs": true, "eth_getFilterLogs": true,
	"eth_getFilterChanges": true, "eth_feeHistory": true, "eth_getProof": true, "txpool_content": true, "txpool_inspect": true, "txpool_contentFrom": true,
	"cairn_history": true, "cairn_finality": true, "cairn_proof": true, "cairn_receiptProof": true, "cairn_epochs": true, "cairn_evidence": true,
	"ots_getBlockDetails": true, "ots_getBlockDetailsByHash": true, "ots_getBlockTransactions": true, "ots_searchTransactionsBefore": true,
	"ots_searchTransactionsAfter": true, "ots_getTransactionBySenderAndNonce": true, "rpc_discover": true,
}

// heavy says whether the answer may be large: also of a call that is written so
// that only go-ethereum's server knows which method it means.
func (f *frame) heavy() bool {
	if f.batch && f.count > 1 {
		return true
	}
	if len(f.calls) == 0 {
		return false
	}
	c := &f.calls[0]
	return c.odd || c.name() == nil || heavyMethods[string(c.name())]
}

// subscribes says whether go-ethereum's server must see the connection that the
// request came on. What it would not answer, or might take for another method, is
// answered as if it had come over HTTP: a connection's own calls have no limits
// but those of subscriptions.
func (f *frame) subscribes() bool {
	if f.batch || len(f.calls) != 1 || f.calls[0].odd || len(f.calls[0].id) == 0 || f.calls[0].id[0] == '{' || f.calls[0].id[0] == '[' {
		return false
	}
	name := f.calls[0].name()
	return bytes.HasSuffix(name, []byte("_subscribe")) || bytes.HasSuffix(name, []byte("_unsubscribe"))
}

// readCall finds the fields of one member; of one that is no object, none.
func readCall(b []byte) call {
	c := call{raw: b}
	if len(b) == 0 || b[0] != '{' {
		c.odd = true
		return c
	}
	for i := skipSpace(b, 1); i < len(b) && b[i] == '"'; {
		end := skipValue(b, i)
		key := b[i:end]
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			break
		}
		i = skipSpace(b, i+1)
		end = skipValue(b, i)
		c.set(key, b[i:end])
		if i = skipSpace(b, end); i >= len(b) || b[i] != ',' {
			break
		}
		i = skipSpace(b, i+1)
	}
	return c
}

func (c *call) set(key, value []byte) {
	var field *[]byte
	switch string(key) {
	case `"id"`:
		field = &c.id
	case `"method"`:
		field = &c.method
	case `"params"`:
		field = &c.params
	case `"jsonrpc"`:
		field = &c.version
	default:
		c.odd = true
		return
	}
	c.odd = c.odd || *field != nil
	*field = value
}

// plain says whether a call of a request that is JSON is written as every client
// writes it: then it can be answered without go-ethereum's server.
func (c *call) plain() bool {
	return !c.odd && string(c.version) == `"2.0"` && plainID(c.id) && len(c.name()) > 0 &&
		(len(c.params) == 0 || c.params[0] == '[' || string(c.params) == "null")
}

// plainID is a number or a text that needs no escapes: an answer repeats it as
// it is.
func plainID(id []byte) bool {
	if len(id) == 0 || len(id) > maxPlainID {
		return false
	}
	if id[0] == '"' {
		if len(id) < 2 || id[len(id)-1] != '"' { // torn, if it is no JSON
			return false
		}
		for _, c := range id[1 : len(id)-1] {
			if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
				return false
			}
		}
		return true
	}
	return id[0] == '-' || id[0] >= '0' && id[0] <= '9'
}

// maxPlainID bounds the ids that are repeated without go-ethereum's server.
const maxPlainID = 128

// members calls f for each member of a list while it answers true.
func members(b []byte, f func([]byte) bool) {
	for i := skipSpace(b, 1); i < len(b) && b[i] != ']'; {
		end := skipValue(b, i)
		if end == i {
			return // no value: no JSON
		}
		if !f(b[i:end]) {
			return
		}
		if i = skipSpace(b, end); i < len(b) && b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue is the end of the value that begins at i.
func skipValue(b []byte, i int) int {
	depth, text := 0, false
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			if text = !text; !text && depth == 0 {
				return i + 1
			}
		case text:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i // the end of what the value is in
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			return i
		}
	}
	return min(i, len(b))
}

// name is the method's name, if it is written without escapes, as every client
// does; else nil.
func (c *call) name() []byte {
	if n := len(c.method); n >= 2 && c.method[0] == '"' && bytes.IndexByte(c.method, '\\') < 0 {
		return c.method[1 : n-1]
	}
	return nil
}

// parseError is the whole answer to what is no JSON.
func parseError(err error) []byte {
	text, _ := json.Marshal("parse error: " + err.Error())
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%s}}`, codeParse, text)
}

// outcome reads the first bytes of an answer as go-ethereum writes it: the id it
// is of, and the error code, 0 for a result. ok is false for notifications and
// batches.
func outcome(head []byte) (id []byte, code int, ok bool) {
	rest, ok := bytes.CutPrefix(head, []byte(`{"jsonrpc":"2.0","id":`))
	if !ok || len(rest) == 0 {
		return nil, 0, false
	}
	var end int
	if rest[0] == '"' {
		for end = 1; end < len(rest) && rest[end] != '"'; end++ {
			if rest[end] == '\\' {
				end++
			}
		}
		end++
	} else if end = bytes.IndexByte(rest, ','); end < 0 {
		return nil, 0, false
	}
	if end > len(rest) {
		return nil, 0, false
	}
	id, rest = rest[:end], rest[end:]
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"error":{"code":`)); !ok {
		return id, 0, true
	}
	if end = bytes.IndexByte(rest, ','); end < 0 {
		return id, 0, true
	}
	code, _ = strconv.Atoi(string(rest[:end]))
	return id, code, true
}
