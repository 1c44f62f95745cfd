package args_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cairn/cmd/internal/args"

	"github.com/urfave/cli/v2"
)

type codedError struct{ code int }

func (e codedError) Error() string { return "coded" }
func (e codedError) ExitCode() int { return e.code }

// testApp prints what an Action saw, one line a command.
func testApp(out *bytes.Buffer) *cli.App {
	show := func(c *cli.Context) error {
		fmt.Fprintf(out, "%s args=%q json=%v rpc=%s n=%d tag=%q async=%v wait=%s",
			c.Command.Name, c.Args().Slice(), c.Bool("json"), c.String("rpc"),
			c.Int("n"), c.StringSlice("tag"), c.Bool("async"), c.Duration("wait"))
		return nil
	}
	return &cli.App{
		Name: "app", Version: "1.2.3",
		Writer: out,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json"},
			&cli.StringFlag{Name: "rpc", EnvVars: []string{"ARGS_TEST_RPC"}},
		},
		Commands: []*cli.Command{
			{
				Name: "send", ArgsUsage: "FROM TO AMOUNT", Action: show,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "async", Aliases: []string{"a"}},
					&cli.IntFlag{Name: "n", Aliases: []string{"number"}},
					&cli.StringSliceFlag{Name: "tag"},
					&cli.DurationFlag{Name: "wait"},
				},
			},
			{Name: "block", ArgsUsage: "[NUMBER|HASH]", Action: show},
			{Name: "many", ArgsUsage: "FILE...", Action: show},
			{Name: "must", Action: show, Flags: []cli.Flag{
				&cli.StringFlag{Name: "file", Required: true, EnvVars: []string{"ARGS_TEST_FILE"}},
			}},
			{Name: "account", Subcommands: []*cli.Command{
				{
					Name: "import", ArgsUsage: "NAME", Action: show,
					Flags: []cli.Flag{&cli.BoolFlag{Name: "deep"}},
				},
				{Name: "list", Aliases: []string{"ls"}, Action: show},
			}},
			{Name: "raw", SkipFlagParsing: true, Action: show},
			{Name: "fail", Action: func(*cli.Context) error { return errors.New("it broke") }},
			{Name: "coded", Action: func(*cli.Context) error { return fmt.Errorf("deeper: %w", codedError{7}) }},
			{Name: "bad", Action: func(*cli.Context) error { return args.Usagef("that makes no sense") }},
		},
	}
}

func run(line string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = args.Run(testApp(&out), append([]string{"app"}, strings.Fields(line)...), &errs)
	return code, out.String(), errs.String()
}

func TestFlagsAnywhere(t *testing.T) {
	t.Parallel()
	const all = `send args=["a" "b" "c"] json=true rpc=u n=3 tag=["x" "y"] async=true wait=2s`
	for _, line := range []string{
		"--json --rpc u send --async -n 3 --tag x --tag y --wait 2s a b c",
		"send a b c --json --rpc u --async -n 3 --tag x --tag y --wait 2s",
		"send a --json b --rpc=u c -a --number=3 --tag=x --tag y --wait=2s",
		"--async --tag x,y --wait 2s -n 3 send --rpc u a --json b c",
		"send --n 9 -number 3 -json -rpc u -a --wait 2s --tag x --tag y -- a b c",
		"send --json=false --json=true a b c --rpc v --rpc u -n=3 --tag x --tag y --async=true --wait 2s",
	} {
		if code, out, errs := run(line); code != 0 || out != all || errs != "" {
			t.Errorf("%s\n code %d out %s err %s", line, code, out, errs)
		}
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"send a b -5":              `"a" "b" "-5"`,
		"send a b -.5coin --json":  `"a" "b" "-.5coin"`,
		"send a b -":               `"a" "b" "-"`,
		"send -- --a -- b":         `"--a" "--" "b"`,
		"send help json send":      `"help" "json" "send"`,
		"block":                    `[]`,
		"block 5":                  `"5"`,
		"many a --json b c":        `"a" "b" "c"`,
		"account import --deep x":  `"x"`,
		"--deep account import x":  `"x"`,
		"account --deep import x":  `"x"`,
		"account import x --deep":  `"x"`,
		"account import list":      `"list"`,
		"account ls":               `[]`,
		"raw --anything -x -- y":   `"--anything" "-x" "--" "y"`,
		"-- send a b c":            `"a" "b" "c"`,
		"must --file=--json":       `[]`,
		"must --file -":            `[]`,
		"must --file -5":           `[]`,
		"send a b c --rpc=a=b,c=d": `rpc=a=b,c=d`,
		"send a b c --rpc=":        `rpc= `,
	} {
		if code, out, errs := run(line); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: code %d out %s err %s", line, code, out, errs)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                   "missing command: one of send, block",
		"account":            "missing command: one of import, list",
		"sned a b c":         `unknown command "sned"; did you mean send?`,
		"account imprt x":    `unknown command "imprt"; did you mean import?`,
		"account zzzzzz":     `unknown command "zzzzzz"` + "\n",
		"send a b c --jsno":  "unknown flag --jsno; did you mean --json?",
		"--asinc send a b c": "unknown flag --asinc",
		"--deep send a b c":  "unknown flag --deep",
		"send a --asynk b c": "unknown flag --asynk; did you mean --async?",
		"block -n 3":         "unknown flag -n",
		"send a b":           "missing argument AMOUNT",
		"send":               "missing argument FROM",
		"send a b c d":       `unexpected argument "d"`,
		"account list " + strings.Repeat("b7", 32): "unexpected argument (64 hex digits, not shown)",
		"0x" + strings.Repeat("b7", 32):            "unknown command (64 hex digits, not shown)",
		"account list x":                           `unexpected argument "x"`,
		"many":                                     "missing argument FILE",
		"must":                                     "missing flag --file",
		"must --file":                              "flag --file needs a value",
		"must --file --json":                       "flag --file needs a value",
		"must --file -- x":                         "flag --file needs a value",
		"send a b c -n x":                          `invalid value "x" for flag --n`,
		"send a b c --json=perhaps":                `invalid boolean value "perhaps" for -json`,
		"send a b c --wait 5":                      `invalid value "5" for flag --wait`,
		"send a b c --=":                           "unknown flag --",
		"send a b c ---json":                       "unknown flag ---json",
		"bad":                                      "that makes no sense",
		"send " + strings.Repeat("--x", 99):        "…",
	} {
		code, out, errs := run(line)
		if code != args.ExitUsage || out != "" || !strings.HasPrefix(errs, "app: ") || !strings.Contains(errs, want) {
			t.Errorf("%s: code %d out %s err %s", line, code, out, errs)
		}
		if lines := strings.Split(strings.TrimSpace(errs), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "try 'app") {
			t.Errorf("%s: not one line and a hint: %q", line, errs)
		}
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	_, _, errs := run("account import x y")
	if !strings.Contains(errs, "try 'app account import --help'") {
		t.Error(errs)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{"fail": 1, "coded": 7, "bad": 2, "block": 0} {
		code, _, errs := run(line)
		if code != want {
			t.Errorf("%s: code %d err %s", line, code, errs)
		}
		if line != "bad" && strings.Contains(errs, "--help") {
			t.Errorf("%s: a hint at help: %s", line, errs)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--help":                 "COMMANDS:",
		"help":                   "COMMANDS:",
		"send --help":            "app send",
		"help send":              "app send",
		"send a -h":              "app send",
		"--help send":            "app send",
		"account --help":         "import",
		"help account import":    "app account import",
		"must --help":            "--file",
		"account import --help":  "app account import",
		"--version":              "app version 1.2.3",
		"-v":                     "app version 1.2.3",
		"send --help=true a b c": "app send",
	} {
		if code, out, errs := run(line); code != 0 || !strings.Contains(out, want) || errs != "" {
			t.Errorf("%s: code %d out %s err %s", line, code, out, errs)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("ARGS_TEST_FILE", "f")
	t.Setenv("ARGS_TEST_RPC", "from-env")
	if code, out, errs := run("must"); code != 0 || !strings.Contains(out, "rpc=from-env") {
		t.Errorf("code %d out %s err %s", code, out, errs)
	}
	if _, out, _ := run("must --rpc flag"); !strings.Contains(out, "rpc=flag") {
		t.Error(out)
	}
}

// FuzzRun: no command line panics, and what is refused names no other code.
func FuzzRun(f *testing.F) {
	for _, s := range []string{"send a b c --json", "--rpc", "-- -- --", "account import", "-=", "--n=5 send -5 - --", "help help"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		app := testApp(new(bytes.Buffer))
		app.Writer = io.Discard
		done := time.AfterFunc(10*time.Second, func() { panic("hangs: " + line) })
		defer done.Stop()
		args.Run(app, append([]string{"app"}, strings.Fields(line)...), io.Discard)
	})
}
