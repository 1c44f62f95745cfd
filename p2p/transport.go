package p2p

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/gologshim"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// quietLibp2p turns off libp2p's own log, which goes to stderr past ours and
// calls each closed listener an error. GOLOG_LOG_LEVEL brings it back.
var quietLibp2p = sync.OnceFunc(func() {
	if os.Getenv("GOLOG_LOG_LEVEL") == "" {
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
})

// newLibp2pHost makes the libp2p host: TCP and QUIC only, no relay, no hole
// punching, no address guessing, no metrics of its own.
func newLibp2pHost(cfg *Config, g *gater) (host.Host, *connmgr.BasicConnMgr, error) {
	quietLibp2p()
	limits, err := newResourceManager(cfg.MaxPeers)
	if err != nil {
		return nil, nil, err
	}
	high := cfg.MaxPeers + 1
	conns, err := connmgr.NewConnManager(max(1, high*9/10), high, connmgr.WithGracePeriod(20*time.Second))
	if err != nil {
		limits.Close()
		return nil, nil, fmt.Errorf("make the connection manager: %w", err)
	}
	announce, err := announcer(cfg.Announce)
	if err != nil {
		limits.Close()
		conns.Close()
		return nil, nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(cfg.Key),
		libp2p.NoListenAddrs,
		libp2p.AddrsFactory(announce),
		libp2p.UserAgent(cfg.UserAgent),
		libp2p.ProtocolVersion("cairn/1"),
		// Dialling from the listening port would let two nodes that dial each
		// other open one connection with two clients, and a restarted node
		// wait for its old connections to leave TIME_WAIT.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		// Noise before TLS: TLS checks certificate dates, so a wrong clock
		// would end connections.
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ConnectionGater(g),
		libp2p.ConnectionManager(conns),
		libp2p.ResourceManager(limits),
		libp2p.Ping(true),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
		libp2p.WithDialTimeout(dialLimit),
		// A black hole is a network where no UDP or IPv6 dial ever succeeds.
		// In a network of a few nodes that conclusion is drawn too early.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
	}
	if cfg.PrivateNetworkKey != nil {
		opts = append(opts, libp2p.PrivateNetwork(cfg.PrivateNetworkKey))
	} else {
		opts = append(opts,
			libp2p.Security(libp2ptls.ID, libp2ptls.New),
			libp2p.Transport(libp2pquic.NewTransport))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		limits.Close()
		conns.Close()
		return nil, nil, fmt.Errorf("start libp2p: %w", err)
	}
	return h, conns, nil
}

// tcpHeadStart is how much later QUIC is tried: TCP costs less processor time a
// message, and the end of a killed process is seen at once.
const tcpHeadStart = 250 * time.Millisecond

func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	out := make([]network.AddrDelay, 0, len(addrs))
	anyTCP := false
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			anyTCP = true
		}
	}
	var tcpWait, quicWait time.Duration
	if anyTCP {
		quicWait = tcpHeadStart
	}
	for _, a := range addrs {
		wait := &quicWait
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			wait = &tcpWait
		}
		out = append(out, network.AddrDelay{Addr: a, Delay: *wait})
		*wait += 50 * time.Millisecond // several addresses of one kind: not all at once
	}
	return out
}

// newResourceManager bounds what all peers together and each alone can hold.
// Connections per address are limited in the gater, where the peer's identity
// is known and validators can be exempt; here only unidentified ones are.
func newResourceManager(maxPeers int) (network.ResourceManager, error) {
	peers := maxPeers + 256 // validators do not count as peers
	limit := func(conns, streams int, memory int64) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns),
			FD:      rcmgr.LimitVal(conns),
			Streams: rcmgr.LimitVal(streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
			Memory: rcmgr.LimitVal64(memory),
		}
	}
	partial := rcmgr.PartialLimitConfig{
		System:      limit(4*peers, 128*peers, 1<<30),
		Transient:   limit(512, 2048, 128<<20),
		PeerDefault: limit(8, 1024, 256<<20),
		Conn:        limit(1, 1024, 64<<20),
		Stream:      limit(1, 1, 32<<20),
	}
	perIP := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxPreHandshakeIP}}
	perIP6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: maxPreHandshakeIP}}
	m, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(partial.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(perIP, perIP6),
	)
	if err != nil {
		return nil, fmt.Errorf("make the resource manager: %w", err)
	}
	return m, nil
}
