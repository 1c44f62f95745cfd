package p2p

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Fault is something a peer did wrong, with a fixed price in points. A peer
// whose points reach banThreshold is banned; points halve every chargeHalfLife.
type Fault string

// The faults and their prices.
const (
	FaultInvalid   = Fault("content that breaks the rules")     // 100: proof of a faulty peer, a ban at once
	FaultOversize  = Fault("frame above its limit")             // 50
	FaultMalformed = Fault("malformed message")                 // 25
	FaultRejected  = Fault("relayed a message to be rejected")  // 20
	FaultSlow      = Fault("let a deadline pass")               // 10
	FaultUseless   = Fault("no or an empty answer to requests") // 5
	FaultFlood     = Fault("more than its rate")                // 1
)

func (f Fault) price() float64 {
	switch f {
	case FaultInvalid:
		return 100
	case FaultOversize:
		return 50
	case FaultRejected:
		return 20
	case FaultSlow:
		return 10
	case FaultUseless:
		return 5
	case FaultFlood:
		return 1
	}
	return 25 // FaultMalformed and what a caller makes up
}

// gater decides who may connect: allow list, bans, peers per address.
type gater struct {
	count  *counters
	ban    time.Duration
	perIP  int
	now    func() time.Time
	onPeer func(addr netip.Prefix) int // connected peers that count for an address

	mu         sync.Mutex
	allow      map[peer.ID]struct{} // nil = open
	validators map[peer.ID]struct{}
	bans       map[peer.ID]time.Time // until
	charges    map[peer.ID]charge
}

type charge struct {
	points float64
	at     time.Time
}

func newGater(cfg *Config, count *counters) *gater {
	g := &gater{
		count: count, ban: cfg.BanDuration, perIP: cfg.MaxPeersPerAddress, now: time.Now,
		onPeer:     func(netip.Prefix) int { return 0 },
		validators: map[peer.ID]struct{}{}, bans: map[peer.ID]time.Time{}, charges: map[peer.ID]charge{},
	}
	if cfg.AllowList != nil {
		g.allow = make(map[peer.ID]struct{}, len(cfg.AllowList))
		for _, p := range cfg.AllowList {
			g.allow[p] = struct{}{}
		}
	}
	return g
}

// check answers ErrBanned, ErrNotAllowed or nil.
func (g *gater) check(p peer.ID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.validators[p]; ok {
		return nil
	}
	if until, ok := g.bans[p]; ok {
		if g.now().Before(until) {
			return ErrBanned
		}
		delete(g.bans, p)
	}
	if g.allow != nil {
		if _, ok := g.allow[p]; !ok {
			return ErrNotAllowed
		}
	}
	return nil
}

// exempt says whether limits on the number of peers do not concern p.
func (g *gater) exempt(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.validators[p]; ok {
		return true
	}
	_, ok := g.allow[p]
	return ok
}

func (g *gater) setValidators(ids map[peer.ID]struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.validators = ids
	for p := range ids {
		delete(g.bans, p)
	}
}

func (g *gater) isValidator(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.validators[p]
	return ok
}

// charge adds the price of f to p's points and says whether that banned it.
func (g *gater) charge(p peer.ID, f Fault) (banned bool) {
	g.count.inc(cCharges)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	points := g.charges[p].worth(now) + f.price()
	if len(g.charges) >= maxBans {
		g.forgetCharges(now)
	}
	g.charges[p] = charge{points, now}
	if _, ok := g.validators[p]; ok || points < banThreshold {
		return false
	}
	delete(g.charges, p)
	if len(g.bans) >= maxBans {
		g.forgetBans(now)
	}
	g.bans[p] = now.Add(g.ban)
	g.count.inc(cBans)
	return true
}

func (c charge) worth(now time.Time) float64 {
	if c.points == 0 {
		return 0
	}
	return c.points * math.Exp2(-float64(now.Sub(c.at))/float64(chargeHalfLife))
}

// points are p's at this moment.
func (g *gater) points(p peer.ID) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.charges[p].worth(g.now())
}

// forgetCharges makes room: the small ones go, else all.
func (g *gater) forgetCharges(now time.Time) {
	for p, c := range g.charges {
		if c.worth(now) < 1 {
			delete(g.charges, p)
		}
	}
	if len(g.charges) >= maxBans {
		clear(g.charges)
	}
}

// forgetBans makes room: the expired ones go, else the one that ends first.
func (g *gater) forgetBans(now time.Time) {
	var first peer.ID
	for p, until := range g.bans {
		if !now.Before(until) {
			delete(g.bans, p)
		} else if first == "" || until.Before(g.bans[first]) {
			first = p
		}
	}
	if len(g.bans) >= maxBans {
		delete(g.bans, first)
	}
}

// banned is the number of bans in force.
func (g *gater) banned() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, now := 0, g.now()
	for _, until := range g.bans {
		if now.Before(until) {
			n++
		}
	}
	return n
}

// addressGroup is what one household or machine can easily fill: an IPv4
// address or an IPv6 /56. Loopback and names have none.
func addressGroup(a ma.Multiaddr) (netip.Prefix, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Prefix{}, false
	}
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := 32
	if addr.Is6() {
		bits = 56
	}
	prefix, err := addr.Prefix(bits)
	return prefix, err == nil
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *gater) InterceptPeerDial(p peer.ID) bool { return g.check(p) == nil }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater. Nothing is known yet but
// the address, whose connections the resource manager bounds.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g *gater) InterceptSecured(dir network.Direction, p peer.ID, c network.ConnMultiaddrs) bool {
	if g.check(p) != nil {
		g.count.inc(cPeersRefused)
		return false
	}
	if dir == network.DirInbound && !g.exempt(p) {
		if group, ok := addressGroup(c.RemoteMultiaddr()); ok && g.onPeer(group) >= g.perIP {
			g.count.inc(cPeersRefused)
			return false
		}
	}
	return true
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
