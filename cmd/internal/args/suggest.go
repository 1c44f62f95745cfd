package args

import (
	"regexp"
	"strconv"

	"github.com/urfave/cli/v2"
)

var secret = regexp.MustCompile(`[0-9a-fA-F]{64}`)

// quote makes a token fit for an error. What may be a private key put in the
// wrong place is not shown: errors end up in logs.
func quote(s string) string {
	const most = 64
	if secret.MatchString(s) {
		return "(64 hex digits, not shown)"
	}
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}

func (l *commandLine) unknownFlag(g given) error {
	var names []string
	for _, p := range l.path {
		for _, f := range p.flags {
			names = append(names, f.Names()...)
		}
	}
	e := &UsageError{Message: "unknown flag " + g.text}
	if len(e.Message) > 80 {
		e.Message = e.Message[:80] + "…"
	}
	if best := nearest(names, g.name); best != "" {
		e.Suggestion = dashes(best)
	}
	return e
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func suggestCommand(commands []*cli.Command, word string) string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return nearest(names, word)
}

func commandNames(commands []*cli.Command) (names []string) {
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// nearest is the name within a third of its length, at least one, of edits of
// word, or empty. Of equally near names the first.
func nearest(names []string, word string) string {
	const longest = 64
	if len(word) > longest {
		return ""
	}
	best, least := "", len(word)+1
	for _, n := range names {
		if len(n) < 2 {
			continue
		}
		d := distance(n, word)
		if d <= max(1, len(n)/3) && d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of single-byte edits, a swap of neighbours being one,
// between a and b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
