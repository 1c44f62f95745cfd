package rpc

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Config is what an operator chooses for the public listener.
type Config struct {
	CORS   []string // origins that browsers may call from; "*" = any
	Hosts  []string // host names that requests may name; "*" = any; IP literals and localhost always pass
	Limits Limits

	Tokens       []Token
	RequireToken bool // whoever brings no token is refused
}

// Validate says what is wrong, naming the setting.
func (c *Config) Validate() error {
	if c.RequireToken && len(c.Tokens) == 0 {
		return errors.New("rpc.require_token: there are no rpc.tokens, so nobody could come in")
	}
	return errors.Join(c.Limits.Validate(), validateTokens(c.Tokens))
}

// Limits bound what the outside can make the node do. A zero is the default.
type Limits struct {
	BodyBytes     int      `toml:"body_bytes"`     // of one HTTP request or WebSocket message
	Batch         int      `toml:"batch"`          // calls in one batch
	ResponseBytes int      `toml:"response_bytes"` // of the answers of one batch, and of answers that wait for one WebSocket reader
	RequestTime   Duration `toml:"request_time"`   // from the first byte of a body to the last of its answer
	Concurrent    int      `toml:"concurrent"`     // HTTP requests worked on at once; more wait for a moment, then get HTTP 429
	Heavy         int      `toml:"heavy"`          // batches, long requests and calls with large answers that are worked on at once; 0 = one fewer than processors, at least one
	WaitingBytes  int      `toml:"waiting_bytes"`  // of all answers that wait for their readers; as much of requests that are read or wait for their turn

	CacheBytes int `toml:"cache_bytes"` // of encoded answers about final blocks that are kept

	WritesPerSecond int `toml:"writes_per_second"` // transactions from one address, 127.0.0.1 and ::1 exempt
	WriteBurst      int `toml:"write_burst"`       // of them at once

	RefusalsPerSecond int `toml:"refusals_per_second"` // requests from one address, or with one token from there, that are refused for what they are, 127.0.0.1 and ::1 exempt; then all of its requests are refused
	RefusalBurst      int `toml:"refusal_burst"`       // of them at once

	Connections           int `toml:"connections"`             // open, of HTTP and WebSocket
	ConnectionsPerAddress int `toml:"connections_per_address"` // of them from one address, 127.0.0.1 and ::1 exempt

	Sockets           int      `toml:"sockets"`             // open WebSocket connections
	SocketsPerAddress int      `toml:"sockets_per_address"` // of them from one address, 127.0.0.1 and ::1 exempt
	SocketCalls       int      `toml:"socket_calls"`        // messages of one connection that are worked on; the connection is not read meanwhile
	SlowReader        Duration `toml:"slow_reader"`         // how long a message may wait for a WebSocket reader before the connection is closed

	Subscriptions           int `toml:"subscriptions"`             // open subscriptions
	SubscriptionsPerAddress int `toml:"subscriptions_per_address"` // of them from one address, 127.0.0.1 and ::1 exempt
	SocketSubscriptions     int `toml:"socket_subscriptions"`      // of them on one connection

	Filters           int      `toml:"filters"`             // open filters
	FiltersPerAddress int      `toml:"filters_per_address"` // of them from one address, 127.0.0.1 and ::1 exempt
	FilterLife        Duration `toml:"filter_life"`         // without a call, until a filter is forgotten

	LogBlocks   int `toml:"log_blocks"`   // blocks of one eth_getLogs
	LogResults  int `toml:"log_results"`  // logs of one answer
	HistoryPage int `toml:"history_page"` // entries of one cairn_history or ots_ page
	PoolContent int `toml:"pool_content"` // transactions of one txpool_content or txpool_inspect
}

// Duration is a time.Duration that is written as text: "30s", "5m".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// DefaultLimits are for a node that strangers may call.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 1 << 20, Batch: 1000, ResponseBytes: 25 << 20, RequestTime: Duration(30 * time.Second), Concurrent: 512, WaitingBytes: 32 << 20, CacheBytes: 64 << 20,
		WritesPerSecond: 200, WriteBurst: 2000, RefusalsPerSecond: 10, RefusalBurst: 100,
		Connections: 8192, ConnectionsPerAddress: 512,
		Sockets: 4096, SocketsPerAddress: 128, SocketCalls: 64, SlowReader: Duration(10 * time.Second),
		Subscriptions: 16_384, SubscriptionsPerAddress: 1024, SocketSubscriptions: 128, Filters: 16_384, FiltersPerAddress: 512, FilterLife: Duration(5 * time.Minute),
		LogBlocks: 10_000, LogResults: 10_000, HistoryPage: 1000, PoolContent: 10_000,
	}
}

// limit is one number of Limits by name.
type limit struct {
	name       string
	value      *int
	initial    int
	duration   *Duration
	initialFor Duration
}

func (l *Limits) all() []limit {
	d := DefaultLimits()
	n := func(name string, value *int, initial int) limit {
		return limit{name: name, value: value, initial: initial}
	}
	t := func(name string, value *Duration, initial Duration) limit {
		return limit{name: name, duration: value, initialFor: initial}
	}
	return []limit{
		n("body_bytes", &l.BodyBytes, d.BodyBytes), n("batch", &l.Batch, d.Batch), n("response_bytes", &l.ResponseBytes, d.ResponseBytes),
		t("request_time", &l.RequestTime, d.RequestTime), n("concurrent", &l.Concurrent, d.Concurrent),
		n("heavy", &l.Heavy, d.Heavy), n("waiting_bytes", &l.WaitingBytes, d.WaitingBytes),
		n("cache_bytes", &l.CacheBytes, d.CacheBytes),
		n("writes_per_second", &l.WritesPerSecond, d.WritesPerSecond), n("write_burst", &l.WriteBurst, d.WriteBurst),
		n("refusals_per_second", &l.RefusalsPerSecond, d.RefusalsPerSecond), n("refusal_burst", &l.RefusalBurst, d.RefusalBurst),
		n("connections", &l.Connections, d.Connections), n("connections_per_address", &l.ConnectionsPerAddress, d.ConnectionsPerAddress),
		n("sockets", &l.Sockets, d.Sockets), n("sockets_per_address", &l.SocketsPerAddress, d.SocketsPerAddress),
		n("socket_calls", &l.SocketCalls, d.SocketCalls), t("slow_reader", &l.SlowReader, d.SlowReader),
		n("subscriptions", &l.Subscriptions, d.Subscriptions), n("subscriptions_per_address", &l.SubscriptionsPerAddress, d.SubscriptionsPerAddress), n("socket_subscriptions", &l.SocketSubscriptions, d.SocketSubscriptions),
		n("filters", &l.Filters, d.Filters), n("filters_per_address", &l.FiltersPerAddress, d.FiltersPerAddress),
		t("filter_life", &l.FilterLife, d.FilterLife),
		n("log_blocks", &l.LogBlocks, d.LogBlocks), n("log_results", &l.LogResults, d.LogResults),
		n("history_page", &l.HistoryPage, d.HistoryPage), n("pool_content", &l.PoolContent, d.PoolContent),
	}
}

// withDefaults fills the zeros.
func (l Limits) withDefaults() Limits {
	if l.Heavy == 0 { // consensus has a processor, whatever is asked
		l.Heavy = max(1, runtime.GOMAXPROCS(0)-1)
	}
	for _, x := range l.all() {
		if x.value != nil && *x.value == 0 {
			*x.value = x.initial
		}
		if x.duration != nil && *x.duration == 0 {
			*x.duration = x.initialFor
		}
	}
	return l
}

// Validate says which limit is negative.
func (l Limits) Validate() error {
	for _, x := range l.all() {
		if x.value != nil && *x.value < 0 || x.duration != nil && *x.duration < 0 {
			return fmt.Errorf("rpc.limits.%s: must not be negative", x.name)
		}
	}
	return nil
}
