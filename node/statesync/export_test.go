package statesync

import "time"

// Hurry shortens the waits of a join for tests.
func (c *Config) Hurry() {
	c.waits = &waits{again: 20 * time.Millisecond, newer: 100 * time.Millisecond, gone: 10 * time.Second}
}
