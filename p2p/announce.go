package p2p

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/config"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// announcer answers what a node tells others of its addresses: exactly the
// overrides if there are any, else see announced.
func announcer(overrides []string) (config.AddrsFactory, error) {
	var fixed []ma.Multiaddr
	for _, s := range overrides {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%w: Announce: %q: %w", ErrConfig, s, err)
		}
		a, _ = splitPeer(a)
		fixed = append(fixed, a)
	}
	if fixed != nil {
		return func([]ma.Multiaddr) []ma.Multiaddr { return fixed }, nil
	}
	return func(listened []ma.Multiaddr) []ma.Multiaddr { return announced(listened, containerAddrs) }, nil
}

// announced drops addresses that mean nothing, or another machine, elsewhere:
// loopback, link-local and those of container bridges. If nothing is left the
// bridges' are kept, and then loopback: a network on one machine has no other.
func announced(listened []ma.Multiaddr, bridges func() map[netip.Addr]bool) []ma.Multiaddr {
	var routable, loopback []ma.Multiaddr
	for _, a := range listened {
		switch {
		case isLoopback(a):
			loopback = append(loopback, a)
		case manet.IsIP6LinkLocal(a) || manet.IsIPUnspecified(a):
		default:
			routable = append(routable, a)
		}
	}
	if len(routable) == 0 {
		return loopback
	}
	own := bridges()
	var kept []ma.Multiaddr
	for _, a := range routable {
		if ip, err := manet.ToIP(a); err == nil {
			if addr, ok := netip.AddrFromSlice(ip); ok && own[addr.Unmap()] {
				continue
			}
		}
		kept = append(kept, a)
	}
	if len(kept) == 0 {
		return routable
	}
	return kept
}

// bridgeNames begin the names of interfaces that lead to containers and virtual
// machines of this machine.
var bridgeNames = []string{
	"docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "lxc", "lxd", "podman", "cni", "flannel", "cali", "cilium", "kube", "weave",
}

// containerAddrs are this machine's addresses on such interfaces. Inside a
// container the interface has an ordinary name, so its address is kept.
func containerAddrs() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	interfaces, err := net.Interfaces()
	if err != nil {
		return out
	}
	for _, i := range interfaces {
		if !isBridge(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[p.Addr().Unmap()] = true
			}
		}
	}
	return out
}

func isBridge(name string) bool {
	for _, p := range bridgeNames {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// isLoopback also knows /dns…/localhost.
func isLoopback(a ma.Multiaddr) bool {
	if manet.IsIPLoopback(a) {
		return true
	}
	for _, code := range []int{ma.P_DNS, ma.P_DNS4, ma.P_DNS6} {
		if name, err := a.ValueForProtocol(code); err == nil && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
			return true
		}
	}
	return false
}

func allLoopback(addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		if !isLoopback(a) {
			return false
		}
	}
	return true
}

// dialable says whether an address is one that this package can dial: TCP or
// QUIC on an IP address or a name.
func dialable(a ma.Multiaddr) bool {
	if len(a) < 2 || len(a) > 3 {
		return false
	}
	switch a[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
		if manet.IsIPUnspecified(a) || manet.IsIP6LinkLocal(a) {
			return false
		}
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	default:
		return false
	}
	switch a[1].Protocol().Code {
	case ma.P_TCP:
		return len(a) == 2
	case ma.P_UDP:
		return len(a) == 3 && a[2].Protocol().Code == ma.P_QUIC_V1
	}
	return false
}

// splitPeer cuts a trailing /p2p/ID.
func splitPeer(a ma.Multiaddr) (ma.Multiaddr, bool) {
	if n := len(a); n > 1 && a[n-1].Protocol().Code == ma.P_P2P {
		return a[:n-1], true
	}
	return a, false
}
