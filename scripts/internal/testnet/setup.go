package testnet

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"cairn/crypto"
)

// Setup is a network's directory as `cairnd testnet init` makes it, for drivers
// that start the processes themselves.
type Setup struct {
	ChainID     uint64      `json:"chainId"`
	GenesisHash crypto.Hash `json:"genesisHash"`
	RPCBase     int         `json:"rpcBase"` // node i answers on RPCBase+i
	P2PBase     int         `json:"p2pBase"`
	Validators  int         `json:"validators"` // node0 to node(n−1)
	Accounts    []Account   `json:"-"`          // ten, funded
}

// Init makes a network of n validators in dir, on free ports of loopback.
func Init(ctx context.Context, cairnd, dir string, n int) error {
	base, err := freePorts(2 * n)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, cairnd, "testnet", "init", "--dir", dir, "-n", strconv.Itoa(n),
		"--rpc-base", strconv.Itoa(base), "--p2p-base", strconv.Itoa(base+2*n))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s testnet init: %w\n%s", cairnd, err, out)
	}
	return nil
}

// OpenSetup reads the directory of a network.
func OpenSetup(dir string) (*Setup, error) {
	var s Setup
	for name, v := range map[string]any{"testnet.json": &s, "accounts.json": &s.Accounts} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, v); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return &s, nil
}

// Key is the private key of development account i.
func (s *Setup) Key(i int) (*crypto.PrivateKey, error) {
	return crypto.ParsePrivateKey(s.Accounts[i].PrivateKey)
}
