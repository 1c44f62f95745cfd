package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/scripts/internal/testnet"
)

// TestHTTPLink: answers of known length, in chunks and with another status are
// read one after the other on one connection.
func TestHTTPLink(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300_000)
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
		switch body.String() {
		case "short":
			_, _ = w.Write([]byte("fine"))
		case "chunks":
			for range 3 {
				_, _ = w.Write([]byte(long[:100_000]))
				w.(http.Flusher).Flush()
			}
		default:
			http.Error(w, "too much", http.StatusRequestEntityTooLarge)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	l, err := dialHTTP(context.Background(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		for body, want := range map[string]string{"short": "fine", "chunks": long} {
			answer, err := l.ask(post(server.URL, []byte(body)))
			if err != nil || string(answer) != want {
				t.Fatalf("%s: %d bytes, %v", body, len(answer), err)
			}
		}
		answer, err := l.ask(post(server.URL, []byte("else")))
		if err == nil || l.status != http.StatusRequestEntityTooLarge || string(answer) != "too much\n" {
			t.Fatalf("status %d, answer %q, error %v", l.status, answer, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// TestKindOf: what abusers heard is counted by kind.
func TestKindOf(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		status int
		answer string
		want   string
	}{
		{0, "", "connection ended"},
		{413, "too large", "HTTP 413"},
		{200, `{"jsonrpc":"2.0","id":1,"result":"0x1"}`, "HTTP 200"},
		{200, `[{"id":1,"result":1},{"id":null,"error":{"code":-32600,"message":"batch too large"}}]`, "HTTP 200, -32600 batch too large"},
		{200, `{"error":x`, "HTTP 200, an error"},
	} {
		if have := kindOf(x.status, []byte(x.answer)); have != x.want {
			t.Errorf("%d %s: have %q, want %q", x.status, x.answer, have, x.want)
		}
	}
}

// TestFigure: the median round counts, and least and most are told.
func TestFigure(t *testing.T) {
	t.Parallel()
	var s subject
	for i, speed := range []float64{10, 30, 20} {
		s.rounds = append(s.rounds, round{calls: 100, refused: i, perSecond: speed, times: []time.Duration{time.Duration(i+1) * time.Millisecond}, node: speed * 2})
	}
	f := s.figure()
	if f.PerSecond != 20 || f.Least != 10 || f.Most != 30 || f.Calls != 300 || f.Refused != 3 || f.P50 != 2 || f.NodeMicros != 40 {
		t.Errorf("%+v", f)
	}
	times := []time.Duration{5e6, 1e6, 3e6, 2e6, 4e6}
	if p50, most := latency(times, 0.5), latency(times, 1); p50 != 3 || most != 5 {
		t.Errorf("p50 %v, most %v", p50, most)
	}
}

// TestTables: every figure and every kind is in the tables.
func TestTables(t *testing.T) {
	t.Parallel()
	kind := func(name string) *strain {
		return &strain{Kind: name, Most: 70 << 20, P50: 0.25, P99: 3, Finality: &testnet.Finality{P50: 12, P99: 34}}
	}
	r := &report{Load: []string{"1 2 3", "4 5 6"}, Figures: []*figure{
		{Method: "a", Transport: "http", PerSecond: 30_000, NodeMicros: 20},
		{Method: "b", Transport: "http", PerSecond: 7},
		{Method: "a", Transport: "batch", PerSecond: 200_000},
		{Method: "b", Transport: "batch", PerSecond: 8},
	}, Abuse: &abuseReport{Calm: kind("calm"), Kinds: []*strain{kind("bad")}, After: kind("after")}}
	r.Abuse.Kinds[0].Control, r.Abuse.Kinds[0].Failed = &testnet.Finality{P50: 5, P99: 6}, 2
	var out bytes.Buffer
	r.tables(&out)
	for _, want := range []string{
		"| `a` | 30000, 20 µs | 200000, 0 µs |", "| `b` | 7, 0 µs | 8, 0 µs |", "| calm | 70 | 0.2, 3 |  | 12, 34 |",
		"| bad | 70 | 0.2, 3 | 5, 6 | 12, 34 |", "2 reads of the other client failed: bad", "4 5 6",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// TestReplay: a sink is sent the traffic that was counted, at its pace, and answers
// as much as was received.
func TestReplay(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var served sync.WaitGroup
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { swallow(c) })
		}
	}()
	var seen traffic
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return seen.count(c)
	}
	links := []net.Conn{dial(), dial()}
	head, err := binary.Append(nil, binary.BigEndian, sinkHead{Request: 92, Answer: 50})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, c := range links {
			if _, err := c.Write(append(head, make([]byte, 92)...)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 50)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range links {
		c.Close()
	}
	have := [5]int64{seen.open.Load(), seen.most.Load(), seen.writes.Load(), seen.sent.Load(), seen.received.Load()}
	if want := [5]int64{0, 2, 10, 1000, 500}; have != want {
		t.Fatalf("counted %v, want %v", have, want)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := seen.replay(l.Addr().String(), 20*time.Millisecond)(ctx, nil); err != nil {
		t.Fatal(err)
	}
	l.Close()
	served.Wait()
}
