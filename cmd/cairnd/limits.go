package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"cairn/node"
)

// errFiles says that the operating system lets this process open too few files.
const errFiles = node.ErrorKind("too few open files are allowed: raise the limit (ulimit -n, or LimitNOFILE= of the service)")

// minFiles is what a node needs: tables of the database, a connection for each
// peer and validator, JSON-RPC.
const minFiles = 1024

// checkFiles looks at the limit of open files. Go has raised the soft limit to
// the hard one when the process started.
func checkFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return enoughFiles(l.Cur)
}

func enoughFiles(limit uint64) error {
	if limit < minFiles {
		return fmt.Errorf("%w: %d are, at least %d are needed", errFiles, limit, minFiles)
	}
	return nil
}

// memoryShare is the part of a container's memory that Go's heap aims to stay
// below, in percent; the rest is for what Go does not count.
const memoryShare = 85

// heapGrowth is by how much of what is in use, in percent, Go's heap may grow
// before garbage is collected. Half of Go's own 100 takes 110 MiB off a node that
// replays a long chain, and a twentieth of its speed; under load nothing is to be
// measured.
const heapGrowth = 50

// limitMemory makes the garbage collector heed the memory limit of the cgroup,
// so that a container's limit makes it work harder before it kills the process,
// and keeps the heap small where there is none. GOMEMLIMIT and GOGC, if set, are
// left alone.
func limitMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit, err := cgroupMemory("/sys/fs/cgroup", "/proc/self/cgroup")
	if err != nil {
		log.Debug("no memory limit of a cgroup was found", "err", err)
		return
	}
	if limit > 0 {
		debug.SetMemoryLimit(int64(limit / 100 * memoryShare))
		log.Info("memory", "cgroupMiB", limit>>20, "heapAimsBelowMiB", limit/100*memoryShare>>20)
	}
}

// cgroupMemory is the lowest memory.max from the process's cgroup (version 2) up
// to the root, in bytes; 0 = none has one.
func cgroupMemory(root, self string) (uint64, error) {
	raw, err := os.ReadFile(self)
	if err != nil {
		return 0, err
	}
	place, found := "", false
	for line := range strings.Lines(string(raw)) {
		if place, found = strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			break
		}
	}
	if !found {
		return 0, errors.New("this process is in no cgroup of version 2")
	}
	lowest := uint64(0)
	for dir := filepath.Clean("/" + place); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if err == nil {
			if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && (lowest == 0 || n < lowest) { // "max" is none
				lowest = n
			}
		}
		if dir == "/" {
			return lowest, nil
		}
	}
}
