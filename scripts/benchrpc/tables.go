package main

import (
	"fmt"
	"io"

	"cairn/scripts/internal/testnet"
)

// tables prints a report as docs/rpc.md shows it.
func (r *report) tables(w io.Writer) {
	p := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format, a...) }
	p("%s, %d processors, %s; load average %s before, %s after\n", r.Machine.Version, r.Machine.CPUs, r.Machine.Go, r.Load[0], r.Load[len(r.Load)-1])
	if len(r.Figures) > 0 {
		p("\nCalls a second, the median of %d rounds of %s, and the node's processor time for a call:\n\n", r.Settings.Rounds, r.Settings.Round)
		p("| | HTTP, kept alive | batches of %d | WebSocket |\n|---|---|---|---|\n", r.Settings.Batch)
		cells := make(map[string]string)
		var methods []string
		for _, f := range r.Figures {
			if cells[f.Method] == "" {
				methods = append(methods, f.Method)
			}
			cells[f.Method] += fmt.Sprintf(" | %.0f, %.3g µs", f.PerSecond, f.NodeMicros)
		}
		for _, m := range methods {
			p("| `%s`%s |\n", m, cells[m])
		}
	}
	if r.Abuse == nil {
		return
	}
	p("\nAbuse of %s each. Finality: median and 99th percentile, ms; control: the same traffic to a process that only reads and answers.\n\n", r.Settings.Abuse)
	p("| abuse | memory, MiB | other client p50, p99, ms | finality, control | finality, abuse |\n|---|---|---|---|---|\n")
	for _, s := range append(append([]*strain{r.Abuse.Calm}, r.Abuse.Kinds...), r.Abuse.After) {
		p("| %s | %d | %.1f, %.0f | %s | %s |\n", s.Kind, s.Most>>20, s.P50, s.P99, finalityCell(s.Control), finalityCell(s.Finality))
		if s.Failed > 0 {
			p("%d reads of the other client failed: %s\n", s.Failed, s.Kind)
		}
	}
}

func finalityCell(f *testnet.Finality) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%.0f, %.0f", f.P50, f.P99)
}
