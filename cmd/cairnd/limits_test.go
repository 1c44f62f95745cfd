package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
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
