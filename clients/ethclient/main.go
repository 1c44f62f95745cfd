// Command ethclient tries go-ethereum's own client against the two networks
// that scripts/clients.sh names, and prints how many checks passed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// patience is the time of one check.
const patience = 30 * time.Second

// expected is how many checks there are on both networks.
const expected = 2 * 14

// suite counts checks and prints what fails.
type suite struct {
	name           string
	passed, failed int
}

func (s *suite) check(title string, body func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := body(ctx); err != nil {
		s.failed++
		fmt.Fprintf(os.Stderr, "FAIL %s: %s\n%v\n", s.name, title, err)
		return
	}
	s.passed++
}

func main() {
	s := &suite{name: "ethclient " + version()}
	for _, kind := range []string{"fees", "free"} {
		if err := run(s, kind); err != nil {
			fmt.Fprintf(os.Stderr, "ethclient: %s: %v; run this with scripts/clients.sh\n", kind, err)
			os.Exit(1)
		}
	}
	if n := s.passed + s.failed; n != expected {
		fmt.Fprintf(os.Stderr, "FAIL %s: %d checks were made, not %d\n", s.name, n, expected)
		s.failed++
	}
	fmt.Printf("%s: %d passed, %d failed\n", s.name, s.passed, s.failed)
	if s.failed > 0 {
		os.Exit(1)
	}
}

// version is that of go-ethereum in this program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/ethereum/go-ethereum" {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "of go.mod"
}

// run connects to a network over HTTP and WebSocket and makes all checks.
func run(s *suite, kind string) error {
	upper := strings.ToUpper(kind)
	url, dir := os.Getenv("CLIENTS_"+upper+"_RPC"), os.Getenv("CLIENTS_"+upper+"_DIR")
	raw, err := os.ReadFile(filepath.Join(dir, "accounts.json"))
	if err != nil {
		return err
	}
	var accounts []struct {
		PrivateKey string `json:"privateKey"`
	}
	if err := json.Unmarshal(raw, &accounts); err != nil {
		return err
	}
	const mine = 8 // of the accounts: each suite has its own
	if len(accounts) <= mine {
		return errors.New("accounts.json has too few accounts")
	}
	key, err := crypto.HexToECDSA(strings.TrimPrefix(accounts[mine].PrivateKey, "0x"))
	if err != nil {
		return err
	}
	http, err := rpc.Dial(url)
	if err != nil {
		return err
	}
	defer http.Close()
	ws, err := rpc.Dial("ws" + strings.TrimPrefix(url, "http"))
	if err != nil {
		return err
	}
	defer ws.Close()
	n := newNetwork(kind, http, ws, key)
	for _, c := range n.checks() {
		s.check(kind+": "+c.title, c.body)
	}
	return nil
}
