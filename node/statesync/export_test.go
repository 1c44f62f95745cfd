package statesync

import "time"

// Hurry shortens the waits of a join for tests.
func (c *Config) Hurry() {
	c.waits = &waits{look: lookEvery, again: 20 * time.Millisecond, newer: 100 * time.Millisecond, gone: 10 * time.Second, least: 1. / 720, lone: 1. / 60}
}

// Look sets how often a join looks at what peers serve.
func (c *Config) Look(every time.Duration) { c.waits.look = every }

// Lone sets the part of the accounts that has to come in each stretch of patience
// from a peer that alone serves a checkpoint.
func (c *Config) Lone(part float64) { c.waits.lone = part }

// Patience sets how long a join stays with a checkpoint that nobody gives.
func (c *Config) Patience(d time.Duration) { c.waits.gone = d }
