package genesis

import (
	"crypto/ed25519"
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"cairn/crypto"
)

// developmentKeys holds one private key a line: ten accounts, then the
// validator. They are the accounts 0 to 10 of the mnemonic "test test test test
// test test test test test test test junk" at m/44'/60'/0'/0, which wallets and
// tools of the field know, and which nobody may trust with anything of value.
//
//go:embed development.keys
var developmentKeys string

//go:embed development.json
var developmentJSON []byte

const developmentAccounts = 10

var development = sync.OnceValue(func() (keys []*crypto.PrivateKey) {
	for line := range strings.Lines(developmentKeys) {
		key, err := crypto.ParsePrivateKey(strings.TrimSpace(line))
		if err != nil {
			panic(fmt.Sprintf("embedded development key: %v", err))
		}
		keys = append(keys, key)
	}
	return keys
})

// Development is the embedded development network: one validator and ten funded
// accounts whose keys everybody knows. Each call answers a new Spec.
func Development() *Spec {
	s, err := Parse(developmentJSON)
	if err != nil {
		panic(fmt.Sprintf("embedded development network: %v", err))
	}
	return s
}

// DevelopmentAccounts are the keys of the ten funded accounts.
func DevelopmentAccounts() []*crypto.PrivateKey {
	return append([]*crypto.PrivateKey(nil), development()[:developmentAccounts]...)
}

// DevelopmentValidator is the key of the development network's validator.
func DevelopmentValidator() *crypto.PrivateKey { return development()[developmentAccounts] }

// DevelopmentPeerKey is the libp2p key of the development network's validator.
func DevelopmentPeerKey() ed25519.PrivateKey {
	seed := crypto.Keccak256([]byte("cairn development peer key"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// IsDevelopmentKey says whether everybody knows the private key of the address.
// A node refuses such a validator key on an address that is not loopback.
func IsDevelopmentKey(a crypto.Address) bool {
	for _, k := range development() {
		if k.Address() == a {
			return true
		}
	}
	return false
}
