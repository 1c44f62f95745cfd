package node

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"cairn/crypto"
	"cairn/node/blocksync"
)

// SyncConfig says how the node catches up, and how much it gives to others that
// do.
type SyncConfig struct {
	Mode        string `toml:"mode"`         // SyncAuto, SyncFull or SyncSnapshot
	Trusted     string `toml:"trusted"`      // "HEIGHT:0xHASH" of a block known to be final; empty = genesis alone
	HistoryFill bool   `toml:"history_fill"` // after a join by snapshot, fetch the blocks below it
	ServeMiB    int    `toml:"serve_mib"`    // per second, sent to nodes that sync
}

// The ways to catch up.
const (
	SyncAuto     = "auto"     // by a snapshot if that is far shorter, else by replay
	SyncFull     = "full"     // executes every block
	SyncSnapshot = "snapshot" // by a snapshot if a peer serves one above the head
)

func (c SyncConfig) validate() error {
	if c.Mode != SyncAuto && c.Mode != SyncFull && c.Mode != SyncSnapshot {
		return fmt.Errorf("sync.mode: %q is none of %s, %s, %s", c.Mode, SyncAuto, SyncFull, SyncSnapshot)
	}
	if c.ServeMiB < 1 || c.ServeMiB > 1<<16 {
		return fmt.Errorf("sync.serve_mib: %d is not in 1..65536", c.ServeMiB)
	}
	_, err := c.pin()
	return err
}

// pin reads Trusted; nil = empty.
func (c SyncConfig) pin() (*blocksync.Pin, error) {
	if c.Trusted == "" {
		return nil, nil
	}
	left, right, ok := strings.Cut(c.Trusted, ":")
	height, err := strconv.ParseUint(left, 10, 63)
	digits, prefixed := strings.CutPrefix(right, "0x")
	hash, bad := hex.DecodeString(digits)
	if !ok || err != nil || !prefixed || bad != nil || len(hash) != crypto.HashLength {
		return nil, fmt.Errorf("sync.trusted: %q is not HEIGHT:0xHASH, as in 120000:0x5c… with 64 digits", c.Trusted)
	}
	return &blocksync.Pin{Height: height, Hash: crypto.Hash(hash)}, nil
}
