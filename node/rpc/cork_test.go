package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/gorilla/websocket"
)

// writes keeps what is written to a connection.
type writes struct {
	net.Conn

	all    []byte
	n      int
	closed bool
}

func (w *writes) Write(p []byte) (int, error) {
	w.all, w.n = append(w.all, p...), w.n+1
	return len(p), nil
}

func (w *writes) SetWriteDeadline(time.Time) error { return nil }

func (w *writes) Close() error {
	w.closed = true
	return nil
}

// TestCork: what is written together goes out in one write, all of it, in order,
// and before the end.
func TestCork(t *testing.T) {
	t.Parallel()
	w := new(writes)
	c := &cork{Conn: w}
	put := func(s string) {
		n, err := c.Write([]byte(s))
		check(t, err)
		equal(t, "written", n, len(s))
	}
	put("a")
	c.hold()
	put("b")
	put("c")
	equal(t, "before the release", string(w.all), "a")
	check(t, c.release())
	equal(t, "after it", fmt.Sprint(string(w.all), w.n), "abc2")
	check(t, c.release())
	c.hold()
	put("d")
	check(t, c.Close())
	equal(t, "closed", fmt.Sprint(string(w.all), w.n, w.closed), "abcd3 true")

	draw := rand.New(rand.NewPCG(5, 0))
	for range 10 {
		w := new(writes)
		c, want := &cork{Conn: w}, []byte(nil)
		for range 30 {
			switch draw.IntN(6) {
			case 0:
				c.hold()
			case 1:
				check(t, c.release())
			default:
				p := bytes.Repeat([]byte{byte('a' + draw.IntN(20))}, draw.IntN(corkBytes*5/4))
				want = append(want, p...)
				_, err := c.Write(p)
				check(t, err)
			}
		}
		check(t, c.Close())
		if !bytes.Equal(w.all, want) {
			t.Fatal("something is lost or out of order")
		}
	}
}

// TestManySubscriptions: every subscription of a connection hears of every block,
// in order, and one that ends leaves the others alone.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	const many, blocks = 100, 20
	f := newFixture(t, options{cfg: Config{Limits: Limits{SlowReader: Duration(time.Minute)}}})
	c := f.rawSocket()
	check(t, c.SetReadDeadline(time.Now().Add(patience)))
	var ids []string
	type message struct {
		ID     int
		Result json.RawMessage
		Params struct {
			Subscription string
			Result       struct{ Number hexutil.Uint64 }
		}
	}
	receive := func() (m message) {
		_, raw, err := c.ReadMessage()
		check(t, err)
		decode(t, raw, &m)
		return m
	}
	for range many {
		check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}`)))
		ids = append(ids, strings.Trim(string(receive().Result), `"`))
	}
	check(t, c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":2,"method":"eth_unsubscribe","params":["`+ids[many/2]+`"]}`)))
	equal(t, "ended", string(receive().Result), "true")
	for range blocks {
		f.seal()
	}
	next := map[string]hexutil.Uint64{}
	for range (many - 1) * blocks {
		p := receive().Params
		if next[p.Subscription]++; next[p.Subscription] != p.Result.Number {
			t.Fatalf("%s: block %d, want %d", p.Subscription, p.Result.Number, next[p.Subscription])
		}
	}
	equal(t, "those that hear", len(next), many-1)
	equal(t, "the one that ended", next[ids[many/2]], 0)
	eventually(t, "its place comes back", func() bool { return f.server.service.sockets.subscriptionCount() == many-1 })
}
