package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

func adminCommand() *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{
			homeFlag(),
			&cli.StringFlag{Name: "url", EnvVars: []string{"CAIRN_ADMIN_URL"}, Usage: "admin listener `URL` of a node elsewhere, instead of the socket in the home"},
			&cli.StringFlag{Name: "token-file", EnvVars: []string{"CAIRN_ADMIN_TOKEN_FILE"}, Usage: "`FILE` with the token of --url in its first line"},
			&cli.StringFlag{Name: "ca", EnvVars: []string{"CAIRN_ADMIN_CA"}, Usage: "PEM `FILE` of certificates that --url may have, besides those that this machine trusts"},
		}, more...)
	}
	return &cli.Command{
		Name:  "admin",
		Usage: "give orders to a running node, over the private socket in its home or its admin listener",
		Subcommands: []*cli.Command{
			{Name: "peers", Usage: "list the connected peers with their addresses", Flags: flags(jsonFlag()), Action: adminPeers},
			{
				Name: "add-peer", ArgsUsage: "ADDR", Usage: "connect to a peer, by a multiaddr that ends in /p2p/ID",
				Flags: flags(), Action: adminOrder("admin_addPeer"),
			},
			{
				Name: "remove-peer", ArgsUsage: "ID", Usage: "close the connections to a peer; bootnodes and validators come back",
				Flags: flags(), Action: adminOrder("admin_removePeer"),
			},
			{
				Name: "ban", ArgsUsage: "ID", Usage: "keep a peer away until the node stops or the time is over",
				Flags:  flags(&cli.DurationFlag{Name: "for", Value: 24 * time.Hour, Usage: "`TIME`, at most a year; 0s lifts a ban"}),
				Action: adminBan,
			},
			{
				Name: "log-level", ArgsUsage: "[LEVEL]",
				Usage: "show or set how much is logged until the next restart: debug, info, warn or error",
				Flags: flags(), Action: adminLogLevel,
			},
			{
				Name: "backup", ArgsUsage: "DIR", Usage: "copy the database into a new directory of the node's machine, by its absolute path",
				Flags: flags(), Action: adminBackup,
			},
			{
				Name: "profile", ArgsUsage: "KIND FILE",
				Usage:  "save a profile for 'go tool pprof': profile (processor), heap, allocs, goroutine, block, mutex; or trace",
				Flags:  flags(&cli.IntFlag{Name: "seconds", Value: 10, Usage: "`SECONDS` that profile and trace take"}),
				Action: adminProfile,
			},
		},
	}
}

// adminClient is the node that the flags name.
func adminClient(c *cli.Context) (node.AdminClient, error) {
	out := node.AdminClient{Home: c.String("home"), URL: c.String("url"), CA: c.String("ca")}
	file := c.String("token-file")
	if (out.URL == "") != (file == "") {
		return out, args.Usagef("--url and --token-file: one without the other")
	}
	if file == "" {
		return out, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return out, fmt.Errorf("admin token: %w", err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	out.Token = strings.TrimSpace(line)
	return out, nil
}

// adminOrder is a command that hands its one argument to an admin_ method.
func adminOrder(method string) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 1 {
			return args.Usagef("want %s", c.Command.ArgsUsage)
		}
		client, err := adminClient(c)
		if err != nil {
			return err
		}
		return client.Call(c.Context, new(bool), method, c.Args().First())
	}
}

func adminBan(c *cli.Context) error {
	if c.NArg() != 1 {
		return args.Usagef("want %s", c.Command.ArgsUsage)
	}
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	return client.Call(c.Context, new(bool), "admin_ban", c.Args().First(), uint64(max(0, c.Duration("for").Seconds())))
}

func adminPeers(c *cli.Context) error {
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	raw, err := client.Do(c.Context, http.MethodGet, "/peers", nil)
	if err != nil {
		return err
	}
	var peers []node.AdminPeer
	if err := json.Unmarshal(raw, &peers); err != nil {
		return fmt.Errorf("the answer of the running node: %w", err)
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, peers)
	}
	if len(peers) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "no peer is connected")
	}
	for _, p := range peers {
		name := p.Name
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(c.App.Writer, "%s %-12s %-8s %6.1f ms  %s\n", p.ID, name, p.Direction, p.LatencyMS, strings.Join(p.Addrs, " "))
	}
	return nil
}

func adminLogLevel(c *cli.Context) error {
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	method, form := http.MethodGet, url.Values{}
	if level := c.Args().First(); level != "" {
		if err := new(slog.Level).UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
			return args.Usagef("LEVEL: %q is none of debug, info, warn, error", level)
		}
		method = http.MethodPost
		form.Set("level", level)
	}
	raw, err := client.Do(c.Context, method, "/log-level", form)
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(raw)
	return err
}

func adminBackup(c *cli.Context) error {
	if c.NArg() != 1 || !filepath.IsAbs(c.Args().First()) {
		return args.Usagef("want the absolute path of a new directory")
	}
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	raw, err := client.Do(c.Context, http.MethodPost, "/backup", url.Values{"dir": {c.Args().First()}})
	if err == nil {
		_, err = c.App.Writer.Write(raw)
	}
	return err
}

func adminProfile(c *cli.Context) (err error) {
	if c.NArg() != 2 || c.Int("seconds") < 1 {
		return args.Usagef("want %s, for a second at least", c.Command.ArgsUsage)
	}
	kind, name := c.Args().Get(0), c.Args().Get(1)
	if kinds := []string{"profile", "heap", "allocs", "goroutine", "block", "mutex", "trace"}; !slices.Contains(kinds, kind) {
		return args.Usagef("%q is no KIND of profile: one of %s", kind, strings.Join(kinds, ", "))
	}
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	query := ""
	if kind == "profile" || kind == "trace" {
		query = "?seconds=" + strconv.Itoa(c.Int("seconds"))
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = client.Fetch(c.Context, "/debug/pprof/"+url.PathEscape(kind)+query, f); err != nil {
		_ = os.Remove(name)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
