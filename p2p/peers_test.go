package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/crypto"
)

func TestWrongGenesis(t *testing.T) {
	t.Parallel()
	ours := startHost(t, testConfig(t, 0), Handlers{})
	cfg := testConfig(t, 1)
	cfg.Genesis = crypto.Keccak256([]byte("another network"))
	theirs := startHost(t, cfg, Handlers{})
	bad, err := refusedBy(t, theirs, ours.ListenAddrs()[0])
	if bad == nil || !errors.Is(err, ErrWrongGenesis) {
		t.Fatalf("%v, want an IncompatibleError of kind %v", err, ErrWrongGenesis)
	}
	for _, g := range []crypto.Hash{cfg.Genesis, testGenesis} {
		if !strings.Contains(err.Error(), g.Hex()) {
			t.Errorf("%q does not name %s", err, g.Hex())
		}
	}
	for name, h := range map[string]*Host{"ours": ours, "theirs": theirs} {
		eventually(t, "both sides count it and disconnect", func() bool {
			return h.Metrics()["peers_wrong_genesis_total"] >= 1 && len(h.host.Network().Peers()) == 0
		})
		if len(h.Peers()) != 0 {
			t.Errorf("%s has a peer", name)
		}
	}
}

// refusedBy dials until the other side has answered.
func refusedBy(t *testing.T, h *Host, addr string) (bad *IncompatibleError, err error) {
	t.Helper()
	eventually(t, "an answer", func() bool {
		err = h.Connect(t.Context(), addr)
		return err == nil || errors.As(err, &bad)
	})
	return bad, err
}

func TestWireVersions(t *testing.T) {
	t.Parallel()
	h := startHost(t, testConfig(t, 0), Handlers{})
	for _, c := range []struct {
		lowest, version uint16
		want            refusal
	}{{1, 1, refusalNone}, {1, 9, refusalNone}, {0, 0, refusalVersion}, {2, 9, refusalVersion}} {
		m := &hello{Version: c.version, Lowest: c.lowest, Genesis: testGenesis}
		if got := h.judge(testID(t, 1), m); got != c.want {
			t.Errorf("versions %d to %d: %v, want %v", c.lowest, c.version, got, c.want)
		}
	}
}

// TestRestartedPeerLosesOldConnections: a hello of another process with the
// same identity ends what the old one left.
func TestRestartedPeerLosesOldConnections(t *testing.T) {
	t.Parallel()
	h := startHost(t, testConfig(t, 0), Handlers{})
	old := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, old, h)
	again := startHost(t, testConfig(t, 1), Handlers{}) // old is not told
	connect(t, again, h)
	eventually(t, "only the new connection is left", func() bool {
		return len(h.host.Network().ConnsToPeer(again.ID())) == 1 && len(old.Peers()) == 0 && hasPeer(again, h.ID())
	})
}

// TestBadHandshakes plays the dialling side by hand.
func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	const slow = "streams_slow_total"
	good := (&hello{Version: 1, Lowest: 1, Genesis: testGenesis, UserAgent: "x"}).encode()
	for name, c := range map[string]struct {
		bytes  []byte
		metric string
	}{
		"oversize":  {binary.BigEndian.AppendUint32(nil, maxHello+1), "frames_oversize_total"},
		"malformed": {appendFrame(nil, good[:20]), "frames_malformed_total"},
		"nothing":   {nil, slow},
		"slow":      {appendFrame(nil, good)[:20], slow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t, 0)
			if c.metric == slow {
				cfg.HandshakeTimeout = 300 * time.Millisecond
			}
			server := startHost(t, cfg, Handlers{})
			// A libp2p host without this package on top.
			quiet := testConfig(t, 1)
			quiet.setDefaults()
			g := newGater(&quiet, newCounters())
			client, conns, err := newLibp2pHost(&quiet, g)
			if err != nil {
				t.Fatal(err)
			}
			defer conns.Close()
			defer client.Close()
			info, err := parsePeerAddr(server.ListenAddrs()[0])
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "a connection and what is said on it", func() bool { // a slow one may be ended first
				if err := client.Connect(t.Context(), info); err != nil || c.bytes == nil {
					return err == nil
				}
				s, err := client.NewStream(t.Context(), server.ID(), handshakeProtocol)
				if err == nil {
					_, err = s.Write(c.bytes)
				}
				return err == nil
			})
			eventually(t, "it is counted and disconnected", func() bool {
				return server.Metrics()[c.metric] >= 1 && len(server.host.Network().Peers()) == 0
			})
			if len(server.Peers()) != 0 || server.Metrics()["handshakes_total"] != 0 {
				t.Error("it became a peer")
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	t.Parallel()
	h := startHost(t, testConfig(t, 0), Handlers{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for addr, want := range map[string]error{
		"":                         ErrAddress,
		"/ip4/127.0.0.1/tcp/1":     ErrAddress,
		"/p2p/" + h.ID().String():  ErrAddress,
		h.ListenAddrs()[0]:         ErrSelf,
		"127.0.0.1:30303/p2p/what": ErrAddress,
	} {
		if err := h.Connect(ctx, addr); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", addr, err, want)
		}
	}
	if err := h.Connect(ctx, "/ip4/127.0.0.1/tcp/1/p2p/"+testID(t, 5).String()); err == nil {
		t.Error("connected to nobody")
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.AllowList = []peer.ID{testID(t, 1)}
	h := startHost(t, cfg, Handlers{})
	h.SetValidators([]peer.ID{testID(t, 2)})
	friend := startHost(t, testConfig(t, 1), Handlers{})
	validator := startHost(t, testConfig(t, 2), Handlers{})
	stranger := startHost(t, testConfig(t, 3), Handlers{})
	connect(t, friend, h)
	connect(t, validator, h)
	eventually(t, "a refusal is counted", func() bool {
		if err := stranger.Connect(t.Context(), h.ListenAddrs()[0]); err == nil {
			t.Fatal("a stranger was let in")
		}
		return h.Metrics()["peers_refused_total"] > 0
	})
	if err := h.Connect(t.Context(), stranger.ListenAddrs()[0]); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("dialling a stranger: %v, want %v", err, ErrNotAllowed)
	}
}

func TestMaxPeers(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.MaxPeers = 1
	h := startHost(t, cfg, Handlers{})
	h.SetValidators([]peer.ID{testID(t, 3)})
	connect(t, startHost(t, testConfig(t, 1), Handlers{}), h)
	bad, err := refusedBy(t, startHost(t, testConfig(t, 2), Handlers{}), h.ListenAddrs()[0])
	if bad == nil || bad.Kind != ErrTooManyPeers || !bad.ByPeer {
		t.Fatalf("%v, want %v", err, ErrTooManyPeers)
	}
	connect(t, startHost(t, testConfig(t, 3), Handlers{}), h) // a validator
}

func TestBansExpire(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.BanDuration = time.Hour
	h := startHost(t, cfg, Handlers{})
	other := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, other, h)
	h.Penalize(other.ID(), FaultInvalid)
	eventually(t, "the banned peer is gone", func() bool { return !hasPeer(h, other.ID()) && !hasPeer(other, h.ID()) })
	if h.Metrics()["banned_peers"] != 1 || h.Metrics()["bans_total"] != 1 {
		t.Errorf("%v", h.Metrics())
	}
	if err := h.Connect(context.Background(), other.ListenAddrs()[0]); !errors.Is(err, ErrBanned) {
		t.Errorf("dialling it: %v, want %v", err, ErrBanned)
	}
	h.gater.mu.Lock()
	h.gater.now = func() time.Time { return time.Now().Add(time.Hour) }
	h.gater.mu.Unlock()
	eventually(t, "it is back after the ban", func() bool {
		return other.Connect(t.Context(), h.ListenAddrs()[0]) == nil && hasPeer(h, other.ID())
	})
}

func TestCharges(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	cfg := testConfig(t, 0)
	cfg.setDefaults()
	g := newGater(&cfg, newCounters())
	g.now = func() time.Time { return now }
	p, v := testID(t, 1), testID(t, 2)
	g.setValidators(map[peer.ID]struct{}{v: {}})
	for i := range 3 {
		if g.charge(p, FaultMalformed) {
			t.Fatalf("banned after %d", i+1)
		}
	}
	now = now.Add(chargeHalfLife) // 75 points are 37.5 now
	if g.charge(p, FaultOversize) || !g.charge(p, FaultMalformed) {
		t.Fatal("87.5 points ban, or 112.5 do not")
	}
	if g.check(p) != ErrBanned {
		t.Fatal("not banned")
	}
	now = now.Add(cfg.BanDuration)
	if g.check(p) != nil || g.points(p) != 0 {
		t.Fatal("the ban did not end")
	}
	if g.charge(v, FaultInvalid) || g.check(v) != nil {
		t.Fatal("a validator was banned")
	}
	for i := range maxBans + 10 {
		g.charge(peer.ID(binary.BigEndian.AppendUint32(nil, uint32(i))), FaultInvalid)
	}
	if len(g.bans) > maxBans || len(g.charges) > maxBans {
		t.Fatalf("%d bans, %d charges", len(g.bans), len(g.charges))
	}
}

// TestRememberedPeers: a node that was connected once finds back without a
// bootnode; a broken file costs the memory and nothing else.
func TestRememberedPeers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "peers.json")
	other := startHost(t, testConfig(t, 0), Handlers{})
	cfg := testConfig(t, 1)
	cfg.PeerStore = path
	h := startHost(t, cfg, Handlers{})
	connect(t, h, other)
	identified := func(h *Host) func() bool { return func() bool { return len(h.book.addrs(other.ID())) > 0 } }
	eventually(t, "its address is known", identified(h))
	closeHost(t, h)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("file of peers: %v, %v", info, err)
	}
	eventually(t, "the loss is seen", func() bool { return len(other.Peers()) == 0 })
	again := startHost(t, cfg, Handlers{})
	eventually(t, "it finds back", func() bool { return hasPeer(again, other.ID()) })
	closeHost(t, again)

	for name, content := range map[string]string{
		"empty": "", "no JSON": "{", "wrong types": `{"peers":3}`, "other genesis": `{"genesis":"0x01"}`,
		"bad id":    `{"genesis":"` + testGenesis.Hex() + `","peers":[{"id":"x","addrs":[]}]}`,
		"too large": strings.Repeat(" ", maxPeerStoreFile+1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBook(h.ID(), func(peer.ID) bool { return false })
		if err := b.load(path, testGenesis); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken := startHost(t, cfg, Handlers{})
	connect(t, broken, other)
	eventually(t, "its address is known", identified(broken))
	closeHost(t, broken)
	b := newBook(h.ID(), func(peer.ID) bool { return false })
	if err := b.load(path, testGenesis); err != nil || len(b.known) != 1 {
		t.Errorf("the broken file was not replaced: %d peers, %v", len(b.known), err)
	}
}

func TestPeerInfo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.RuleSets = []string{"first", "second"}
	cfg.Registerer = prometheus.NewRegistry()
	a := startHost(t, cfg, Handlers{})
	changes := make(chan struct{}, 16)
	b := startHost(t, testConfig(t, 1), Handlers{PeerChange: func() { changes <- struct{}{} }})
	b.SetValidators([]peer.ID{a.ID()})
	connect(t, b, a)
	eventually(t, "the round trip is measured", func() bool { return b.ping(a.ID()) && b.Peers()[0].Latency > 0 })
	info := b.Peers()[0]
	if info.ID != a.ID() || !info.Validator || info.UserAgent != "cairnd/test-0" || len(info.RuleSets) != 2 ||
		info.Direction != "outbound" || len(info.Addrs) == 0 || info.Since.IsZero() {
		t.Errorf("%+v", info)
	}
	select {
	case <-changes:
	case <-time.After(patience):
		t.Error("PeerChange was not called")
	}
	families, err := cfg.Registerer.(*prometheus.Registry).Gather()
	if err != nil || len(families) != int(counterCount)+5 {
		t.Errorf("%d metric families, %v", len(families), err)
	}
}

func TestTransports(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(cfg *Config){
		"tcp":  func(cfg *Config) {},
		"quic": func(cfg *Config) { cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} },
		"ipv6": func(cfg *Config) { cfg.Listen = []string{"/ip6/::1/tcp/0"} },
		"both": func(cfg *Config) { cfg.Listen = append(cfg.Listen, "/ip4/127.0.0.1/udp/0/quic-v1") },
		"pnet": func(cfg *Config) { cfg.PrivateNetworkKey = make([]byte, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hosts, boxes := validators(t, 3, func(_ int, cfg *Config) { change(cfg) })
			hosts[0].SendConsensus(hosts[2].ID(), []byte("vote"))
			eventually(t, "the frame", func() bool { return len(boxes[2].got(&boxes[2].consensus)) == 1 })
		})
	}
}

// TestDialOrder: TCP is dialled at once, QUIC after a head start, or at once where
// there is nothing else; several addresses of one kind one after the other.
func TestDialOrder(t *testing.T) {
	t.Parallel()
	const tcp, quic = "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"
	for want, addrs := range map[string][]string{
		"[250ms 0s 50ms 300ms]": {quic, tcp, tcp, quic},
		"[0s 50ms]":             {quic, quic},
		"[0s]":                  {tcp},
	} {
		var in []ma.Multiaddr
		for _, a := range addrs {
			in = append(in, ma.StringCast(a))
		}
		var got []time.Duration
		for i, d := range rankDials(in) {
			if got = append(got, d.Delay); !d.Addr.Equal(in[i]) {
				t.Errorf("%v: address %d is %s", addrs, i, d.Addr)
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%v: %v, want %s", addrs, got, want)
		}
	}
}

func TestPrivateNetworkKeepsOthersOut(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.PrivateNetworkKey = make([]byte, 32)
	member := startHost(t, cfg, Handlers{})
	outsider := startHost(t, testConfig(t, 1), Handlers{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := outsider.Connect(ctx, member.ListenAddrs()[0]); err == nil {
		t.Fatal("connected without the key")
	}
}

func TestListenFails(t *testing.T) {
	t.Parallel()
	first := startHost(t, testConfig(t, 0), Handlers{})
	addr, err := listenAddr(first)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, 1)
	cfg.Listen = append(cfg.Listen, addr)
	if h, err := New(context.Background(), cfg, Handlers{}); err == nil || !strings.Contains(err.Error(), addr) {
		if h != nil {
			h.Close()
		}
		t.Fatalf("%v, want an error that names %s", err, addr)
	}
}

func TestContextCloses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	h, err := New(ctx, testConfig(t, 0), Handlers{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the host is closed", func() bool {
		return !h.spawn(func() {}) && len(h.host.Network().ListenAddresses()) == 0
	})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Request(context.Background(), testID(t, 1), "status", nil); err == nil {
		t.Fatal("a closed host asks")
	}
	h.PublishTransactions([]byte{1})
	h.PublishFinalization([]byte{1})
	h.SetValidators([]peer.ID{testID(t, 1)})
	if h.SendConsensus(testID(t, 1), []byte{1}) {
		t.Fatal("a closed host sends")
	}
}

// TestTableFindsPeers: the DHT alone answers with addresses that work on
// loopback.
func TestTableFindsPeers(t *testing.T) {
	t.Parallel()
	var hosts []*Host
	for i := range 3 {
		cfg := testConfig(t, i)
		cfg.DHT = true
		cfg.MaxPeers = 1 // the ends look for no second peer
		if i == 1 {
			cfg.MaxPeers = 2
		}
		hosts = append(hosts, startHost(t, cfg, Handlers{}))
	}
	connect(t, hosts[0], hosts[1])
	connect(t, hosts[2], hosts[1])
	want, err := listenAddr(hosts[2])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the table knows the third node", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		info, err := hosts[0].discovery.dht.FindPeer(ctx, hosts[2].ID())
		return err == nil && len(info.Addrs) > 0 && info.Addrs[0].String() == want
	})
}

// TestFullNodeOpensNoConsensusStream: validators would refuse it for ever.
func TestFullNodeOpensNoConsensusStream(t *testing.T) {
	t.Parallel()
	hosts, _ := validators(t, 2, nil)
	full := startHost(t, testConfig(t, 5), Handlers{})
	full.SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID()})
	connect(t, full, hosts[0])
	eventually(t, "it finds the other", func() bool { return len(full.Peers()) == 2 })
	if full.SendConsensus(hosts[0].ID(), []byte("vote")) || full.Metrics()["consensus_streams_total"] != 0 {
		t.Error("it opened a consensus stream")
	}
	if !full.Peers()[0].Validator {
		t.Error("validators are not marked")
	}
}

// TestStoppedBeingValidator: streams end when the set changes.
func TestStoppedBeingValidator(t *testing.T) {
	t.Parallel()
	hosts, boxes := validators(t, 3, nil)
	hosts[0].SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID()})
	if hosts[0].SendConsensus(hosts[2].ID(), []byte("vote")) {
		t.Error("sent to a former validator")
	}
	eventually(t, "its stream ends", func() bool {
		hosts[0].mu.Lock()
		defer hosts[0].mu.Unlock()
		return hosts[0].inbound[hosts[2].ID()] == nil
	})
	hosts[2].SendConsensus(hosts[0].ID(), []byte("vote of a former validator"))
	hosts[1].SendConsensus(hosts[0].ID(), []byte("vote"))
	eventually(t, "the other's vote", func() bool { return len(boxes[0].got(&boxes[0].consensus)) > 0 })
	if got := boxes[0].got(&boxes[0].consensus); got[0] != "vote" {
		t.Errorf("got %q", got)
	}
	hosts[0].SetValidators([]peer.ID{hosts[0].ID(), hosts[1].ID(), hosts[2].ID()})
	eventually(t, "it is back", func() bool {
		hosts[0].mu.Lock()
		defer hosts[0].mu.Unlock()
		return hosts[0].inbound[hosts[2].ID()] != nil
	})
}
