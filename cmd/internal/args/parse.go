package args

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// level is one step of the command path: the app itself, then each command.
type level struct {
	name     string // as the user should type it
	flags    []cli.Flag
	commands []*cli.Command
	usage    string // ArgsUsage
	action   bool
	raw      bool // SkipFlagParsing
}

// given is one flag of the command line.
type given struct {
	text  string // as typed, without the value
	name  string // without dashes
	value string
	has   bool // a value was given
}

// commandLine is argv taken apart: the path of commands, the flags, and the
// positional arguments of the last command.
type commandLine struct {
	program    string
	path       []level
	flags      []given
	positional []string
	help       bool
	version    bool
	placed     [][]string // flags of each level, canonical, in order
}

func (l *commandLine) last() *level { return &l.path[len(l.path)-1] }

func (l *commandLine) words() []string {
	words := make([]string, len(l.path))
	for i, p := range l.path {
		words[i] = p.name
	}
	return words
}

// argv is the command line in the order that cli v2 parses.
func (l *commandLine) argv() []string {
	out := []string{l.program}
	for i, p := range l.path {
		if i > 0 {
			out = append(out, p.name)
		}
		if !l.help {
			out = append(out, l.placed[i]...)
		}
	}
	if l.help {
		return append(out, "--help")
	}
	if len(l.positional) > 0 {
		if !l.last().raw {
			out = append(out, "--")
		}
		out = append(out, l.positional...)
	}
	return out
}

// parse takes argv apart. The result is never nil, so that a hint can name the
// command that was found before the error.
func parse(app *cli.App, argv []string) (*commandLine, error) {
	line := &commandLine{program: app.Name, path: []level{{
		name: app.Name, flags: app.Flags, commands: app.Commands,
		usage: app.ArgsUsage, action: app.Action != nil,
	}}}
	if len(argv) > 0 {
		line.program, argv = argv[0], argv[1:]
	}
	onlyArguments := false
	for len(argv) > 0 {
		token := argv[0]
		argv = argv[1:]
		switch {
		case line.last().raw:
			line.positional = append(line.positional, token)
		case !onlyArguments && token == "--":
			onlyArguments = true
		case !onlyArguments && line.isFlag(token):
			rest, err := line.flag(token, argv)
			if err != nil {
				return line, err
			}
			argv = rest
		default:
			if err := line.word(token); err != nil {
				return line, err
			}
		}
	}
	return line, line.finish()
}

// isFlag says whether a token is a flag: it starts with a dash and is neither
// the lone dash nor a negative number that no flag is named after.
func (l *commandLine) isFlag(token string) bool {
	if len(token) < 2 || token[0] != '-' {
		return false
	}
	if c := token[1]; c == '.' || c >= '0' && c <= '9' {
		name, _, _ := strings.Cut(token[1:], "=")
		return l.find(name) != nil
	}
	return true
}

// find looks a flag up from the last level to the first.
func (l *commandLine) find(name string) cli.Flag {
	for _, p := range slices.Backward(l.path) {
		if f := find(p.flags, name); f != nil {
			return f
		}
	}
	return nil
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	t, ok := f.(interface{ TakesValue() bool })
	return !ok || t.TakesValue()
}

// below looks a flag up in the commands under the last level: a flag may stand
// before the command word it belongs to.
func below(commands []*cli.Command, name string) (found []cli.Flag) {
	for _, c := range commands {
		if f := find(c.Flags, name); f != nil {
			found = append(found, f)
		}
		found = append(found, below(c.Subcommands, name)...)
	}
	return found
}

// flag takes one flag, with its value from rest where it wants one.
func (l *commandLine) flag(token string, rest []string) ([]string, error) {
	g := given{text: token, name: strings.TrimPrefix(token[1:], "-")}
	if name, value, ok := strings.Cut(g.name, "="); ok {
		g.text, g.name, g.value, g.has = token[:strings.IndexByte(token, '=')], name, value, true
	}
	f := l.find(g.name)
	if f == nil {
		candidates := below(l.last().commands, g.name)
		if len(candidates) == 0 {
			return nil, l.unknownFlag(g)
		}
		f = candidates[0]
		for _, c := range candidates {
			if takesValue(c) != takesValue(f) && !g.has {
				return nil, Usagef("flag %s is ambiguous here: put it after the command", g.text)
			}
		}
	}
	if on, err := strconv.ParseBool(g.value); !takesValue(f) && (!g.has || err == nil && on) {
		switch f.Names()[0] {
		case helpFlag:
			l.help = true
			return rest, nil
		case versionFlag:
			l.version = len(l.path) == 1
		}
	}
	if takesValue(f) && !g.has {
		if len(rest) == 0 || rest[0] == "--" || l.known(rest[0]) {
			return nil, Usagef("flag %s needs a value", g.text)
		}
		g.value, g.has, rest = rest[0], true, rest[1:]
	}
	l.flags = append(l.flags, g)
	return rest, nil
}

// known says whether a token is a flag that exists: then it is not the value
// that was forgotten before it.
func (l *commandLine) known(token string) bool {
	if !strings.HasPrefix(token, "-") || token == "-" {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(token[1:], "-"), "=")
	return l.find(name) != nil || len(below(l.last().commands, name)) > 0
}

// word takes a command word or a positional argument.
func (l *commandLine) word(token string) error {
	at := l.last()
	if len(at.commands) == 0 || len(l.positional) > 0 {
		l.positional = append(l.positional, token)
		return nil
	}
	for _, c := range at.commands {
		if c.HasName(token) {
			l.path = append(l.path, level{
				name: c.Name, flags: c.Flags, commands: c.Subcommands,
				usage: c.ArgsUsage, action: c.Action != nil, raw: c.SkipFlagParsing,
			})
			return nil
		}
	}
	if token == helpFlag && find(l.path[0].flags, helpFlag) != nil {
		l.help = true
		return nil
	}
	if at.action && at.usage != "" {
		l.positional = append(l.positional, token)
		return nil
	}
	return &UsageError{Message: "unknown command " + quote(token), Suggestion: suggestCommand(at.commands, token)}
}

// finish places the flags and checks what must be there.
func (l *commandLine) finish() error {
	l.placed = make([][]string, len(l.path))
	set := make(map[cli.Flag]bool)
	for _, g := range l.flags {
		f, at := l.place(g.name)
		if f == nil {
			return l.unknownFlag(g)
		}
		set[f] = true
		// The first name stands for all, so that an alias beside the name is a
		// repetition as any other, and the last one counts.
		arg := "--" + f.Names()[0]
		if g.has {
			arg += "=" + g.value
		}
		l.placed[at] = append(l.placed[at], arg)
	}
	if l.help || l.version {
		return nil
	}
	if at := l.last(); len(at.commands) > 0 && !at.action {
		return Usagef("missing command: one of %s", strings.Join(commandNames(at.commands), ", "))
	}
	if err := l.required(set); err != nil {
		return err
	}
	if l.last().raw {
		return nil
	}
	return checkCount(l.last().usage, l.positional)
}

func (l *commandLine) place(name string) (cli.Flag, int) {
	for i, p := range slices.Backward(l.path) {
		if f := find(p.flags, name); f != nil {
			return f, i
		}
	}
	return nil, 0
}

// required does cli's check before it, which would print the whole help.
func (l *commandLine) required(set map[cli.Flag]bool) error {
	for _, p := range l.path {
		for _, f := range p.flags {
			r, ok := f.(cli.RequiredFlag)
			if !ok || !r.IsRequired() || set[f] || fromEnvironment(f) {
				continue
			}
			return Usagef("missing flag --%s", f.Names()[0])
		}
	}
	return nil
}

func fromEnvironment(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return false
	}
	for _, name := range d.GetEnvVars() {
		if _, ok := os.LookupEnv(name); ok {
			return true
		}
	}
	return false
}

// checkCount holds the arguments against ArgsUsage.
func checkCount(usage string, got []string) error {
	most := 0
	for _, name := range strings.Fields(usage) {
		optional := strings.HasPrefix(name, "[")
		bare := strings.Trim(name, "[]")
		repeats := strings.HasSuffix(bare, "...") || strings.HasSuffix(bare, "…")
		if !optional && len(got) <= most {
			return Usagef("missing argument %s", strings.TrimRight(bare, ".…"))
		}
		if repeats {
			return nil
		}
		most++
	}
	if len(got) > most {
		return Usagef("unexpected argument %s", quote(got[most]))
	}
	return nil
}
