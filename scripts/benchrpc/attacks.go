package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"cairn/scripts/internal/testnet"
)

// Sizes of the attacks.
const (
	idleConnections = 1000 // half of them WebSockets
	slowConnections = 400
	slowPause       = 200 * time.Millisecond // between two bytes
	abusers         = 8                      // connections that send as fast as they are answered
	bigBody         = 10 << 20
	deepLevels      = 500_000
	floodSockets    = 64
	floodEach       = 128 // subscriptions of each
	deafSockets     = 32
	deafQuestions   = 64 // of each, with large answers
)

// strangers are who abuses a node, from a few addresses. Those of loopback but for
// 127.0.0.1 have the limits of any address.
type strangers struct {
	node      testnet.Node
	addresses int // 0 = 127.0.0.1, which has no limits of its own
	next      atomic.Int64
	traffic   traffic
}

// dial connects from the next address.
func (s *strangers) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if s.addresses > 0 {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+s.next.Add(1)/2%int64(s.addresses)))}
	}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return s.traffic.count(c), nil
}

func (s *strangers) http(ctx context.Context) (*httpLink, error) {
	return dialHTTP(ctx, s.node.RPC, s.dial)
}

func (s *strangers) socket(ctx context.Context) (*socketLink, error) {
	return dialSocket(ctx, s.node.WS, s.dial)
}

// attacks are those that a node is measured under.
var attacks = []attack{
	{"1,000 idle connections", idle},
	{"slow-loris: a byte at a time", slowLoris},
	{"10 MB bodies", flood(func() []byte { return bytes.Repeat([]byte{' '}, bigBody) })},
	{"deep JSON", flood(func() []byte {
		return []byte(`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":` + strings.Repeat("[", deepLevels))
	})},
	{"batch bombs: 1,000 full blocks", flood(func() []byte { return batchOf(1000, call(1, "eth_getBlockByNumber", "latest", true)) })},
	{"batch bombs: 300,000 calls of nothing", flood(func() []byte { return batchOf(300_000, []byte("{}")) })},
	{"batch bombs: 1,000 log queries over all blocks", flood(func() []byte {
		return batchOf(1000, call(1, "eth_getLogs", map[string]string{"fromBlock": "0x0"}))
	})},
	{"subscription flood", subscriptions},
	{"slow readers of large answers", deaf},
}

func batchOf(n int, one []byte) []byte {
	all := bytes.Repeat(append(one, ','), n)
	all[len(all)-1] = ']'
	return append([]byte{'['}, all...)
}

// idle opens connections that have asked once and then hold still.
func idle(ctx context.Context, from *strangers, t *tally) error {
	request := call(1, "eth_blockNumber")
	var open []link
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	for i := range idleConnections {
		var l link
		var err error
		question := request
		if i%2 == 0 {
			l, err = from.http(ctx)
			question = post(from.node.RPC, request)
		} else {
			l, err = from.socket(ctx)
		}
		if err == nil {
			open = append(open, l)
			_, err = l.ask(question)
		}
		if err != nil {
			t.add("refused", 1)
			continue
		}
		t.add("open", 1)
	}
	<-ctx.Done()
	return nil
}

// slowLoris sends requests a byte at a time: half of the connections never end
// their header, half their body. A connection that the node ends is opened anew.
func slowLoris(ctx context.Context, from *strangers, t *tally) error {
	head := "POST / HTTP/1.1\r\nHost: localhost\r\n"
	whole := head + "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
	var g errgroup.Group
	for i := range slowConnections {
		first := head + "X-Slow: "
		if i%2 == 0 {
			first = whole
		}
		g.Go(func() error {
			for ctx.Err() == nil {
				conn, err := from.dial(ctx, "tcp", hostOf(from.node.RPC))
				if err != nil {
					return err
				}
				t.add("opened", 1)
				_, err = conn.Write([]byte(first))
				for err == nil && ctx.Err() == nil {
					pause(ctx, slowPause)
					_, err = conn.Write([]byte{'a'})
				}
				conn.Close()
				if ctx.Err() == nil {
					t.add("ended by the node", 1)
				}
			}
			return nil
		})
	}
	return ended(ctx, g.Wait())
}

// flood posts a body again and again over a few connections. A node may answer
// before it has read the body, and end the connection.
func flood(body func() []byte) func(context.Context, *strangers, *tally) error {
	return func(ctx context.Context, from *strangers, t *tally) error {
		return from.flood(ctx, post(from.node.RPC, body()), t)
	}
}

func (s *strangers) flood(ctx context.Context, request []byte, t *tally) error {
	var g errgroup.Group
	for range abusers {
		g.Go(func() error {
			for ctx.Err() == nil {
				l, err := s.http(ctx)
				if err != nil {
					return err
				}
				for err == nil && ctx.Err() == nil {
					_, err = l.Write(request)
					l.status = 0
					// Also when the node has hung up: its answer may be there.
					answer, failure := l.read()
					if ctx.Err() == nil {
						t.add(kindOf(l.status, answer), 1)
					}
					err = errors.Join(err, failure)
				}
				l.Close()
			}
			return nil
		})
	}
	return ended(ctx, g.Wait())
}

// kindOf names an answer: the status, and of 200 the first error in it.
func kindOf(status int, answer []byte) string {
	if status == 0 {
		return "connection ended"
	}
	_, after, found := bytes.Cut(answer, refusal)
	if status != 200 || !found {
		return fmt.Sprint("HTTP ", status)
	}
	var e struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.NewDecoder(bytes.NewReader(after)).Decode(&e) != nil {
		return "HTTP 200, an error"
	}
	return fmt.Sprintf("HTTP 200, %d %.60s", e.Code, e.Message)
}

// subscriptions makes as many as one connection may have, on many, and reads
// what comes.
func subscriptions(ctx context.Context, from *strangers, t *tally) error {
	kinds := [][]byte{call(1, "eth_subscribe", "newHeads"), call(1, "eth_subscribe", "logs", map[string]any{}), call(1, "eth_subscribe", "newPendingTransactions", true), call(1, "cairn_subscribe", "drops")}
	var g errgroup.Group
	for range floodSockets {
		g.Go(func() error {
			l, err := from.socket(ctx)
			if err != nil {
				return err
			}
			defer l.Close()
			for i := range floodEach + 1 { // one too many
				if err := l.WriteMessage(websocket.TextMessage, kinds[i%len(kinds)]); err != nil {
					return err
				}
			}
			for {
				_, message, err := l.ReadMessage()
				switch {
				case err != nil && ctx.Err() == nil:
					t.add("connection ended", 1)
					return nil
				case err != nil:
					return nil
				case bytes.Contains(message, []byte("_subscription")):
					t.add("notifications", 1)
				case bytes.Contains(message, refusal):
					t.add("refused", 1)
				default:
					t.add("subscriptions", 1)
				}
			}
		})
	}
	return ended(ctx, g.Wait())
}

// deaf asks for large answers and reads none.
func deaf(ctx context.Context, from *strangers, t *tally) error {
	question := batchOf(200, call(1, "rpc_discover"))
	var g errgroup.Group
	for range deafSockets {
		g.Go(func() error {
			for ctx.Err() == nil {
				l, err := from.socket(ctx)
				if err != nil {
					pause(ctx, slowPause) // it may be refused
					t.add("connection refused", 1)
					continue
				}
				for range deafQuestions {
					if l.SetWriteDeadline(time.Now().Add(time.Second)) != nil || l.WriteMessage(websocket.TextMessage, question) != nil {
						break
					}
					t.add("questions", 1)
				}
				pause(ctx, 2*time.Second)
				l.Close()
			}
			return nil
		})
	}
	return g.Wait()
}
