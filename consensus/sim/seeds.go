package sim

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed testdata/seeds.txt
var keptSeeds string

// KeptSeeds are the seeds that once found a bug, in the order they were found.
// They are replayed before any others.
func KeptSeeds() ([]uint64, error) {
	var out []uint64
	for i, line := range strings.Split(keptSeeds, "\n") {
		text, _, _ := strings.Cut(line, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("testdata/seeds.txt line %d: %w", i+1, err)
		}
		out = append(out, seed)
	}
	return out, nil
}

// ReplayCommand is the command that plays a seed again with a trace.
func ReplayCommand(seed uint64) string { return fmt.Sprintf("make sim SEED=%d TRACE=1", seed) }
