package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cairn/node"
)

func TestEnoughFiles(t *testing.T) {
	t.Parallel()
	if err := enoughFiles(minFiles); err != nil {
		t.Error(err)
	}
	if err := enoughFiles(minFiles - 1); !errors.Is(err, errFiles) {
		t.Error(err)
	}
}

// TestFewFiles: a process that may open too few files says so and touches nothing.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	must(t, "init", "--dev", "--home", home)
	for _, limit := range []string{"64", "256"} {
		cmd := exec.Command("sh", "-c", `ulimit -n "$1" && shift && exec "$@"`, "sh", limit, os.Args[0], "run", "--home", home)
		cmd.Env = []string{actAsCairnd + "=1", "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), string(errFiles)) || !strings.Contains(string(out), limit+" are") {
			t.Errorf("%s files: %v, %s", limit, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(home, node.DataDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a database: %v", err)
	}
}

// TestCgroupMemory: the lowest limit from the process's cgroup to the root holds.
func TestCgroupMemory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	self := write(t, filepath.Join(root, "self"), "1:name=x:/\n0::/a/b\n", 0o600)
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	check := func(want uint64) {
		t.Helper()
		if got, err := cgroupMemory(root, self); err != nil || got != want {
			t.Errorf("%d, %v, want %d", got, err, want)
		}
	}
	check(0)
	write(t, filepath.Join(root, "a", "b", "memory.max"), "max\n", 0o600)
	check(0)
	write(t, filepath.Join(root, "a", "memory.max"), "536870912\n", 0o600)
	check(512 << 20)
	write(t, filepath.Join(root, "memory.max"), "1073741824\n", 0o600)
	check(512 << 20)
	if _, err := cgroupMemory(root, write(t, filepath.Join(root, "v1"), "1:memory:/x\n", 0o600)); err == nil {
		t.Error("a cgroup of version 1 has no such file")
	}
}
