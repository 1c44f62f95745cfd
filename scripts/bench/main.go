// Command bench measures a network of real processes through JSON-RPC and prints
// the figures as JSON: finality of single transfers on an idle network, and
// transfers per second under load with blocks, disk and memory.
//
//	go run ./scripts/bench -nodes 4 -singles 100 -transfers 20000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"cairn/scripts/internal/testnet"
)

type settings struct {
	Nodes     int `json:"nodes"`
	Singles   int `json:"singles"`
	Transfers int `json:"transfers"`
	Senders   int `json:"senders"`
	Batch     int `json:"batch"`
	Window    int `json:"window"`
}

type machine struct {
	CPUs    int    `json:"cpus"`
	Model   string `json:"model"`
	OS      string `json:"os"`
	Go      string `json:"go"`
	Version string `json:"version"`
}

type report struct {
	Machine  machine           `json:"machine"`
	Settings settings          `json:"settings"`
	Finality *testnet.Finality `json:"finality,omitempty"`
	Load     *load             `json:"load,omitempty"`
}

func main() {
	var s settings
	flag.IntVar(&s.Nodes, "nodes", 4, "validators")
	flag.IntVar(&s.Singles, "singles", 100, "single transfers on the idle network; 0 = skip")
	flag.IntVar(&s.Transfers, "transfers", 20_000, "transfers under load; 0 = skip")
	flag.IntVar(&s.Senders, "senders", 500, "accounts that send under load")
	flag.IntVar(&s.Batch, "batch", 100, "transfers in one JSON-RPC batch")
	flag.IntVar(&s.Window, "window", 8000, "transfers sent but not final, at most")
	dir := flag.String("dir", "", "keep the network here instead of in a temporary directory")
	flag.Parse()
	if err := run(s, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s settings, dir string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	net, err := testnet.Up(ctx, dir, s.Nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Do(context.Background(), "down")) }()
	r := report{Machine: thisMachine(ctx), Settings: s}
	if s.Singles > 0 {
		if r.Finality, err = measureFinality(ctx, net, s.Singles); err != nil {
			return err
		}
	}
	if s.Transfers > 0 {
		if r.Load, err = measureLoad(ctx, net, s); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func thisMachine(ctx context.Context) machine {
	m := machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.Model = strings.TrimSpace(value)
				break
			}
		}
	}
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	cmd.Dir = testnet.Root()
	if out, err := cmd.Output(); err == nil {
		m.Version = strings.TrimSpace(string(out))
	}
	return m
}

// diskBytes is the size of a node's database.
func diskBytes(home string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(filepath.Join(home, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away between the listing and now
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// residentBytes is the memory that a process holds now.
func residentBytes(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d tells no memory", pid)
}
