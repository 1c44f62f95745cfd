package testnet

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine is what a figure was measured on.
type Machine struct {
	CPUs    int    `json:"cpus"`
	Model   string `json:"model"`
	OS      string `json:"os"`
	Go      string `json:"go"`
	Version string `json:"version"`
}

// ThisMachine describes this machine and the version under test.
func ThisMachine(ctx context.Context) Machine {
	m := Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.Model = strings.TrimSpace(value)
				break
			}
		}
	}
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	cmd.Dir = Root()
	if out, err := cmd.Output(); err == nil {
		m.Version = strings.TrimSpace(string(out))
	}
	return m
}
