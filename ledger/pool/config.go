package pool

import (
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"
)

// Config holds the pool's limits. Every queue and map has one.
type Config struct {
	Total               int   // transactions in the pool
	Bytes               int64 // their encoded size
	PerSenderExecutable int   // transactions of one sender that could be included now
	PerSenderGapped     int   // how far beyond its next nonce a sender may be
	PriceBump           int   // percent by which a replacement raises both fee fields
	Reasons             int   // drops whose reason is remembered
	PerEmptySender      int   // free network: transactions of one sender with balance 0
	EmptySenders        int   // free network: transactions of all senders with balance 0

	// OnDrop, if not nil, is told of every transaction that leaves the pool other
	// than by a block. It is called without the pool's lock, by the goroutine
	// whose call caused the drop, and must not block.
	OnDrop func(Drop)
}

// Drop is a transaction that left the pool without being in a block.
type Drop struct {
	Transaction *types.Transaction
	Local       bool
	Reason      error // a *chain.InvalidError
}

// DefaultConfig is for a machine with some gigabytes of memory.
func DefaultConfig() Config {
	return Config{
		Total:               100_000,
		Bytes:               128 << 20,
		PerSenderExecutable: 4096,
		PerSenderGapped:     64,
		PriceBump:           10,
		Reasons:             16_384,
		PerEmptySender:      16,
		EmptySenders:        1024,
	}
}

// Validate says which limit is out of range.
func (c *Config) Validate() error {
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"Total", int64(c.Total)},
		{"Bytes", c.Bytes},
		{"PerSenderExecutable", int64(c.PerSenderExecutable)},
		{"PerEmptySender", int64(c.PerEmptySender)},
		{"EmptySenders", int64(c.EmptySenders)},
	} {
		if l.value < 1 {
			return fmt.Errorf("pool limit %s is %d, must be at least 1", l.name, l.value)
		}
	}
	if c.PerSenderGapped < 0 || c.PriceBump < 0 || c.Reasons < 0 {
		return fmt.Errorf("pool limits PerSenderGapped %d, PriceBump %d, Reasons %d must not be negative",
			c.PerSenderGapped, c.PriceBump, c.Reasons)
	}
	return nil
}
