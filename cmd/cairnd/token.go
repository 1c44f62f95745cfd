package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node/rpc"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name: "token", ArgsUsage: "[NAME]",
		Usage: "draw a token for JSON-RPC or the admin listener; it is shown once, config.toml holds its hash only",
		Description: "The token goes to who may use the listener: http://HOST:PORT/TOKEN for JSON-RPC, a file for\n" +
			"'cairnd admin --token-file'. The lines below it go into config.toml.",
		Flags: []cli.Flag{
			homeFlag(), // like every command; nothing is read there
			&cli.BoolFlag{Name: "admin", Usage: "for the admin listener"},
			&cli.StringSliceFlag{Name: "method", Usage: "`PATTERN` of methods that it opens: a name, or the beginning of one and a *; may be repeated; none: all"},
			&cli.IntFlag{Name: "calls-per-second", Usage: "`N` calls a second of all who use it; 0: no limit"},
		},
		Action: newToken,
	}
}

func newToken(c *cli.Context) error {
	if c.Bool("admin") == (c.NArg() == 1) || c.NArg() > 1 {
		return args.Usagef("want a NAME, or --admin")
	}
	token, hash := rpc.NewToken()
	w := c.App.Writer
	if c.Bool("admin") {
		fmt.Fprintf(w, "%s\n\n[admin]\ntoken_sha256 = %q\n", token, hash)
		return nil
	}
	var methods []string
	for _, m := range c.StringSlice("method") {
		methods = append(methods, strconv.Quote(m))
	}
	t := rpc.Token{Name: c.Args().First(), SHA256: hash, Methods: c.StringSlice("method"), CallsPerSecond: c.Int("calls-per-second")}
	if err := (&rpc.Config{Tokens: []rpc.Token{t}}).Validate(); err != nil {
		return args.Usagef("%v", err)
	}
	fmt.Fprintf(w, "%s\n\n[[rpc.tokens]]\nname = %q\nsha256 = %q\n", token, t.Name, hash)
	if len(methods) > 0 {
		fmt.Fprintf(w, "methods = [%s]\n", strings.Join(methods, ", "))
	}
	if t.CallsPerSecond > 0 {
		fmt.Fprintf(w, "calls_per_second = %d\n", t.CallsPerSecond)
	}
	return nil
}
