package consensus

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The core is a function of its inputs: that makes one seed a bug report.
var forbiddenImports = map[string]string{
	"time":         "the driver passes mono and wall to Step",
	"os":           "records go through Effects.Persist",
	"net":          "messages go through Effects.Broadcast and SendTo",
	"sync":         "one goroutine owns a Core",
	"sync/atomic":  "one goroutine owns a Core",
	"context":      "a Step never waits",
	"math/rand":    "whoever needs a random choice makes it in the driver",
	"math/rand/v2": "whoever needs a random choice makes it in the driver",
	"crypto/rand":  "signatures are deterministic",
	"log":          "the driver logs what Effects and Status say",
	"log/slog":     "the driver logs what Effects and Status say",
}

func TestImportsArePure(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.go", "internal/fault/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why, bad := forbiddenImports[path]; bad {
				t.Errorf("%s imports %s: %s", file, path, why)
			}
			if strings.HasPrefix(path, "cairn/") && path != "cairn/crypto" && path != "cairn/consensus/internal/fault" {
				t.Errorf("%s imports %s: to consensus a block is a hash; of our own packages it knows crypto alone", file, path)
			}
		}
	}
}
