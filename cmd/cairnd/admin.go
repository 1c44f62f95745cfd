package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/node"
)

func adminCommand() *cli.Command {
	return &cli.Command{
		Name:  "admin",
		Usage: "give orders to the running node of a home, over its private socket",
		Subcommands: []*cli.Command{
			{
				Name:   "peers",
				Usage:  "list the connected peers with their addresses",
				Flags:  []cli.Flag{homeFlag(), jsonFlag()},
				Action: adminPeers,
			},
			{
				Name: "log-level", ArgsUsage: "[LEVEL]",
				Usage:  "show or set how much is logged until the next restart: debug, info, warn or error",
				Flags:  []cli.Flag{homeFlag()},
				Action: adminLogLevel,
			},
		},
	}
}

func adminPeers(c *cli.Context) error {
	raw, err := node.Admin(c.Context, c.String("home"), http.MethodGet, "/peers", nil)
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
	method, form := http.MethodGet, url.Values{}
	if level := c.Args().First(); level != "" {
		method = http.MethodPost
		form.Set("level", level)
	}
	raw, err := node.Admin(c.Context, c.String("home"), method, "/log-level", form)
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(raw)
	return err
}
