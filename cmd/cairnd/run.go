package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

func runCommand() *cli.Command {
	list := func(name, env, usage string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, EnvVars: []string{env}, Usage: usage + "; may be repeated"}
	}
	text := func(name, env, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: []string{env}, Usage: usage}
	}
	return &cli.Command{
		Name:  "run",
		Usage: "run the node of a home until SIGINT or SIGTERM; flags go before environment, environment before config.toml",
		Flags: []cli.Flag{
			homeFlag(),
			list("p2p-listen", "CAIRN_P2P_LISTEN", "multiaddr `ADDR` to listen on for peers"),
			list("p2p-announce", "CAIRN_P2P_ANNOUNCE", "multiaddr `ADDR` told to peers instead"),
			list("bootnode", "CAIRN_BOOTNODES", "multiaddr `ADDR` of a node to begin with, ending in /p2p/ID"),
			list("allow", "CAIRN_P2P_ALLOW", "peer `ID` to talk to besides validators; none given: anyone"),
			&cli.BoolFlag{Name: "mdns", EnvVars: []string{"CAIRN_MDNS"}, DefaultText: "as in config.toml, else true", Usage: "find nodes on the same LAN by multicast (--mdns=false: do not)"},
			&cli.BoolFlag{Name: "dht", EnvVars: []string{"CAIRN_DHT"}, DefaultText: "as in config.toml, else true", Usage: "find nodes through other nodes (--dht=false: do not)"},
			&cli.IntFlag{Name: "max-peers", EnvVars: []string{"CAIRN_MAX_PEERS"}, DefaultText: "as in config.toml, else 64", Usage: "peers besides validators"},
			text("rpc-listen", "CAIRN_RPC_LISTEN", "`HOST:PORT` of JSON-RPC over HTTP and WebSocket; off: none"),
			list("rpc-cors", "CAIRN_RPC_CORS", "`ORIGIN` whose pages may use JSON-RPC; *: any"),
			list("rpc-host", "CAIRN_RPC_HOSTS", "host `NAME` under which JSON-RPC answers, besides localhost and IP literals"),
			text("rpc-tls-cert", "CAIRN_RPC_TLS_CERT", "PEM `FILE` of JSON-RPC's certificate; may be replaced while the node runs"),
			text("rpc-tls-key", "CAIRN_RPC_TLS_KEY", "PEM `FILE` of the certificate's key"),
			text("admin-listen", "CAIRN_ADMIN_LISTEN", "`HOST:PORT` of the admin listener besides the socket in the home; off: none"),
			text("metrics-listen", "CAIRN_METRICS_LISTEN", "`HOST:PORT` of /metrics; off: none"),
			text("log-level", "CAIRN_LOG_LEVEL", "debug, info, warn or error"),
			text("log-format", "CAIRN_LOG_FORMAT", "text or json"),
			text("sync", "CAIRN_SYNC", "how to catch up: auto, full (execute every block) or snapshot"),
			text("trusted", "CAIRN_TRUSTED", "`HEIGHT:0xHASH` of a block known to be final"),
			&cli.BoolFlag{Name: "history-fill", EnvVars: []string{"CAIRN_HISTORY_FILL"}, DefaultText: "as in config.toml, else false", Usage: "after a join by snapshot, fetch the blocks below it"},
			&cli.IntFlag{Name: "serve-mib", EnvVars: []string{"CAIRN_SERVE_MIB"}, DefaultText: "as in config.toml, else 32", Usage: "MiB a second sent to nodes that sync"},
			&cli.BoolFlag{Name: "snapshots", EnvVars: []string{"CAIRN_SNAPSHOTS"}, DefaultText: "as in config.toml, else true", Usage: "keep checkpoints of the state for nodes that join (--snapshots=false: do not)"},
			text("key-password-file", keyPasswordEnv, "`FILE` with the password of an encrypted validator key"),
			&cli.BoolFlag{Name: "allow-development-keys", Usage: "run with keys that everybody knows on an address that is not loopback"},
			&cli.IntFlag{Name: "cache-mib", EnvVars: []string{"CAIRN_CACHE_MIB"}, DefaultText: "as in config.toml, else 64", Usage: "database cache in MiB"},
			&cli.IntFlag{Name: "reserve-mib", EnvVars: []string{"CAIRN_RESERVE_MIB"}, DefaultText: "as in config.toml, else 256", Usage: "free disk space in MiB below which a validator does not vote"},
		},
		Action: runNode,
	}
}

// configFromFlags is config.toml with environment and flags over it. What is wrong
// with those, and not with the file, is an error of the command line.
func configFromFlags(c *cli.Context) (node.Config, error) {
	cfg, err := node.LoadConfig(c.String("home"))
	if err != nil {
		return cfg, err
	}
	inFile := cfg.Validate()
	for name, to := range map[string]*[]string{
		"p2p-listen": &cfg.P2P.Listen, "p2p-announce": &cfg.P2P.Announce, "bootnode": &cfg.P2P.Bootnodes,
		"allow": &cfg.P2P.Allow, "rpc-cors": &cfg.RPC.CORS, "rpc-host": &cfg.RPC.Hosts,
	} {
		if c.IsSet(name) {
			*to = split(c.StringSlice(name))
		}
	}
	for name, to := range map[string]*string{"rpc-listen": &cfg.RPC.Listen, "admin-listen": &cfg.Admin.Listen, "metrics-listen": &cfg.Metrics.Listen} {
		if c.IsSet(name) {
			*to = c.String(name)
			if *to == "off" {
				*to = ""
			}
		}
	}
	for name, to := range map[string]*string{
		"log-level": &cfg.Log.Level, "log-format": &cfg.Log.Format, "key-password-file": &cfg.KeyPasswordFile,
		"sync": &cfg.Sync.Mode, "trusted": &cfg.Sync.Trusted,
		"rpc-tls-cert": &cfg.RPC.TLSCert, "rpc-tls-key": &cfg.RPC.TLSKey,
	} {
		if c.IsSet(name) {
			*to = c.String(name)
		}
	}
	for name, to := range map[string]*bool{
		"mdns": &cfg.P2P.MDNS, "dht": &cfg.P2P.DHT, "allow-development-keys": &cfg.AllowDevelopmentKeys,
		"history-fill": &cfg.Sync.HistoryFill, "snapshots": &cfg.Store.Snapshots,
	} {
		if c.IsSet(name) {
			*to = c.Bool(name)
		}
	}
	for name, to := range map[string]*int{"max-peers": &cfg.P2P.MaxPeers, "cache-mib": &cfg.Store.CacheMiB, "reserve-mib": &cfg.Store.ReserveMiB, "serve-mib": &cfg.Sync.ServeMiB} {
		if c.IsSet(name) {
			*to = c.Int(name)
		}
	}
	if err := cfg.Validate(); err != nil && inFile == nil {
		return cfg, args.Usagef("%v", err)
	} else if err != nil {
		return cfg, err
	}
	return cfg, nil
}

// split lets one value hold several entries, as an environment variable must.
func split(values []string) (out []string) {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				out = append(out, entry)
			}
		}
	}
	return out
}

func runNode(c *cli.Context) error {
	cfg, err := configFromFlags(c)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(cfg.Home, node.GenesisFile)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is no node's home yet: join a network with 'cairnd init --genesis FILE --expect-hash HASH', or try 'cairnd init --dev'", cfg.Home)
	}
	cfg.Log.Dynamic = new(slog.LevelVar) // 'cairnd admin log-level' sets it
	var out io.Writer = os.Stderr
	if bar := newSyncBar(os.Stderr); bar != nil {
		out, cfg.Progress = bar, bar.tell
	}
	log, err := cfg.Log.Logger(out)
	if err != nil {
		return err
	}
	if err := checkFiles(); err != nil {
		return err
	}
	limitMemory(log)
	for {
		again, err := runOnce(c.Context, cfg, log)
		if err != nil || !again {
			return err
		}
	}
}

// runOnce runs the node until it ends, or has to be opened again.
func runOnce(ctx context.Context, cfg node.Config, log *slog.Logger) (again bool, err error) {
	n, err := node.Open(cfg, log)
	if err != nil {
		return false, err
	}
	err = n.Run(ctx)
	if again = errors.Is(err, node.ErrRestart); again {
		err = nil
	}
	return again, errors.Join(err, n.Close())
}
