package p2p

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"cairn/crypto"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Started by package initialisation of go-libp2p's dependencies, one
		// for the whole process.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/v2/writer.(*MirrorWriter).logRoutine"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
	)
}

var testGenesis = crypto.Keccak256([]byte("test network"))

// testKey is the peer key of a number; the same each run.
func testKey(t testing.TB, n int) libp2pcrypto.PrivKey {
	t.Helper()
	seed := crypto.Keccak256([]byte(fmt.Sprint("peer key ", n)))
	key, _, err := libp2pcrypto.GenerateEd25519Key(newReader(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type repeatReader struct{ b []byte }

func newReader(b []byte) *repeatReader { return &repeatReader{b} }

func (r *repeatReader) Read(p []byte) (int, error) { return copy(p, r.b), nil }

func testID(t testing.TB, n int) peer.ID {
	t.Helper()
	id, err := PeerID(testKey(t, n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// testConfig is node n of the test network, alone on loopback. A busy machine
// lets none of its deadlines pass, and no ping ends a connection.
func testConfig(t testing.TB, n int) Config {
	return Config{
		Listen:    []string{"/ip4/127.0.0.1/tcp/0"},
		Key:       testKey(t, n),
		Genesis:   testGenesis,
		UserAgent: fmt.Sprintf("cairnd/test-%d", n),

		HandshakeTimeout: patience,
		RequestTimeout:   patience,
		waits: waits{
			request: patience, direct: patience, consensus: patience, together: dialLimit,
			ping: time.Hour, open: patience, close: patience,
		},
	}
}

func startHost(t testing.TB, cfg Config, handlers Handlers) *Host {
	t.Helper()
	h, err := New(context.Background(), cfg, handlers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, h) })
	return h
}

func closeHost(t testing.TB, h *Host) {
	t.Helper()
	if err := h.Close(); err != nil { // also when it took longer than closeLimit
		t.Errorf("close: %v", err)
	}
}

// patience is how long a test waits for what must come: a busy machine is no
// fault.
const patience = time.Minute

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func connect(t testing.TB, a, b *Host) {
	t.Helper()
	reach(t, a, b.ListenAddrs()[0])
	eventually(t, "the other side is ready", func() bool { return hasPeer(b, a.ID()) })
}

// reach dials until it succeeds: a busy machine may need longer than a dial has.
func reach(t testing.TB, h *Host, addr string) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = h.Connect(t.Context(), addr); err == nil {
			return
		}
	}
	t.Fatalf("not connected within %s: %v", patience, err)
}

func hasPeer(h *Host, p peer.ID) bool {
	for _, info := range h.Peers() {
		if info.ID == p {
			return true
		}
	}
	return false
}

// inbox collects what a host's handlers get.
type inbox struct {
	mu            sync.Mutex
	transactions  []string
	finalizations []string
	consensus     []string
	verdict       Verdict
}

func (i *inbox) handlers() Handlers {
	return Handlers{
		Transactions: func(_ context.Context, _ peer.ID, raws [][]byte) Verdict {
			i.mu.Lock()
			defer i.mu.Unlock()
			for _, raw := range raws {
				i.transactions = append(i.transactions, string(raw))
			}
			return i.verdict
		},
		Finalization: func(_ context.Context, _ peer.ID, msg []byte) Verdict {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.finalizations = append(i.finalizations, string(msg))
			return i.verdict
		},
		Consensus: func(_ peer.ID, msg []byte) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.consensus = append(i.consensus, string(msg))
		},
	}
}

func (i *inbox) got(list *[]string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), *list...)
}

func TestOneBootnodeFindsTheRest(t *testing.T) {
	t.Parallel()
	began := time.Now()
	boot := startHost(t, testConfig(t, 0), Handlers{})
	hosts := []*Host{boot}
	for n := 1; n < 5; n++ {
		cfg := testConfig(t, n)
		cfg.Bootnodes = []string{boot.Addrs()[0]}
		cfg.DHT = n%2 == 0
		hosts = append(hosts, startHost(t, cfg, Handlers{}))
	}
	for _, h := range hosts {
		eventually(t, "four peers", func() bool { return len(h.Peers()) == 4 })
	}
	t.Logf("five nodes found each other in %s", time.Since(began))
}

// rawAnswer is a stream handler that reads a frame and writes bytes.
func rawAnswer(b []byte) network.StreamHandler {
	return func(s network.Stream) {
		readFrame(s, 1<<20)
		s.Write(b)
		s.Close()
	}
}
