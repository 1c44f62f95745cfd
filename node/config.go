package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"cairn/node/rpc"
	"cairn/p2p"
)

// Config is what one operator chooses for one node. The chain's rules are not
// here: they are in genesis, the same for everyone.
type Config struct {
	Home string `toml:"-"` // directory of keys, genesis file, configuration and data

	P2P     P2PConfig     `toml:"p2p"`
	RPC     RPCConfig     `toml:"rpc"`
	Admin   AdminConfig   `toml:"admin"`
	Metrics MetricsConfig `toml:"metrics"`
	Log     LogConfig     `toml:"log"`
	Store   StoreConfig   `toml:"store"`
	History HistoryConfig `toml:"history"`
	Sync    SyncConfig    `toml:"sync"`

	// KeyPasswordFile holds the password of an encrypted validator key in its
	// first line. Nobody but its owner may read it.
	KeyPasswordFile string `toml:"key_password_file"`

	AllowDevelopmentKeys bool `toml:"allow_development_keys"` // on addresses that are not loopback

	// Progress is told how far a sync is, nil when it ends, in place of the log;
	// from any goroutine, and it must not wait. nil: the log says it.
	Progress func(*rpc.Sync) `toml:"-"`
}

// P2PConfig says how the node meets others.
type P2PConfig struct {
	Listen    []string `toml:"listen"`    // multiaddrs; port 0 asks the kernel
	Announce  []string `toml:"announce"`  // multiaddrs told to others; empty = those that Listen gives
	Bootnodes []string `toml:"bootnodes"` // multiaddrs ending in /p2p/ID
	Allow     []string `toml:"allow"`     // peer ids; empty = open, validators always pass
	MDNS      bool     `toml:"mdns"`      // find nodes on the same LAN by multicast
	DHT       bool     `toml:"dht"`       // find nodes through other nodes
	MaxPeers  int      `toml:"max_peers"` // validators do not count
}

// RPCConfig is the public JSON-RPC listener, HTTP and WebSocket on one port.
type RPCConfig struct {
	Listen string   `toml:"listen"` // host:port; empty = off
	CORS   []string `toml:"cors"`   // origins; "*" = any; empty = none
	Hosts  []string `toml:"hosts"`  // host names; IP literals and localhost always pass

	TLSCert string `toml:"tls_cert"` // PEM file of the certificate and those above it; empty = no TLS
	TLSKey  string `toml:"tls_key"`  // PEM file of its key

	RequireToken bool        `toml:"require_token"`    // the path without a token is closed
	Tokens       []rpc.Token `toml:"tokens,omitempty"` // that open http://HOST/TOKEN

	Limits rpc.Limits `toml:"limits"` // of what the outside can make the node do; docs/rpc.md
}

func (c RPCConfig) server() rpc.Config {
	return rpc.Config{CORS: c.CORS, Hosts: c.Hosts, Limits: c.Limits, Tokens: c.Tokens, RequireToken: c.RequireToken}
}

func (c RPCConfig) validate() error {
	server := c.server()
	return errors.Join(validateTLS("rpc", c.TLSCert, c.TLSKey), server.Validate())
}

// AdminConfig is the listener that takes an operator's orders besides the socket
// in Home.
type AdminConfig struct {
	Listen      string `toml:"listen"`       // host:port; empty = off
	TokenSHA256 string `toml:"token_sha256"` // hex; whoever sends the token may order
	TLSCert     string `toml:"tls_cert"`     // as of RPCConfig; needed on an address that is not loopback
	TLSKey      string `toml:"tls_key"`
}

func (c AdminConfig) validate() error {
	if err := validateTLS("admin", c.TLSCert, c.TLSKey); err != nil || c.Listen == "" {
		return err
	}
	if err := rpc.ValidTokenHash(c.TokenSHA256); err != nil {
		return fmt.Errorf("admin.token_sha256: %w", err)
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); c.TLSCert == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("admin.listen: %s is not loopback, so the token would be read on the way: set admin.tls_cert and admin.tls_key", c.Listen)
	}
	return nil
}

func validateTLS(section, cert, key string) error {
	if (cert == "") != (key == "") {
		return fmt.Errorf("%s.tls_cert, %s.tls_key: one without the other", section, section)
	}
	return nil
}

// MetricsConfig is the listener of /metrics.
type MetricsConfig struct {
	Listen string `toml:"listen"` // host:port; empty = off
}

// LogConfig says how the node writes its log to stderr.
type LogConfig struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json

	Dynamic *slog.LevelVar `toml:"-"` // if set, what the logger obeys while it runs
}

// StoreConfig bounds what the ledger's database takes.
type StoreConfig struct {
	CacheMiB   int  `toml:"cache_mib"`   // block cache
	ReserveMiB int  `toml:"reserve_mib"` // free disk space below which this node does not vote; below half of it, there are reads only
	Snapshots  bool `toml:"snapshots"`   // the state of every checkpoint height is kept for nodes that join
}

// HistoryConfig says how much of the past this node keeps; 0 = all. What is older
// answers with a clear error, here and to peers that ask.
type HistoryConfig struct {
	KeepBlocks uint64 `toml:"keep_blocks"` // newest blocks whose transactions and receipts are kept
	KeepStates uint64 `toml:"keep_states"` // newest heights at which balances and nonces can be asked
}

// minKept is the least that a pruning node keeps of each: what consensus, proofs
// and peers a little behind may ask for.
const minKept = 1024

func (h HistoryConfig) validate(fill bool) error {
	for name, n := range map[string]uint64{"keep_blocks": h.KeepBlocks, "keep_states": h.KeepStates} {
		if n > 0 && n < minKept {
			return fmt.Errorf("history.%s: %d is neither 0 (all) nor at least %d", name, n, minKept)
		}
	}
	if fill && h.KeepBlocks > 0 {
		return errors.New("history.keep_blocks: sync.history_fill would fetch again what it removes; choose one")
	}
	return nil
}

// Files in Home.
const (
	ValidatorKeyFile = "validator.key"
	PeerKeyFile      = "peer.key"
	GenesisFile      = "genesis.json"
	ConfigFile       = "config.toml"
	DataDir          = "data"
)

// DefaultConfig is a node that listens on every address for peers and on
// loopback for wallets.
func DefaultConfig(home string) Config {
	return Config{
		Home: home,
		P2P: P2PConfig{
			Listen:   []string{"/ip4/0.0.0.0/tcp/30303", "/ip4/0.0.0.0/udp/30303/quic-v1"},
			MDNS:     true,
			DHT:      true,
			MaxPeers: 64,
		},
		RPC:     RPCConfig{Listen: "127.0.0.1:8545", Limits: rpc.DefaultLimits()},
		Metrics: MetricsConfig{Listen: ""},
		Log:     LogConfig{Level: "info", Format: "text"},
		Store:   StoreConfig{CacheMiB: 64, ReserveMiB: 256, Snapshots: true},
		Sync:    SyncConfig{Mode: SyncAuto, ServeMiB: 32},
	}
}

// LoadConfig reads Home/config.toml over the defaults; a missing file is the
// defaults. Unknown keys are errors.
func LoadConfig(home string) (Config, error) {
	c := DefaultConfig(home)
	path := filepath.Join(home, ConfigFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	if err := toml.NewDecoder(f).DisallowUnknownFields().Decode(&c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return c, fmt.Errorf("%s: unknown setting\n%s", path, strict.String())
		}
		var wrong *toml.DecodeError
		if errors.As(err, &wrong) {
			return c, fmt.Errorf("%s: %w\n%s", path, err, wrong.String())
		}
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Write saves the configuration as Home/config.toml. It never overwrites.
func (c Config) Write() error {
	raw, err := toml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(c.Home, ConfigFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Close())
}

// Validate says what is wrong with the configuration, naming the setting.
func (c Config) Validate() error {
	if c.Home == "" {
		return errors.New("home: no directory given")
	}
	if err := (p2p.Config{Listen: c.P2P.Listen, Announce: c.P2P.Announce, Bootnodes: c.P2P.Bootnodes}).ValidateAddresses(); err != nil {
		return fmt.Errorf("p2p.%w", err)
	}
	if c.P2P.MaxPeers < 1 || c.P2P.MaxPeers > 10_000 {
		return fmt.Errorf("p2p.max_peers: %d is not in 1..10000", c.P2P.MaxPeers)
	}
	for name, addr := range map[string]string{"rpc.listen": c.RPC.Listen, "admin.listen": c.Admin.Listen, "metrics.listen": c.Metrics.Listen} {
		if addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%s: %q is not host:port: %w", name, addr, err)
		}
	}
	if err := errors.Join(c.RPC.validate(), c.Admin.validate()); err != nil {
		return err
	}
	if err := errors.Join(c.Sync.validate(), c.History.validate(c.Sync.HistoryFill)); err != nil {
		return err
	}
	if _, err := c.Log.level(); err != nil {
		return err
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
	}
	if c.Store.CacheMiB < 8 || c.Store.CacheMiB > 1<<20 {
		return fmt.Errorf("store.cache_mib: %d is not in 8..1048576", c.Store.CacheMiB)
	}
	if c.Store.ReserveMiB < 16 || c.Store.ReserveMiB > 1<<24 {
		return fmt.Errorf("store.reserve_mib: %d is not in 16..16777216", c.Store.ReserveMiB)
	}
	return nil
}

func (l LogConfig) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(l.Level))); err != nil {
		return 0, fmt.Errorf("log.level: %q is none of debug, info, warn, error", l.Level)
	}
	return level, nil
}

// Logger writes to w as the configuration says.
func (l LogConfig) Logger(w io.Writer) (*slog.Logger, error) {
	level, err := l.level()
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	if l.Dynamic != nil {
		l.Dynamic.Set(level)
		opts.Level = l.Dynamic
	}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}
