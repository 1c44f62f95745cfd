package p2p

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// routableHost listens on every IPv4 address. Its second result is the one that
// is not loopback; a machine without one skips the test.
func routableHost(t *testing.T, cfg Config) (*Host, string) {
	t.Helper()
	cfg.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
	h := startHost(t, cfg, Handlers{})
	for _, s := range h.ListenAddrs() {
		a, _ := splitPeer(ma.StringCast(s))
		if !isLoopback(a) && dialable(a) {
			return h, s
		}
	}
	t.Skip("this machine has no address but loopback")
	return nil, ""
}

func TestPeersPerAddress(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, 0)
	cfg.MaxPeersPerAddress = 1
	h, addr := routableHost(t, cfg)
	h.SetValidators([]peer.ID{testID(t, 3)})
	reach(t, startHost(t, testConfig(t, 1), Handlers{}), addr)
	eventually(t, "the first is a peer", func() bool { return len(h.Peers()) == 1 })
	if err := startHost(t, testConfig(t, 2), Handlers{}).Connect(t.Context(), addr); err == nil {
		t.Error("a second peer from the same address was let in")
	}
	reach(t, startHost(t, testConfig(t, 3), Handlers{}), addr)               // a validator
	reach(t, startHost(t, testConfig(t, 4), Handlers{}), loopbackAddr(t, h)) // from loopback
}

func loopbackAddr(t *testing.T, h *Host) string {
	t.Helper()
	for _, s := range h.ListenAddrs() {
		if strings.HasPrefix(s, "/ip4/127.0.0.1/") {
			return s
		}
	}
	t.Fatal("does not listen on loopback")
	return ""
}

// TestLoopbackStaysHere: a node that has only a loopback address is named to
// peers on this machine, not to others.
func TestLoopbackStaysHere(t *testing.T) {
	t.Parallel()
	middle, addr := routableHost(t, testConfig(t, 0))
	local := startHost(t, testConfig(t, 1), Handlers{})
	near := startHost(t, testConfig(t, 2), Handlers{})
	reach(t, local, loopbackAddr(t, middle))
	reach(t, near, loopbackAddr(t, middle))
	eventually(t, "the near node learns the local one", func() bool { return hasPeer(near, local.ID()) })

	far, _ := routableHost(t, testConfig(t, 3))
	reach(t, far, addr)
	eventually(t, "both are ready", func() bool { return hasPeer(middle, far.ID()) && hasPeer(far, middle.ID()) })
	far.askForPeers(far.state(middle.ID()))
	if got := far.book.addrs(local.ID()); len(got) != 0 {
		t.Errorf("the far node learned %v", got)
	}
	if far.onLoopback(middle.ID()) || !near.onLoopback(middle.ID()) {
		t.Error("near and far are mixed up")
	}
}
