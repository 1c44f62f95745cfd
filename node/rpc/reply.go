package rpc

import (
	"encoding/json"
	"net/http"

	"github.com/ethereum/go-ethereum/rpc"
)

// Sizes of the parts of a reply.
const (
	sharedPart = 4 << 10  // a result from this length on is a part of its own and is not copied
	ownPart    = 32 << 10 // what is put together is cut into parts of about this length, so that it is not copied as it grows
)

// reply is what goes back for a request, in parts: large results, which may be
// kept for others too, are not copied. No parts are nothing.
type reply struct {
	status int
	parts  [][]byte
	size   int    // of the parts together
	room   []byte // the unused end of the last part that was put together

	// counted says that the size is in service.waiting already.
	counted bool
}

func newReply() *reply { return &reply{status: http.StatusOK} }

// add appends bytes that are copied, unless they are many.
func (r *reply) add(b []byte) {
	if len(b) >= sharedPart {
		r.size += len(b)
		if last := len(r.parts) - 1; last >= 0 && cap(r.parts[last]) > len(r.parts[last]) {
			r.room = r.parts[last][len(r.parts[last]):]
		}
		r.parts = append(r.parts, b[:len(b):len(b)]) // nothing is ever appended to it
		return
	}
	copyTo(r, b)
}

// copyTo appends what is copied in any case.
func copyTo[T string | []byte](r *reply, b T) {
	r.size += len(b)
	r.grow(len(b))
	last := &r.parts[len(r.parts)-1]
	*last = append(*last, b...)
}

// grow makes room for n bytes in the last part.
func (r *reply) grow(n int) {
	if last := len(r.parts) - 1; last >= 0 && cap(r.parts[last])-len(r.parts[last]) >= n {
		return
	}
	if cap(r.room) < n {
		r.room = make([]byte, 0, max(n, min(2*r.size, ownPart)))
	}
	r.parts, r.room = append(r.parts, r.room), nil
}

// addText is add for text.
func (r *reply) addText(s string) { copyTo(r, s) }

// answered is the answer of one call: a result with the id it is of, or, if
// there is no id, the whole message; nothing for a notification.
type answered struct {
	id, body []byte
}

// Parts of an answer with a result, as go-ethereum's server writes it.
const (
	resultHead   = `{"jsonrpc":"2.0","id":`
	resultMiddle = `,"result":`
	resultEnd    = `}`
)

func (a *answered) size() int {
	if a.id == nil {
		return len(a.body)
	}
	return len(resultHead) + len(a.id) + len(resultMiddle) + len(a.body) + len(resultEnd)
}

func (a *answered) to(r *reply) {
	if a.id == nil {
		r.add(a.body)
		return
	}
	if len(a.body) < sharedPart {
		r.grow(a.size())
	}
	var room [maxPlainID + 64]byte
	head := append(append(append(room[:0], resultHead...), a.id...), resultMiddle...)
	copyTo(r, head)
	r.add(a.body)
	r.addText(resultEnd)
}

// errorAnswer is what go-ethereum's server answers when a method fails.
func errorAnswer(id []byte, err error) answered {
	e := struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{Code: codeDefault, Message: err.Error()}
	if c, ok := err.(rpc.Error); ok { //nolint:errorlint // as go-ethereum's server: a wrapped error has another text
		e.Code = c.ErrorCode()
	}
	if d, ok := err.(rpc.DataError); ok { //nolint:errorlint // likewise
		e.Data = d.ErrorData()
	}
	if len(id) == 0 || id[0] == '{' || id[0] == '[' {
		id = []byte("null")
	}
	raw, marshalErr := json.Marshal(e)
	if marshalErr != nil {
		raw, _ = json.Marshal(map[string]any{"code": codeDefault, "message": marshalErr.Error()})
	}
	out := append(append(append([]byte(nil), resultHead...), id...), `,"error":`...)
	return answered{body: append(append(out, raw...), '}')}
}
