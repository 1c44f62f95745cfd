package node

import (
	"fmt"
	"net"
	"strings"

	"cairn/crypto"
	"cairn/genesis"
)

// refuseDevelopmentKeys keeps keys that everybody knows off open addresses.
func refuseDevelopmentKeys(cfg Config, spec *genesis.Spec, key *crypto.PrivateKey) error {
	open := openAddress(cfg)
	if open == "" || cfg.AllowDevelopmentKeys {
		return nil
	}
	if key != nil && genesis.IsDevelopmentKey(key.Address()) {
		return fmt.Errorf("%w: the validator key %s, on %s (make your own with cairnd key new, or force it with --allow-development-keys)", ErrDevelopmentKey, key.Address(), open)
	}
	for _, a := range spec.Alloc {
		if genesis.IsDevelopmentKey(a.Address) {
			return fmt.Errorf("%w: the genesis file funds account %s, on %s (fund your own accounts, or force it with --allow-development-keys)", ErrDevelopmentKey, a.Address, open)
		}
	}
	return nil
}

// openAddress is a listen address of the configuration that others than this
// machine can reach, or "".
func openAddress(cfg Config) string {
	for _, a := range cfg.P2P.Listen {
		part := strings.Split(a, "/")
		if len(part) < 3 || !loopback(part[2]) {
			return a
		}
	}
	if cfg.RPC.Listen != "" {
		if host, _, err := net.SplitHostPort(cfg.RPC.Listen); err != nil || !loopback(host) {
			return cfg.RPC.Listen
		}
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
