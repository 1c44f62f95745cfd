// Package args runs a urfave/cli v2 command line by the rules of both binaries:
//
//   - a flag works before and after positional arguments and before and after
//     the command words, as --flag value, --flag=value, or a short alias;
//   - -- ends the flags; -5 and - are arguments, not flags;
//   - an unknown flag or command, a flag without its value, and a wrong number
//     of arguments are usage errors: one line with a suggestion, one hint line,
//     exit code 2, and no Action has run;
//   - any other error exits with its own ExitCode() or 1.
//
// cli v2 itself stops looking for flags at the first positional argument, so
// Run puts the command line in the order it expects before handing it over.
//
// The number of arguments comes from ArgsUsage: "FROM TO" wants exactly two,
// "[HASH]" is optional, "FILE..." repeats. An empty ArgsUsage allows none.
package args

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit codes that are the same for every command.
const (
	ExitFailure = 1
	ExitUsage   = 2
)

// UsageError is a command line that cannot be run. Its exit code is ExitUsage.
type UsageError struct {
	Message string
	// Suggestion is the flag or command that was probably meant, or empty.
	Suggestion string
}

// Error is one line.
func (e *UsageError) Error() string {
	if e.Suggestion != "" {
		return fmt.Sprintf("%s; did you mean %s?", e.Message, e.Suggestion)
	}
	return e.Message
}

// ExitCode is ExitUsage.
func (e *UsageError) ExitCode() int { return ExitUsage }

// Usagef makes a UsageError. An Action returns it for an argument or flag value
// that cannot be meant.
func Usagef(format string, a ...any) error {
	return &UsageError{Message: fmt.Sprintf(format, a...)}
}

// Run runs argv (argv[0] is the program) and answers the exit code. Errors go
// to stderr as "app: message".
func Run(app *cli.App, argv []string, stderr io.Writer) int {
	return RunContext(context.Background(), app, argv, stderr)
}

// RunContext is Run with the context that every Action sees.
func RunContext(ctx context.Context, app *cli.App, argv []string, stderr io.Writer) int {
	prepare(app, stderr)
	if n := len(argv); app.EnableBashCompletion && n > 0 && argv[n-1] == "--generate-bash-completion" {
		return report(app, nil, app.RunContext(ctx, argv), stderr)
	}
	line, err := parse(app, argv)
	switch {
	case err != nil:
	case line.version:
		_, err = fmt.Fprintf(app.Writer, "%s version %s\n", app.Name, app.Version)
	default:
		err = app.RunContext(ctx, line.argv())
	}
	return report(app, line, err, stderr)
}

// prepare turns off what cli would do on an error by itself: print the whole
// help on stdout, and exit the process.
func prepare(app *cli.App, stderr io.Writer) {
	app.ErrWriter = stderr
	if app.Writer == nil {
		app.Writer = os.Stdout
	}
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = onUsageError
	// cli's own help and version flags are two variables that every run writes:
	// two runs in one process would race. So each app and command has its own.
	app.Flags = withHelp(app.HideHelp, app.Flags)
	if app.Version != "" && !app.HideVersion {
		app.Flags = withFlag(app.Flags, versionFlag, "v", "print the version")
	}
	hideHelp := app.HideHelp
	app.HideHelp, app.HideVersion = true, true
	var visit func(cmds []*cli.Command)
	visit = func(cmds []*cli.Command) {
		for _, c := range cmds {
			c.OnUsageError = onUsageError
			// "help" is taken before cli sees it where it is a command word, and
			// is an argument like any other elsewhere.
			c.HideHelpCommand = true
			c.Flags = withHelp(hideHelp || c.HideHelp, c.Flags)
			c.HideHelp = true
			visit(c.Subcommands)
		}
	}
	visit(app.Commands)
}

const (
	helpFlag    = "help"
	versionFlag = "version"
)

func withHelp(hide bool, flags []cli.Flag) []cli.Flag {
	if hide {
		return flags
	}
	return withFlag(flags, helpFlag, "h", "show help")
}

// withFlag adds a bool flag unless there is one of that name; the short name
// goes to it only if it is free.
func withFlag(flags []cli.Flag, name, short, usage string) []cli.Flag {
	if find(flags, name) != nil {
		return flags
	}
	f := &cli.BoolFlag{Name: name, Usage: usage, DisableDefaultText: true}
	if find(flags, short) == nil {
		f.Aliases = []string{short}
	}
	return append(slices.Clip(flags), f)
}

// onUsageError sees what is left to cli's own parser: values of the wrong type.
func onUsageError(_ *cli.Context, err error, _ bool) error {
	return &UsageError{Message: strings.ReplaceAll(err.Error(), "for flag -", "for flag --")}
}

func report(app *cli.App, line *commandLine, err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if text := strings.TrimSpace(err.Error()); text != "" {
		fmt.Fprintf(stderr, "%s: %s\n", app.Name, text)
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		words := []string{app.Name}
		if line != nil {
			words = line.words()
		}
		fmt.Fprintf(stderr, "try '%s --help'\n", strings.Join(words, " "))
	}
	if coder, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coder.ExitCode()
	}
	return ExitFailure
}
