// Command cairn is the wallet: it keeps keys, sends coins, and shows what a
// node says of accounts, transactions and blocks.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"cairn/cmd/internal/args"

	"github.com/urfave/cli/v2"
)

// version is set when a release is built: -ldflags "-X main.version=…".
var version = "0.1.0-dev"

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its world given. Every command's context ends at SIGINT and
// SIGTERM.
func run(argv []string, stdin *os.File, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := &terminal{stdin: stdin, stdout: stdout, stderr: stderr}
	return args.RunContext(ctx, t.app(), argv, stderr)
}

// terminal is where a command reads and writes: data goes to stdout, prompts,
// progress and warnings to stderr.
type terminal struct {
	stdin          *os.File
	stdout, stderr io.Writer
}

func (t *terminal) app() *cli.App {
	return &cli.App{
		Name:            "cairn",
		Usage:           "keep keys, send coins, look at the ledger",
		Version:         version,
		Reader:          t.stdin,
		Writer:          t.stdout,
		HideHelpCommand: true,
		Description: "Amounts are in coins unless they have a unit: 1.5, 100gwei, 5wei, 1.5coin.\n" +
			"An account is an address, or the name of a key in the key store.\n\n" +
			"Exit codes: 0 done, 1 failure, 2 bad command line, 3 node unreachable,\n" +
			"4 rejected by the node, 5 not final in time, 6 failed on the ledger,\n" +
			"7 key or password, 8 not found, 9 not proven, 10 unsafe change refused,\n" +
			"130 interrupted.",
		Commands: []*cli.Command{
			t.accountCommand(),
			t.balanceCommand(),
			t.nonceCommand(),
			t.sendCommand(),
			t.txCommand(),
			t.receiptCommand(),
			t.blockCommand(),
			t.statusCommand(),
			t.verifyCommand(),
			t.validatorCommand(),
		},
	}
}

// action makes an Action whose errors have their exit code.
func action(f func(*cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error { return withExitCode(f(c)) }
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true}
}

func rpcFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "rpc",
		Usage:   "node to ask: an http:// or ws:// `URL`",
		Value:   "http://127.0.0.1:8545",
		EnvVars: []string{"CAIRN_RPC_URL"},
	}
}

func keystoreFlag() cli.Flag {
	return &cli.StringFlag{
		Name:    "keystore",
		Usage:   "encrypted keys are in `DIR`",
		Value:   defaultKeystore(),
		EnvVars: []string{"CAIRN_KEYSTORE"},
	}
}

func passwordFlag() cli.Flag {
	return &cli.StringFlag{
		Name:  "password-file",
		Usage: "the password is the first line of `FILE`, which may be a pipe; - is stdin",
	}
}

func defaultKeystore() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(".cairn", "keystore")
	}
	return filepath.Join(dir, ".cairn", "keystore")
}
