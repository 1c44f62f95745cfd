package p2p

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/crypto"
)

// Config says how a host listens, whom it meets and what it bears. The zero
// value of each limit means its default.
type Config struct {
	Listen   []string // multiaddrs /ip4|ip6/…/tcp/… and /udp/…/quic-v1; port 0 asks the kernel
	Announce []string // multiaddrs told to others instead of those of Listen, /dns4 and /dns6 too

	Key     libp2pcrypto.PrivKey // Ed25519
	Genesis crypto.Hash          // the network's identity

	Bootnodes []string  // multiaddrs ending in /p2p/ID
	MDNS      bool      // find nodes on the same LAN by multicast
	DHT       bool      // find nodes through a Kademlia table
	AllowList []peer.ID // nil = open; validators always pass
	PeerStore string    // file of remembered peers; empty = none are remembered

	// PrivateNetworkKey (32 bytes) encrypts every TCP connection with a secret
	// that all members share. QUIC is then off. Nil = none.
	PrivateNetworkKey []byte

	MaxPeers             int           // peers that are no validators; 64
	MaxPeersPerAddress   int           // of those, per IPv4 address or IPv6 /56; loopback is exempt; 16
	MaxConsensusBytes    int           // one consensus frame; 8 MiB
	MaxConsensusQueue    int           // bytes waiting for one peer; 4 × MaxConsensusBytes
	MaxTransactionBytes  int           // one encoded transaction; 128 KiB
	MaxFinalizationBytes int           // one finalization; 128 KiB
	MaxResponseBytes     int           // one response; 16 MiB
	BatchBytes           int           // a batch of transactions is sent when it has this many bytes; 64 KiB
	BatchDelay           time.Duration // … or is this old; 2 ms
	RequestTimeout       time.Duration // whole request when the context has no earlier deadline; 10 s
	RequestRate          float64       // requests per second and peer that are answered, validators ×8; 100
	BanDuration          time.Duration // 10 min
	NoFloodPublish       bool          // send own batches to the gossip mesh only, not to every peer
	ReconnectInterval    time.Duration // first wait before a lost validator or bootnode is dialled again; 100 ms
	MaxReconnectInterval time.Duration // longest such wait for a validator; bootnodes: ×10; 1 s
	HandshakeTimeout     time.Duration // from connection to the end of the handshake; 10 s
	RuleSets             []string      // names of the rule sets this software knows, told to peers

	UserAgent  string // software and version, e.g. cairnd/0.1.0; at most 128 bytes
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil = metrics are counted but not registered

	waits waits
}

// Verdict is what a node thinks of a gossiped message.
type Verdict int

// The verdicts. Accept passes the message on; Ignore drops it without blame;
// Reject drops it and charges the peer it came from, which should have checked.
const (
	Accept Verdict = iota
	Ignore
	Reject
)

func (v Verdict) String() string {
	switch v {
	case Accept:
		return "accept"
	case Ignore:
		return "ignore"
	case Reject:
		return "reject"
	}
	return fmt.Sprintf("verdict(%d)", int(v))
}

// Request answers one request of a peer with the response's bytes. The context
// ends with the peer, the stream or the time limit. An error is logged here and
// told to the peer only as ErrRequestRefused.
type Request func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)

// Handlers receive what comes from peers. A nil handler refuses its messages.
// Byte slices belong to the handler. Handlers must return when their context
// ends.
type Handlers struct {
	// Transactions gets a batch of encoded transactions, gossiped or sent
	// directly. Batches come one at a time, in order of arrival, so that the
	// nonces of a sender stay in order; recover signatures in parallel inside.
	Transactions func(ctx context.Context, from peer.ID, raws [][]byte) Verdict
	// Finalization gets one gossiped finalization. Calls run concurrently.
	Finalization func(ctx context.Context, from peer.ID, msg []byte) Verdict
	// Consensus gets one frame of a validator's direct stream, in the order
	// sent, from that stream's goroutine: a slow handler slows that peer only.
	Consensus func(from peer.ID, msg []byte)
	// Requests answers by request name. Calls run concurrently.
	Requests map[string]Request
	// PeerChange is called after peers came or went, never concurrently;
	// changes close together make one call.
	PeerChange func()
}

func (c *Config) setDefaults() {
	setInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	setDuration := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	setInt(&c.MaxPeers, 64)
	setInt(&c.MaxPeersPerAddress, 16)
	setInt(&c.MaxConsensusBytes, 8<<20)
	setInt(&c.MaxConsensusQueue, 4*c.MaxConsensusBytes)
	setInt(&c.MaxTransactionBytes, 128<<10)
	setInt(&c.MaxFinalizationBytes, 128<<10)
	setInt(&c.MaxResponseBytes, 16<<20)
	setInt(&c.BatchBytes, 64<<10)
	setDuration(&c.BatchDelay, 2*time.Millisecond)
	setDuration(&c.RequestTimeout, 10*time.Second)
	setDuration(&c.BanDuration, 10*time.Minute)
	setDuration(&c.ReconnectInterval, 100*time.Millisecond)
	setDuration(&c.MaxReconnectInterval, time.Second)
	setDuration(&c.HandshakeTimeout, 10*time.Second)
	if c.waits == (waits{}) {
		c.waits = defaultWaits
	}
	if c.RequestRate == 0 {
		c.RequestRate = 100
	}
	if c.UserAgent == "" {
		c.UserAgent = "cairn"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate checks the settings, with defaults for those that are zero.
// Errors: ErrConfig, ErrAddress.
func (c Config) Validate() error {
	c.setDefaults()
	if c.Key == nil {
		return fmt.Errorf("%w: Key: no peer key", ErrConfig)
	}
	if c.Key.Type() != libp2pcrypto.Ed25519 {
		return fmt.Errorf("%w: Key: %s, want Ed25519", ErrConfig, c.Key.Type())
	}
	if c.Genesis == (crypto.Hash{}) {
		return fmt.Errorf("%w: Genesis: no hash", ErrConfig)
	}
	if n := len(c.PrivateNetworkKey); n != 0 && n != 32 {
		return fmt.Errorf("%w: PrivateNetworkKey: %d bytes, want 32", ErrConfig, n)
	}
	if err := c.ValidateAddresses(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c.validateLimits()
}

// ValidateAddresses checks Listen, Announce and Bootnodes alone. Its errors begin
// with the name of the setting in lower case. Error: ErrAddress for a bootnode.
func (c Config) ValidateAddresses() error {
	if len(c.Listen) == 0 {
		return fmt.Errorf("listen: a node needs at least one address")
	}
	for _, s := range c.Listen {
		if err := checkListen(s, c.PrivateNetworkKey != nil); err != nil {
			return fmt.Errorf("listen: %q: %w", s, err)
		}
	}
	for _, s := range c.Announce {
		if _, err := ma.NewMultiaddr(s); err != nil {
			return fmt.Errorf("announce: %q is no multiaddr, as /ip4/192.0.2.10/tcp/30303 is: %w", s, err)
		}
	}
	for _, s := range c.Bootnodes {
		if _, err := parsePeerAddr(s); err != nil {
			return fmt.Errorf("bootnodes: %w", err)
		}
	}
	return nil
}

func (c *Config) validateLimits() error {
	for _, l := range []struct {
		name          string
		value, lo, hi int
	}{
		{"MaxPeers", c.MaxPeers, 1, 10_000},
		{"MaxPeersPerAddress", c.MaxPeersPerAddress, 1, 10_000},
		{"MaxConsensusBytes", c.MaxConsensusBytes, 1 << 10, 64 << 20},
		{"MaxConsensusQueue", c.MaxConsensusQueue, c.MaxConsensusBytes, 1 << 30},
		{"MaxTransactionBytes", c.MaxTransactionBytes, 256, 1 << 20},
		{"MaxFinalizationBytes", c.MaxFinalizationBytes, 256, 4 << 20},
		{"MaxResponseBytes", c.MaxResponseBytes, 1 << 10, 256 << 20},
		{"BatchBytes", c.BatchBytes, 1 << 10, 1 << 20},
		{"UserAgent bytes", len(c.UserAgent), 1, maxUserAgent},
		{"RuleSets", len(c.RuleSets), 0, maxRuleSets},
	} {
		if l.value < l.lo || l.value > l.hi {
			return fmt.Errorf("%w: %s: %d is not in %d..%d", ErrConfig, l.name, l.value, l.lo, l.hi)
		}
	}
	for _, d := range []struct {
		name   string
		value  time.Duration
		lo, hi time.Duration
	}{
		{"BatchDelay", c.BatchDelay, time.Microsecond, time.Second},
		{"RequestTimeout", c.RequestTimeout, time.Millisecond, 10 * time.Minute},
		{"BanDuration", c.BanDuration, time.Millisecond, 365 * 24 * time.Hour},
		{"ReconnectInterval", c.ReconnectInterval, time.Millisecond, time.Minute},
		{"MaxReconnectInterval", c.MaxReconnectInterval, c.ReconnectInterval, time.Hour},
		{"HandshakeTimeout", c.HandshakeTimeout, time.Millisecond, time.Minute},
	} {
		if d.value < d.lo || d.value > d.hi {
			return fmt.Errorf("%w: %s: %s is not in %s..%s", ErrConfig, d.name, d.value, d.lo, d.hi)
		}
	}
	if !(c.RequestRate > 0) {
		return fmt.Errorf("%w: RequestRate: %v is not above 0", ErrConfig, c.RequestRate)
	}
	for _, s := range c.RuleSets {
		if len(s) == 0 || len(s) > maxRuleSetName {
			return fmt.Errorf("%w: RuleSets: name of %d bytes, want 1..%d", ErrConfig, len(s), maxRuleSetName)
		}
	}
	return nil
}

// checkListen accepts TCP and QUIC v1 on an IP address.
func checkListen(text string, tcpOnly bool) error {
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		a = nil // said below: the parser does not tell what would be right
	}
	codes := make([]int, 0, 4)
	for _, c := range a {
		codes = append(codes, c.Protocol().Code)
	}
	ip := len(codes) > 0 && (codes[0] == ma.P_IP4 || codes[0] == ma.P_IP6)
	switch {
	case ip && len(codes) == 2 && codes[1] == ma.P_TCP:
		return nil
	case ip && len(codes) == 3 && codes[1] == ma.P_UDP && codes[2] == ma.P_QUIC_V1:
		if tcpOnly {
			return fmt.Errorf("a private network is TCP only")
		}
		return nil
	}
	return fmt.Errorf("neither /ip4|ip6/ADDR/tcp/PORT nor /ip4|ip6/ADDR/udp/PORT/quic-v1")
}

// parsePeerAddr reads a multiaddr that ends in /p2p/ID. Errors: ErrAddress.
func parsePeerAddr(text string) (peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(text)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%w: %q: %v", ErrAddress, text, err)
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("%w: %q has no address before /p2p", ErrAddress, text)
	}
	return *info, nil
}
