package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holiman/uint256"
	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/node"
	"cairn/wallet"
)

// A testnet is a directory of node homes on one machine:
//
//	testnet.json     what the network is (testnet below); written last
//	genesis.json
//	accounts.json    the ten funded development accounts with their keys
//	node0/, …        homes; node i listens on rpcBase+i and p2pBase+i
//	node0/cairnd.pid, node0/cairnd.log   written by scripts/testnet.sh
const (
	testnetFile  = "testnet.json"
	accountsFile = "accounts.json"
	pidFile      = "cairnd.pid"

	maxTestnetNodes = 100
	testnetFormat   = 1
)

// testnet is what testnet.json holds.
type testnet struct {
	Format      int         `json:"format"`
	ChainID     uint64      `json:"chainId"`
	GenesisHash crypto.Hash `json:"genesisHash"`
	RPCBase     int         `json:"rpcBase"`
	P2PBase     int         `json:"p2pBase"`
	Validators  int         `json:"validators"` // node0 to node(n−1)

	dir string
}

// testnetAccount is one entry of accounts.json.
type testnetAccount struct {
	Address    string `json:"address"`
	PrivateKey string `json:"privateKey"`
}

func testnetCommand() *cli.Command {
	dir := &cli.StringFlag{Name: "dir", Usage: "`DIR` of the network", Value: ".testnet"}
	flags := func(more ...cli.Flag) []cli.Flag { return append([]cli.Flag{homeFlag(), dir}, more...) }
	return &cli.Command{
		Name:  "testnet",
		Usage: "private networks on one machine; scripts/testnet.sh drives these",
		Subcommands: []*cli.Command{
			{
				Name:  "init",
				Usage: "make keys, genesis and homes of a network on loopback",
				Flags: flags(append([]cli.Flag{
					&cli.IntFlag{Name: "n", Usage: "number of validators", Value: 4},
					&cli.IntFlag{Name: "rpc-base", Usage: "`PORT` of node0's JSON-RPC; node i has PORT+i", Value: 8545},
					&cli.IntFlag{Name: "p2p-base", Usage: "`PORT` of node0's peers; node i has PORT+i", Value: 30303},
					&cli.BoolFlag{Name: "check-ports", Usage: "refuse ports that are in use now"},
					&cli.BoolFlag{Name: "resume", Usage: "a network that is there is fine, unless it was made with other flags"},
				}, networkFlags()...)...),
				Action: testnetInit,
			},
			{
				Name:   "add",
				Usage:  "make the home of one more node, which is no validator, and print its name",
				Flags:  flags(),
				Action: testnetAdd,
			},
			{
				Name:      "ports",
				Usage:     "check that the ports of nodes that do not run are free",
				ArgsUsage: "[NAME...]",
				Flags:     flags(),
				Action:    testnetPorts,
			},
			{
				Name:      "wait",
				Usage:     "wait until nodes are there; an error if one of them ends",
				ArgsUsage: "[NAME...]",
				Flags: flags(
					&cli.StringFlag{Name: "until", Usage: "`STATE`: rpc (it answers), synced (at the height of the others) or ready (all connected and a block final)", Value: "ready"},
					&cli.DurationFlag{Name: "timeout", Usage: "give up after this time", Value: time.Minute},
				),
				Action: testnetWait,
			},
			{
				Name:   "status",
				Usage:  "show the network, its nodes and its accounts",
				Flags:  flags(jsonFlag()),
				Action: testnetStatus,
			},
		},
	}
}

func testnetInit(c *cli.Context) error {
	dir, n := c.String("dir"), c.Int("n")
	t := &testnet{Format: testnetFormat, RPCBase: c.Int("rpc-base"), P2PBase: c.Int("p2p-base"), Validators: n}
	if n < 1 || n > maxTestnetNodes {
		return args.Usagef("-n %d: want 1 to %d validators", n, maxTestnetNodes)
	}
	if err := t.checkBases(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, testnetFile)); err == nil && c.Bool("resume") {
		return resumable(c, dir)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name another directory with --dir", dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if c.Bool("check-ports") {
		for i := range n {
			if err := t.portsFree(i); err != nil {
				return err
			}
		}
	}
	s, err := networkFromFlags(c)
	if err != nil {
		return err
	}
	// Everything is made beside dir and then renamed, so that an interrupted
	// init leaves no half network behind.
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	t.dir, err = os.MkdirTemp(parent, ".testnet-new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	if err := t.make(s); err != nil {
		return err
	}
	_ = os.Remove(dir) // an empty directory may be there: mktemp -d makes one; any other stays
	if err := os.Rename(t.dir, dir); err != nil {
		return fmt.Errorf("move the new network into place: %w", err)
	}
	fmt.Fprintf(c.App.Writer, "%s holds %d validators of chain id %d, genesis hash %s\n", dir, n, t.ChainID, t.GenesisHash)
	return nil
}

// resumable refuses flags that contradict the network that is there.
func resumable(c *cli.Context, dir string) error {
	t, err := openTestnet(dir)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		have uint64
	}{{"n", uint64(t.Validators)}, {"rpc-base", uint64(t.RPCBase)}, {"p2p-base", uint64(t.P2PBase)}, {"chain-id", t.ChainID}} {
		if c.IsSet(f.name) && fmt.Sprint(c.Value(f.name)) != strconv.FormatUint(f.have, 10) {
			return fmt.Errorf("%s was made with --%s %d, not %v: leave the flag out, delete the network with 'scripts/testnet.sh reset --dir %s', or name another directory", dir, f.name, f.have, c.Value(f.name), dir)
		}
	}
	return nil
}

// checkBases leaves room for nodes that are added later.
func (t *testnet) checkBases() error {
	const last = 65535 - 2*maxTestnetNodes
	for name, base := range map[string]int{"rpc-base": t.RPCBase, "p2p-base": t.P2PBase} {
		if base < 1 || base > last {
			return args.Usagef("--%s %d: want a port from 1 to %d", name, base, last)
		}
	}
	if d := t.RPCBase - t.P2PBase; d > -t.Validators && d < t.Validators {
		return args.Usagef("--rpc-base %d and --p2p-base %d: the ports of %d nodes overlap", t.RPCBase, t.P2PBase, t.Validators)
	}
	return nil
}

// make fills the directory through what an operator would run: key new, key
// show, genesis new, init.
func (t *testnet) make(s *genesis.Spec) error {
	peers := make([]string, t.Validators)
	for i := range t.Validators {
		name := nodeName(i)
		key, peerID, err := newIdentity(t.home(name), "", wallet.KDF{})
		if err != nil {
			return err
		}
		v, err := candidate(key, peerID, name)
		if err != nil {
			return err
		}
		s.Validators = append(s.Validators, v.Validator)
		peers[i] = peerID
	}
	// The first block comes at once: block 0 is as old as the heartbeat.
	s.Timestamp = uint64(time.Now().UnixMilli()) - s.Rules.Heartbeat
	var err error
	if s.Alloc, err = t.makeAccounts(); err != nil {
		return err
	}
	raw, hash, err := encodeGenesis(s)
	if err != nil {
		return err
	}
	t.ChainID, t.GenesisHash = s.ChainID, hash
	if err := writeNew(filepath.Join(t.dir, node.GenesisFile), raw, 0o644); err != nil {
		return err
	}
	for i := range t.Validators {
		if err := installNetwork(t.home(nodeName(i)), s, hash, t.nodeConfig(i, peers)); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(t.dir, testnetFile), t, 0o644)
}

func (t *testnet) makeAccounts() ([]genesis.Allocation, error) {
	million, _ := uint256.FromDecimal("1000000000000000000000000") // coins, in wei
	var alloc []genesis.Allocation
	var accounts []testnetAccount
	for _, key := range genesis.DevelopmentAccounts() {
		alloc = append(alloc, genesis.Allocation{Address: key.Address(), Balance: new(uint256.Int).Mul(million, uint256.NewInt(10))})
		accounts = append(accounts, testnetAccount{key.Address().Hex(), "0x" + hex.EncodeToString(key.Bytes())})
	}
	return alloc, writeJSON(filepath.Join(t.dir, accountsFile), accounts, 0o600)
}

func writeJSON(path string, v any, mode os.FileMode) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeNew(path, append(raw, '\n'), mode)
}

// nodeConfig is loopback only. node0 and node1 are everyone's bootnodes, so that
// a node starts while one of them is down; the rest is discovered.
func (t *testnet) nodeConfig(i int, peers []string) node.Config {
	cfg := node.DefaultConfig(t.home(nodeName(i)))
	cfg.P2P.Listen = []string{
		fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", t.P2PBase+i),
		fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", t.P2PBase+i),
	}
	cfg.P2P.MDNS = false // two networks on one machine do not meet anyway
	for b, peerID := range peers[:min(2, len(peers))] {
		if b != i {
			cfg.P2P.Bootnodes = append(cfg.P2P.Bootnodes, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", t.P2PBase+b, peerID))
		}
	}
	cfg.RPC.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(t.RPCBase+i))
	cfg.RPC.CORS = []string{"*"}
	cfg.Metrics.Listen = "127.0.0.1:0" // the log tells the port; the two bases are the only fixed ones
	return cfg
}

func openTestnet(dir string) (*testnet, error) {
	raw, err := readLimited(filepath.Join(dir, testnetFile), 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no testnet: make one with 'scripts/testnet.sh up --dir %s'", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	t := &testnet{dir: dir}
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, testnetFile), err)
	}
	if t.Format != testnetFormat {
		return nil, fmt.Errorf("%s: format %d, this program knows %d", filepath.Join(dir, testnetFile), t.Format, testnetFormat)
	}
	return t, nil
}

func nodeName(i int) string { return "node" + strconv.Itoa(i) }

func (t *testnet) home(name string) string { return filepath.Join(t.dir, name) }

// nodes are the numbers of the nodes that have a home, in order. A home is
// complete when it has its configuration, which is written last.
func (t *testnet) nodes() (out []int) {
	for i := range 2 * maxTestnetNodes {
		if _, err := os.Stat(filepath.Join(t.home(nodeName(i)), node.ConfigFile)); err == nil {
			out = append(out, i)
		}
	}
	return out
}

// pick turns names into numbers; no names are all nodes.
func (t *testnet) pick(names []string) ([]int, error) {
	all := t.nodes()
	if len(names) == 0 {
		return all, nil
	}
	var out []int
	for _, name := range names {
		found := false
		for _, i := range all {
			if nodeName(i) == name {
				out, found = append(out, i), true
			}
		}
		if !found {
			known := make([]string, len(all))
			for j, i := range all {
				known[j] = nodeName(i)
			}
			return nil, fmt.Errorf("no node %q in %s: it has %s", name, t.dir, strings.Join(known, ", "))
		}
	}
	return out, nil
}

func testnetAdd(c *cli.Context) error {
	t, err := openTestnet(c.String("dir"))
	if err != nil {
		return err
	}
	all := t.nodes()
	if len(all) == 0 {
		return fmt.Errorf("%s has no node to join", t.dir)
	}
	i := all[len(all)-1] + 1
	if i >= 2*maxTestnetNodes {
		return fmt.Errorf("%s has %d nodes already", t.dir, len(all))
	}
	if d := t.RPCBase - t.P2PBase; d >= -i && d <= i {
		return fmt.Errorf("no ports are left for %s: --rpc-base %d and --p2p-base %d are too close", nodeName(i), t.RPCBase, t.P2PBase)
	}
	var peers []string
	for b := range min(2, t.Validators) {
		_, peerID, err := loadIdentity(t.home(nodeName(b)), "")
		if err != nil {
			return err
		}
		peers = append(peers, peerID)
	}
	s, hash, err := readGenesis(filepath.Join(t.dir, node.GenesisFile))
	if err != nil {
		return err
	}
	home := t.home(nodeName(i))
	if err := makeHome(home); err != nil {
		return err
	}
	if _, err := peerIdentity(filepath.Join(home, node.PeerKeyFile)); err != nil {
		return err
	}
	if err := installNetwork(home, s, hash, t.nodeConfig(i, peers)); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, nodeName(i))
	return nil
}

// testnetPorts names the first port that somebody else holds. A port that is
// free now can be taken a moment later; then the node itself says so.
func testnetPorts(c *cli.Context) error {
	t, err := openTestnet(c.String("dir"))
	if err != nil {
		return err
	}
	nodes, err := t.pick(c.Args().Slice())
	if err != nil {
		return err
	}
	for _, i := range nodes {
		if t.pid(nodeName(i)) != 0 {
			continue
		}
		if err := t.portsFree(i); err != nil {
			return err
		}
	}
	return nil
}

// portsFree names the first port of node i that somebody holds.
func (t *testnet) portsFree(i int) error {
	if err := portFree("tcp", t.RPCBase+i); err != nil {
		return fmt.Errorf("%s: RPC %w; another network? give this one its own --rpc-base", nodeName(i), err)
	}
	for _, network := range []string{"tcp", "udp"} {
		if err := portFree(network, t.P2PBase+i); err != nil {
			return fmt.Errorf("%s: peer-to-peer %w; another network? give this one its own --p2p-base", nodeName(i), err)
		}
	}
	return nil
}

func portFree(network string, port int) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var closer interface{ Close() error }
	var err error
	if network == "udp" {
		closer, err = net.ListenPacket(network, address)
	} else {
		closer, err = net.Listen(network, address)
	}
	if err != nil {
		return fmt.Errorf("port %d (%s) is taken: %w", port, network, err)
	}
	return closer.Close()
}
