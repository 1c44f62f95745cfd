// Command cairnd is the full node, and what an operator needs around it: keys,
// genesis files, and private networks on one machine.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/node"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is main with its world given: it answers the exit code. The context of
// every command ends at SIGINT and SIGTERM.
func run(argv []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return args.RunContext(ctx, newApp(stdout), argv, stderr)
}

func newApp(stdout io.Writer) *cli.App {
	return &cli.App{
		Name:                      "cairnd",
		Usage:                     "a node of a replicated ledger that its operators run together",
		Version:                   node.Version + " (" + runtime.Version() + ")",
		Writer:                    stdout,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a file name may hold a comma
		Flags:                     []cli.Flag{homeFlag()},
		Commands: []*cli.Command{
			keyCommand(),
			genesisCommand(),
			initCommand(),
			runCommand(),
			dbCommand(),
			exportCommand(),
			importCommand(),
			adminCommand(),
			tokenCommand(),
			testnetCommand(),
		},
	}
}

func homeFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "home",
		Usage:   "`DIR` of the node's keys, genesis file, configuration and data",
		Value:   defaultHome(),
		EnvVars: []string{"CAIRN_HOME"},
	}
}

func defaultHome() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ".cairn"
	}
	return filepath.Join(dir, ".cairn")
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}
