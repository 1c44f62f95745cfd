package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// maxDepth bounds the nesting of a request. The deepest that a method takes is
// an access list in a call in a batch.
const maxDepth = 64

// headBytes of an answer say whether it is an error and which.
const headBytes = 256

// frame is what must be known of a request before it is handed on.
type frame struct {
	err     error // not JSON, or nested too deep
	batch   bool
	calls   []call
	answers bool // something will be answered
}

// call is one member of a request.
type call struct {
	ID      json.RawMessage `json:"id"`
	Version string          `json:"jsonrpc"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
}

// readFrame looks at one HTTP body or WebSocket message. What it finds serves
// limits and metrics only: what is valid is decided where it is answered.
func readFrame(b []byte) frame {
	if depth := nesting(b); depth > maxDepth {
		return frame{err: fmt.Errorf("nested deeper than %d", maxDepth)}
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return frame{}
	}
	if !json.Valid(b) {
		var v json.RawMessage
		return frame{err: json.Unmarshal(b, &v)}
	}
	f := frame{batch: b[0] == '['}
	if f.batch {
		if json.Unmarshal(b, &f.calls) != nil {
			f.answers = true // a member that is no call gets an error
			return f
		}
	} else {
		f.calls = make([]call, 1)
		if json.Unmarshal(b, &f.calls[0]) != nil {
			f.calls, f.answers = nil, true
			return f
		}
	}
	f.answers = len(f.calls) == 0
	for i := range f.calls {
		if c := &f.calls[i]; !c.notification() && !c.response() {
			f.answers = true
		}
	}
	return f
}

// notification: JSON-RPC answers none.
func (c *call) notification() bool { return c.Version == "2.0" && c.ID == nil && c.Method != "" }

// response: an answer to a call that we never make.
func (c *call) response() bool {
	return c.Version == "2.0" && c.ID != nil && c.Method == "" && c.Params == nil && (c.Result != nil || c.Error != nil)
}

// nesting is the deepest nesting of brackets outside strings.
func nesting(b []byte) int {
	depth, deepest, text := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > deepest {
				deepest = depth
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// parseError is the whole answer to what is no JSON.
func parseError(err error) []byte {
	text, _ := json.Marshal("parse error: " + err.Error())
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%s}}`, codeParse, text)
}

// outcome reads the first bytes of an answer as go-ethereum writes it: the id it
// is of, and the error code, 0 for a result. ok is false for notifications and
// batches.
func outcome(head []byte) (id string, code int, ok bool) {
	rest, ok := bytes.CutPrefix(head, []byte(`{"jsonrpc":"2.0","id":`))
	if !ok || len(rest) == 0 {
		return "", 0, false
	}
	end := 0
	if rest[0] == '"' {
		for end = 1; end < len(rest) && rest[end] != '"'; end++ {
			if rest[end] == '\\' {
				end++
			}
		}
		end++
	} else if end = bytes.IndexByte(rest, ','); end < 0 {
		return "", 0, false
	}
	if end > len(rest) {
		return "", 0, false
	}
	id, rest = string(rest[:end]), rest[end:]
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"error":{"code":`)); !ok {
		return id, 0, true
	}
	if end = bytes.IndexByte(rest, ','); end < 0 {
		return id, 0, true
	}
	code, _ = strconv.Atoi(string(rest[:end]))
	return id, code, true
}
