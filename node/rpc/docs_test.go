package rpc

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedMethods: the tables of docs/rpc.md name exactly the methods that
// rpc_discover does, and only tests that are there.
func TestDocumentedMethods(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/rpc.md")
	check(t, err)
	_, tables, _ := strings.Cut(string(raw), "\n## Methods\n")
	tables, _, _ = strings.Cut(tables, "\n## ")
	name := regexp.MustCompile("`([a-z0-9]+_[A-Za-z0-9]+)[`(]")
	documented := map[string]bool{}
	tests := testNames(t)
	for line := range strings.Lines(tables) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			if documented[m[1]] {
				t.Errorf("%s is documented twice", m[1])
			}
			documented[m[1]] = true
		}
		if len(cells) != 5 || strings.Contains(cells[1], "---") || strings.TrimSpace(cells[1]) == "method" {
			continue
		}
		for named := range strings.SplitSeq(cells[2], ",") {
			if named = strings.TrimSpace(named); named != "client" && !strings.HasPrefix(named, "suites") && !tests[named] {
				t.Errorf("no test is called Test%s: %s", named, line)
			}
		}
	}
	served := map[string]bool{}
	for _, m := range newFixture(t, options{}).call("rpc_discover").(map[string]any)["methods"].([]any) {
		served[m.(map[string]any)["name"].(string)] = true
	}
	for m := range served {
		if !documented[m] {
			t.Errorf("%s is served and not in docs/rpc.md", m)
		}
	}
	for m := range documented {
		if !served[m] {
			t.Errorf("%s is in docs/rpc.md and not served", m)
		}
	}
}

// testNames are the tests of this package, without Test.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	files, err := os.ReadDir(".")
	check(t, err)
	out := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		raw, err := os.ReadFile(f.Name())
		check(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func Test(\w+)\(`).FindAllStringSubmatch(string(raw), -1) {
			out[m[1]] = true
		}
	}
	return out
}

// TestDocumentedLimits: the table of docs/rpc.md names every limit there is.
func TestDocumentedLimits(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/rpc.md")
	check(t, err)
	_, table, _ := strings.Cut(string(raw), "\n## Limits\n")
	table, _, _ = strings.Cut(table, "\n## ")
	limits := DefaultLimits()
	for _, l := range limits.all() {
		if !strings.Contains(table, "`"+l.name+"`") {
			t.Errorf("rpc.limits.%s is not in docs/rpc.md", l.name)
		}
	}
}
