package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/scripts/internal/load"
	"cairn/scripts/internal/testnet"
)

// join is what one new node did, from the start of its process until it had the
// chain's head, and the check of its database afterwards.
type join struct {
	Mode      string  `json:"mode"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"transfersPerSecond,omitempty"` // verified and executed; of a full replay
	MaxMemory int64   `json:"maxMemoryBytes"`
	DiskBytes int64   `json:"diskBytes"`
	SameRoot  bool    `json:"sameStateRoot"`
	Check     string  `json:"dbCheck"`
	CheckTook float64 `json:"dbCheckSeconds"`
}

func measureJoin(ctx context.Context, dir, mode string, server *rpc.Client, c *chain) (j *join, err error) {
	cairnd := filepath.Join(testnet.Root(), "bin", "cairnd")
	out, err := exec.CommandContext(ctx, cairnd, "testnet", "add", "--dir", dir).Output()
	if err != nil {
		return nil, fmt.Errorf("testnet add: %w", err)
	}
	name := strings.TrimSpace(string(out))
	home := filepath.Join(dir, name)
	logFile, err := os.Create(filepath.Join(home, "cairnd.log"))
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	node := exec.CommandContext(ctx, cairnd, "run", "--home", home, "--sync", mode)
	node.Stdout, node.Stderr = logFile, logFile
	node.Cancel = func() error { return node.Process.Signal(syscall.SIGTERM) }
	begun := time.Now()
	if err := node.Start(); err != nil {
		return nil, err
	}
	j = &join{Mode: mode}
	if err = j.follow(ctx, dir, name, server, c, begun); err == nil {
		j.MaxMemory, err = load.Memory(node.Process.Pid, "VmHWM")
	}
	_ = node.Process.Signal(syscall.SIGTERM)
	if stopped := node.Wait(); err == nil && stopped != nil {
		err = fmt.Errorf("%s ended with %w: see %s", name, stopped, logFile.Name())
	}
	if err != nil {
		return nil, err
	}
	if mode == "full" && c.Transfers > 0 {
		j.PerSecond = float64(c.Transfers) / j.Seconds
	}
	if j.DiskBytes, err = load.DiskBytes(home); err != nil {
		return nil, err
	}
	begun = time.Now()
	check, err := exec.CommandContext(ctx, cairnd, "db", "check", "--home", home).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("db check: %w\n%s", err, check)
	}
	j.CheckTook = time.Since(begun).Seconds()
	lines := strings.Split(strings.TrimSpace(string(check)), "\n")
	j.Check = lines[len(lines)-1]
	return j, nil
}

// follow waits until the node has the chain's head, and compares what it has then
// with a validator.
func (j *join) follow(ctx context.Context, dir, name string, server *rpc.Client, c *chain, begun time.Time) error {
	setup, err := testnet.OpenSetup(dir)
	if err != nil {
		return err
	}
	var i int
	if _, err := fmt.Sscanf(name, "node%d", &i); err != nil {
		return fmt.Errorf("node name %q: %w", name, err)
	}
	client, err := rpc.DialContext(ctx, fmt.Sprintf("http://127.0.0.1:%d", setup.RPCBase+i))
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		head, err := testnet.Head(ctx, client)
		var got *testnet.Block
		if err == nil && head >= c.Height {
			got, err = testnet.BlockAt(ctx, client, head) // of a snapshot that is the head, it comes right after
		}
		if err == nil && got != nil {
			j.Seconds = time.Since(begun).Seconds()
			want, err := testnet.BlockAt(ctx, server, head)
			if err != nil {
				return err
			}
			j.SameRoot = want != nil && got.Hash == want.Hash && got.StateRoot == want.StateRoot
			if !j.SameRoot {
				return fmt.Errorf("block %d is %+v, of the validator %+v", head, got, want)
			}
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}
