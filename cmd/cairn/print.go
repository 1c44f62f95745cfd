package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// row is one line of a command's human output.
type row struct{ name, value string }

// show prints data as JSON with --json, else the rows, aligned.
func (t *terminal) show(c *cli.Context, data any, rows ...row) error {
	if c.Bool("json") {
		return t.showJSON(data)
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r.name))
	}
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-*s  %s\n", width, r.name, r.value)
	}
	_, err := fmt.Fprint(t.stdout, b.String())
	return err
}

func (t *terminal) showJSON(data any) error {
	b, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	_, err = fmt.Fprintf(t.stdout, "%s\n", b)
	return err
}

// line prints data as JSON with --json, else one line.
func (t *terminal) line(c *cli.Context, data any, text string) error {
	if c.Bool("json") {
		return t.showJSON(data)
	}
	_, err := fmt.Fprintln(t.stdout, text)
	return err
}

// table prints aligned columns.
func (t *terminal) table(rows [][]string) error {
	var width []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := fmt.Fprint(t.stdout, b.String())
	return err
}

func (t *terminal) warn(format string, a ...any) {
	fmt.Fprintf(t.stderr, "warning: "+format+"\n", a...)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000 UTC") }
