package p2p

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"cairn/crypto"
)

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	if err := testConfig(t, 0).Validate(); err != nil {
		t.Fatal(err)
	}
	secp, _, err := libp2pcrypto.GenerateSecp256k1Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *Config){
		"no key":            func(c *Config) { c.Key = nil },
		"another key type":  func(c *Config) { c.Key = secp },
		"no genesis":        func(c *Config) { c.Genesis = crypto.Hash{} },
		"no listen address": func(c *Config) { c.Listen = nil },
		"listen host:port":  func(c *Config) { c.Listen = []string{"127.0.0.1:1"} },
		"listen websocket":  func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/1/ws"} },
		"listen on a name":  func(c *Config) { c.Listen = []string{"/dns4/localhost/tcp/1"} },
		"QUIC on pnet": func(c *Config) {
			c.Listen = []string{"/ip4/0.0.0.0/udp/1/quic-v1"}
			c.PrivateNetworkKey = make([]byte, 32)
		},
		"short pnet key":      func(c *Config) { c.PrivateNetworkKey = make([]byte, 31) },
		"announce":            func(c *Config) { c.Announce = []string{"node.example"} },
		"bootnode without ID": func(c *Config) { c.Bootnodes = []string{"/ip4/127.0.0.1/tcp/1"} },
		"too many peers":      func(c *Config) { c.MaxPeers = 100_000 },
		"negative peers":      func(c *Config) { c.MaxPeers = -1 },
		"frame limit":         func(c *Config) { c.MaxConsensusBytes = 1 << 30 },
		"queue below frame":   func(c *Config) { c.MaxConsensusQueue = 1 << 10 },
		"batch delay":         func(c *Config) { c.BatchDelay = time.Minute },
		"negative rate":       func(c *Config) { c.RequestRate = -1 },
		"long user agent":     func(c *Config) { c.UserAgent = string(make([]byte, 200)) },
		"empty rule set":      func(c *Config) { c.RuleSets = []string{""} },
	} {
		c := testConfig(t, 0)
		change(&c)
		if err := c.Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want %v", name, err, ErrConfig)
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "peer.key")
	key, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	again, err := LoadOrCreateKey(path)
	if err != nil || !again.Equals(key) {
		t.Fatalf("another key: %v", err)
	}
	if err := WriteKey(path, testKey(t, 1)); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwritten: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files left over: %v, %v", entries, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path); !errors.Is(err, ErrKeyPermissions) {
		t.Errorf("readable by the group: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "no base64": "?", "no key": "AAAA", "large": string(make([]byte, maxKeyFile+1))} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(p); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "missing", "peer.key")); err == nil {
		t.Error("no error without a directory")
	}
}

func TestAnnounced(t *testing.T) {
	t.Parallel()
	bridges := func() map[netip.Addr]bool { return map[netip.Addr]bool{netip.MustParseAddr("172.17.0.1"): true} }
	for name, c := range map[string]struct{ listened, want []string }{
		"loopback only":        {[]string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"}, []string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"}},
		"routable":             {[]string{"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.5/tcp/1"}, []string{"/ip4/10.0.0.5/tcp/1"}},
		"bridge":               {[]string{"/ip4/127.0.0.1/tcp/1", "/ip4/172.17.0.1/tcp/1", "/ip4/10.0.0.5/tcp/1"}, []string{"/ip4/10.0.0.5/tcp/1"}},
		"bridge only":          {[]string{"/ip4/127.0.0.1/tcp/1", "/ip4/172.17.0.1/tcp/1"}, []string{"/ip4/172.17.0.1/tcp/1"}},
		"link-local":           {[]string{"/ip6/fe80::1/tcp/1", "/ip4/10.0.0.5/udp/1/quic-v1"}, []string{"/ip4/10.0.0.5/udp/1/quic-v1"}},
		"inside the container": {[]string{"/ip4/127.0.0.1/tcp/1", "/ip4/172.17.0.2/tcp/1"}, []string{"/ip4/172.17.0.2/tcp/1"}},
	} {
		var in []ma.Multiaddr
		for _, s := range c.listened {
			in = append(in, ma.StringCast(s))
		}
		var got []string
		for _, a := range announced(in, bridges) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for name, want := range map[string]bool{"docker0": true, "br-12ab": true, "veth1": true, "eth0": false, "enp3s0": false, "lo": false, "bridge0": false} {
		if isBridge(name) != want {
			t.Errorf("interface %s: %v", name, !want)
		}
	}
}

// TestAnnounceOverride: what is configured is what others learn.
func TestAnnounceOverride(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.Announce = []string{"/dns4/node.example/tcp/30303"}
	h := startHost(t, cfg, Handlers{})
	want := "/dns4/node.example/tcp/30303/p2p/" + h.ID().String()
	if got := h.Addrs(); !slices.Equal(got, []string{want}) {
		t.Fatalf("%v, want %s", got, want)
	}
	other := startHost(t, testConfig(t, 1), Handlers{})
	connect(t, other, h)
	eventually(t, "the signed record arrives", func() bool {
		got := other.book.addrs(h.ID())
		return len(got) == 1 && got[0].String()+"/p2p/"+h.ID().String() == want
	})
}

// TestUnspecifiedAddress: listening everywhere announces what others can reach.
func TestUnspecifiedAddress(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
	h := startHost(t, cfg, Handlers{})
	var loopback, other int
	for _, s := range h.Addrs() {
		a, _ := splitPeer(ma.StringCast(s))
		if !dialable(a) {
			t.Errorf("announces %s", s)
		}
		if isLoopback(a) {
			loopback++
		} else {
			other++
		}
	}
	if loopback > 0 && other > 0 || loopback+other == 0 {
		t.Errorf("announces %v", h.Addrs())
	}
}

func TestAddressGroups(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/1": "", "/dns4/x/tcp/1": "", "/ip6/::1/tcp/1": "",
		"/ip4/10.1.2.3/tcp/1": "10.1.2.3/32", "/ip6/2001:db8:1:2ff::1/tcp/1": "2001:db8:1:200::/56",
	} {
		got, ok := addressGroup(ma.StringCast(in))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %s %v, want %q", in, got, ok, want)
		}
	}
}

// TestReconnectInTime: how long two validators whose link passes packets again
// can take to dial successfully, at worst, leaves room for finality within 5 s.
// A dial that began into a dead link goes on until dialLimit; TCP sends its SYN
// again 1 s and 3 s after the first (RFC 6298), so a link that heals right after
// that has to wait for the next dial.
func TestReconnectInTime(t *testing.T) {
	t.Parallel()
	c := testConfig(t, 0)
	c.setDefaults()
	const lastSYN, room = 3 * time.Second, 1500 * time.Millisecond
	longest := c.MaxReconnectInterval * 3 / 2 // keep draws from half to one and a half
	if worst := dialLimit - lastSYN + longest; worst+room > 5*time.Second {
		t.Fatalf("a healed link can stay unused for %s", worst)
	}
}
