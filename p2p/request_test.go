package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	begun, cancelled := make(chan struct{}, 1), make(chan struct{}, 2)
	server := startHost(t, testConfig(t, 0), Handlers{Requests: map[string]Request{
		"echo":   func(_ context.Context, _ peer.ID, req []byte) ([]byte, error) { return req, nil },
		"large":  func(context.Context, peer.ID, []byte) ([]byte, error) { return make([]byte, 16<<20), nil },
		"larger": func(context.Context, peer.ID, []byte) ([]byte, error) { return make([]byte, 16<<20+1), nil },
		"fails":  func(context.Context, peer.ID, []byte) ([]byte, error) { return nil, errors.New("a secret") },
		"hangs": func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) {
			select {
			case begun <- struct{}{}:
			default: // the one before may not have come before its deadline
			}
			<-ctx.Done()
			cancelled <- struct{}{}
			return nil, ctx.Err()
		},
	}})
	client := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, client, server)
	ctx := context.Background()
	to := server.ID()

	for _, req := range [][]byte{{}, []byte("hello"), make([]byte, maxRequest)} {
		if got, err := client.Request(ctx, to, "echo", req); err != nil || !bytes.Equal(got, req) {
			t.Fatalf("echo of %d bytes: %d bytes, %v", len(req), len(got), err)
		}
	}
	if got, err := client.Request(ctx, to, "large", nil); err != nil || len(got) != 16<<20 {
		t.Fatalf("large response: %d bytes, %v", len(got), err)
	}
	if got, err := client.RequestAtMost(ctx, to, "echo", make([]byte, 100), 100); err != nil || len(got) != 100 {
		t.Errorf("a response of as much as may be: %d bytes, %v", len(got), err)
	}
	if _, err := client.RequestAtMost(ctx, to, "echo", make([]byte, 101), 100); !errors.Is(err, ErrBadResponse) || !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("a response of a byte too many: %v", err)
	}
	for name, c := range map[string]struct {
		name string
		req  []byte
		to   peer.ID
		want error
	}{
		"too large a request":  {"echo", make([]byte, maxRequest+1), to, ErrRequestTooLarge},
		"too large a response": {"larger", nil, to, ErrRequestRefused},
		"handler fails":        {"fails", nil, to, ErrRequestRefused},
		"unknown":              {"unknown", nil, to, ErrRequestUnknown},
		"no name":              {"../x", nil, to, ErrRequestUnknown},
		"not connected":        {"echo", nil, testID(t, 9), ErrNotConnected},
	} {
		_, err := client.Request(ctx, c.to, c.name, c.req)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the handler's error left the node: %v", name, err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := client.Request(short, to, "hangs", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request past its deadline: %v", err)
	}
	leaving, leave := context.WithCancel(ctx)
	go func() {
		<-begun
		leave()
	}()
	if _, err := client.Request(leaving, to, "hangs", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
	select {
	case <-cancelled: // the server's work ends with the request
	case <-time.After(patience):
		t.Error("the handler was not cancelled")
	}
}

func TestRequestTimesOut(t *testing.T) {
	t.Parallel()
	server := startHost(t, testConfig(t, 0), Handlers{Requests: map[string]Request{
		"hangs": func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
	}})
	cfg := testConfig(t, 1)
	cfg.RequestTimeout = 50 * time.Millisecond
	client := startHost(t, cfg, Handlers{})
	connect(t, client, server)
	if _, err := client.Request(context.Background(), server.ID(), "hangs", nil); !errors.Is(err, ErrRequestTimeout) {
		t.Fatalf("%v, want %v", err, ErrRequestTimeout)
	}
}

func TestRequestEndsWithThePeer(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	server := startHost(t, testConfig(t, 0), Handlers{Requests: map[string]Request{
		"hangs": func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}})
	client := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, client, server)
	go func() {
		<-began
		server.Close()
	}()
	_, err := client.Request(context.Background(), server.ID(), "hangs", nil)
	if !errors.Is(err, ErrNotConnected) && !errors.Is(err, ErrRequestRefused) && !errors.Is(err, ErrBadResponse) {
		t.Fatal(err)
	}
}

func TestRequestRate(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.RequestRate = 0.01 // however slow the machine
	server := startHost(t, cfg, Handlers{Requests: map[string]Request{
		"echo": func(_ context.Context, _ peer.ID, req []byte) ([]byte, error) { return req, nil },
	}})
	client := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, client, server)
	var err error
	for range 100 { // some of the allowance went to asking for peers
		if _, err = client.Request(context.Background(), server.ID(), "echo", nil); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrRateLimited) {
		t.Fatalf("%v, want %v", err, ErrRateLimited)
	}
	if server.Metrics()["requests_limited_total"] == 0 {
		t.Error("not counted")
	}
}

func TestRequestsAtOnce(t *testing.T) {
	t.Parallel()
	server := startHost(t, testConfig(t, 0), Handlers{Requests: map[string]Request{
		"hangs": func(ctx context.Context, _ peer.ID, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
	}})
	client := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, client, server)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error, requestsPerPeer+1)
	for range requestsPerPeer + 1 {
		go func() {
			_, err := client.Request(ctx, server.ID(), "hangs", nil)
			results <- err
		}()
	}
	if err := <-results; !errors.Is(err, ErrRateLimited) {
		t.Fatalf("%v, want %v", err, ErrRateLimited)
	}
	cancel()
	for range requestsPerPeer {
		<-results
	}
}

// TestBadRequestFrames plays the asking side by hand.
func TestBadRequestFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes  []byte
		close  bool
		metric string
	}{
		"oversize":  {binary.BigEndian.AppendUint32(nil, maxRequest+2), false, "frames_oversize_total"},
		"empty":     {make([]byte, 4), false, "frames_malformed_total"},
		"format":    {appendFrame(nil, []byte{9}), false, "frames_malformed_total"},
		"truncated": {appendFrame(nil, []byte{1, 2, 3})[:5], true, "frames_malformed_total"},
		"slow":      {appendFrame(nil, []byte{1, 2, 3})[:5], false, "streams_slow_total"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t, 0)
			if name == "slow" {
				cfg.waits.request = 200 * time.Millisecond
			}
			server := startHost(t, cfg, Handlers{Requests: map[string]Request{
				"echo": func(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
					t.Error("handed over")
					return req, nil
				},
			}})
			client := startHost(t, testConfig(t, 1), Handlers{})
			connect(t, client, server)
			s := openStream(t, client, server, "request/echo")
			s.Write(c.bytes)
			if c.close {
				s.CloseWrite()
			}
			expectEnd(t, s)
			// On a busy machine other requests may be slow, too.
			eventually(t, "it is counted", func() bool { return server.Metrics()[c.metric] >= 1 })
		})
	}
}

// TestBadResponses plays the answering side by hand.
func TestBadResponses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"oversize":       {binary.BigEndian.AppendUint32(nil, 1<<31), ErrFrameTooLarge},
		"empty":          {make([]byte, 4), ErrFrameEmpty},
		"truncated":      {appendFrame(nil, []byte{0, 1})[:5], ErrFrameTruncated},
		"unknown status": {appendFrame(nil, []byte{77}), ErrBadResponse},
		"nothing":        {nil, ErrRequestRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startHost(t, testConfig(t, 0), Handlers{})
			server.host.SetStreamHandler(server.requestProtocol("bad"), rawAnswer(c.bytes))
			client := startHost(t, testConfig(t, 1), Handlers{})
			connect(t, client, server)
			if _, err := client.Request(context.Background(), server.ID(), "bad", nil); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestRequestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Peers", "a/b", "peers", strings.Repeat("x", 33)} {
		_, err := New(context.Background(), testConfig(t, 0), Handlers{Requests: map[string]Request{name: nil}})
		if !errors.Is(err, ErrConfig) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// TestResponsesAreBounded: what waits for slow readers has a limit, which
// validators are not held to.
func TestResponsesAreBounded(t *testing.T) {
	t.Parallel()
	h := startHost(t, testConfig(t, 0), Handlers{})
	first, ok := h.beginResponse(maxResponsesBytes-10, false)
	if !ok {
		t.Fatal("refused below the limit")
	}
	if _, ok := h.beginResponse(11, false); ok {
		t.Fatal("let through above the limit")
	}
	if _, ok := h.beginResponse(11, true); !ok {
		t.Fatal("a validator was refused")
	}
	first()
	if _, ok := h.beginResponse(11, false); !ok {
		t.Fatal("still full")
	}
	for i := range requestsTotal {
		if _, ok := h.beginRequest(testID(t, i), false); !ok {
			t.Fatalf("request %d refused", i)
		}
	}
	if _, ok := h.beginRequest(testID(t, requestsTotal), false); ok {
		t.Fatal("more requests at once than the limit")
	}
	if _, ok := h.beginRequest(testID(t, requestsTotal), true); !ok {
		t.Fatal("a validator was crowded out")
	}
}
