// Package cairn holds the tests of the repository as a whole.
package cairn

import (
	"os/exec"
	"strings"
	"testing"
)

// arrows says what a package may import of ours, and why no more. A package that
// is not listed may not exist.
var arrows = map[string]struct {
	may []string
	why string
}{
	"cairn/internal/randtest":        {nil, "a seed is only a number"},
	"cairn/crypto":                   {nil, "crypto stands below everything"},
	"cairn/genesis":                  {[]string{"cairn/crypto"}, "genesis is data: block 0 is made in ledger/chain"},
	"cairn/consensus":                {[]string{"cairn/crypto", "cairn/consensus/internal/fault"}, "to consensus a block is a hash: the driver in node talks to the ledger"},
	"cairn/consensus/internal/fault": {nil, "a planted fault is only a number"},
	"cairn/consensus/sim":            {[]string{"cairn/crypto", "cairn/consensus", "cairn/consensus/internal/fault"}, "the simulator drives the core alone"},
	"cairn/consensus/sim/cmd/sim":    {[]string{"cairn/consensus/sim", "cairn/consensus/internal/fault"}, "the program only reads flags"},
	"cairn/ledger/trie":              {[]string{"cairn/crypto"}, "the trie is pure"},
	"cairn/ledger/chain":             {[]string{"cairn/crypto", "cairn/genesis", "cairn/ledger/trie"}, "execution is pure: state comes in through Reader"},
	"cairn/ledger/pool":              {[]string{"cairn/crypto", "cairn/genesis", "cairn/ledger/chain"}, "the pool does no I/O"},
	"cairn/ledger/store":             {[]string{"cairn/crypto", "cairn/genesis", "cairn/ledger/trie", "cairn/ledger/chain"}, "the store knows neither consensus nor network"},
	"cairn/ledger/snapshot":          {[]string{"cairn/crypto", "cairn/genesis", "cairn/ledger/trie", "cairn/ledger/chain", "cairn/ledger/store"}, "a snapshot is ranges and proofs: node asks peers for them and verifies the target"},
	"cairn/ledger":                   {[]string{"cairn/crypto", "cairn/genesis", "cairn/ledger/trie", "cairn/ledger/chain", "cairn/ledger/pool", "cairn/ledger/store", "cairn/ledger/snapshot"}, "a finalization is opaque bytes to the ledger: node checks it"},
	"cairn/ledger/store/storetest":   {nil, "a file system for tests"},
	"cairn/light":                    {[]string{"cairn/crypto", "cairn/genesis", "cairn/consensus", "cairn/ledger/trie", "cairn/ledger/chain"}, "a light client has no ledger: everything is a function of what it is shown"},
	"cairn/light/lighttest":          {[]string{"*"}, ""},
	"cairn/p2p":                      {[]string{"cairn/crypto"}, "p2p moves bytes: validation is a callback"},
	"cairn/node/rpc":                 {[]string{"cairn/crypto", "cairn/genesis", "cairn/consensus", "cairn/ledger", "cairn/ledger/chain", "cairn/ledger/pool", "cairn/ledger/store"}, "JSON-RPC answers from the ledger and the pool; node hands it the rest"},
	"cairn/node/fetch":               {nil, "what is asked for is nothing to who asks"},
	"cairn/node/fetch/fetchtest":     {nil, "peers for tests answer what they are given"},
	"cairn/node/blocksync":           {[]string{"cairn/crypto", "cairn/genesis", "cairn/consensus", "cairn/ledger", "cairn/ledger/chain", "cairn/light", "cairn/node/fetch"}, "block sync verifies and hands on: node reaches peers and applies"},
	"cairn/node/statesync":           {[]string{"cairn/crypto", "cairn/genesis", "cairn/consensus", "cairn/ledger", "cairn/ledger/chain", "cairn/ledger/snapshot", "cairn/ledger/store", "cairn/light", "cairn/node/blocksync", "cairn/node/fetch"}, "a snapshot is moved without the node's parts: node switches over to it"},
	"cairn/node/archive":             {[]string{"cairn/crypto", "cairn/consensus", "cairn/ledger", "cairn/ledger/chain", "cairn/ledger/store"}, "a stream of blocks is checked and applied without a network"},
	"cairn/node":                     {[]string{"*"}, ""},
	"cairn/wallet":                   {[]string{"cairn/crypto", "cairn/genesis", "cairn/light", "cairn/ledger/chain"}, "the wallet speaks JSON-RPC and checks proofs itself; of the ledger it needs the registry's ABI"},
	"cairn/wallet/wallettest":        {[]string{"*"}, ""},
	"cairn/cmd/internal/args":        {nil, "flags know nothing of the ledger"},
	"cairn/cmd/cairn":                {[]string{"cairn/crypto", "cairn/genesis", "cairn/wallet", "cairn/cmd/internal/args", "cairn/cmd/internal/output"}, "a wallet has no database and no peers"},
	"cairn/cmd/cairnd":               {[]string{"*"}, ""},
	"cairn/scripts/internal/testnet": {[]string{"cairn/crypto"}, "it drives real processes through the script and JSON-RPC"},
	"cairn/scripts/internal/load":    {[]string{"cairn/crypto", "cairn/scripts/internal/testnet"}, "a load is sent through JSON-RPC"},
	"cairn/scripts/bench":            {[]string{"cairn/crypto", "cairn/scripts/internal/load", "cairn/scripts/internal/testnet"}, "a benchmark drives real processes through JSON-RPC"},
	"cairn/scripts/benchsync":        {[]string{"cairn/crypto", "cairn/scripts/internal/load", "cairn/scripts/internal/testnet"}, "a benchmark drives real processes through JSON-RPC"},
	"cairn/scripts/benchrpc":         {[]string{"cairn/crypto", "cairn/scripts/internal/load", "cairn/scripts/internal/testnet"}, "a benchmark drives real processes through JSON-RPC"},
	"cairn/clients/ethclient":        {nil, "a client that people have knows nothing of ours"},
	"cairn/scripts/chaos":            {[]string{"cairn/crypto", "cairn/scripts/internal/testnet"}, "faults happen to real processes, and are judged through JSON-RPC"},
}

// TestImports holds the import table of ARCHITECTURE.md.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if pkg == "cairn" || strings.HasPrefix(pkg, "cairn/scripts/e2e") {
			continue
		}
		rule, ok := arrows[pkg]
		if !ok {
			t.Errorf("%s is not in the import table: say in imports_test.go what it may import and why", pkg)
			continue
		}
		for _, dep := range strings.Fields(imports) {
			if strings.HasPrefix(dep, "cairn/") && !allowed(rule.may, dep) {
				t.Errorf("%s imports %s, but %s", pkg, dep, rule.why)
			}
			inMemory := (pkg == "cairn/light/lighttest" || pkg == "cairn/ledger/store/storetest") && strings.HasSuffix(dep, "/vfs") // a disk for tests
			if strings.HasPrefix(dep, "github.com/cockroachdb/pebble") && pkg != "cairn/ledger/store" && !inMemory {
				t.Errorf("%s imports Pebble, but ledger/store is the only one that does: use its methods", pkg)
			}
		}
	}
}

func allowed(may []string, dep string) bool {
	for _, m := range may {
		if m == "*" || m == dep {
			return true
		}
	}
	return false
}

// TestWalletIsLight: the wallet's program carries no database, no peer-to-peer
// stack and no node.
func TestWalletIsLight(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "./cmd/cairn").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		dep := strings.TrimSpace(line)
		for _, heavy := range []string{"github.com/cockroachdb/pebble", "github.com/libp2p/", "cairn/node", "cairn/ledger/store", "cairn/p2p"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("cmd/cairn depends on %s", dep)
			}
		}
	}
}
