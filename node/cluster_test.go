package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/p2p"
)

// cluster is a network of whole nodes in this process: real libp2p on loopback,
// real Pebble on disk, everything but the process boundary.
type cluster struct {
	t     *testing.T
	spec  *genesis.Spec
	homes []string
	nodes []*runningNode
	ids   []string             // peer ids
	keys  []*crypto.PrivateKey // funded
	nonce map[crypto.Address]uint64
	tune  func(i int, cfg *Config) // changes what node i starts with; nil = nothing
}

type runningNode struct {
	*Node
	stop context.CancelFunc
	done chan error
}

func testKey(i byte) *crypto.PrivateKey {
	k, err := crypto.PrivateKeyFromBytes(append(make([]byte, 31), i))
	if err != nil {
		panic(err)
	}
	return k
}

// newCluster makes the homes of n validators and of extra full nodes; none runs
// yet.
func newCluster(t *testing.T, n, extra int, change func(*genesis.Spec)) *cluster {
	t.Helper()
	c := &cluster{t: t, nonce: make(map[crypto.Address]uint64)}
	c.spec = &genesis.Spec{ChainID: 77, Name: "test", Timestamp: uint64(time.Now().UnixMilli()) - 60_000, Rules: genesis.DefaultRules()}
	c.spec.Rules.Heartbeat, c.spec.Rules.Delta, c.spec.Rules.DeltaMax = 0, 100, 500
	for i := range 4 {
		k := testKey(byte(100 + i))
		c.keys = append(c.keys, k)
		c.spec.Alloc = append(c.spec.Alloc, genesis.Allocation{Address: k.Address(), Balance: uint256.MustFromDecimal("1000000000000000000000000")})
	}
	for i := range n + extra { // members, and who may become one, can pay for registry calls
		c.spec.Alloc = append(c.spec.Alloc, genesis.Allocation{Address: testKey(byte(i + 1)).Address(), Balance: uint256.MustFromDecimal("1000000000000000000000000")})
	}
	for i := range n + extra {
		home := t.TempDir()
		c.homes = append(c.homes, home)
		peerKey, err := p2p.LoadOrCreateKey(filepath.Join(home, PeerKeyFile))
		if err != nil {
			t.Fatal(err)
		}
		id, err := p2p.PeerID(peerKey)
		if err != nil {
			t.Fatal(err)
		}
		c.ids = append(c.ids, id.String())
		key := testKey(byte(i + 1))
		if err := BeginKey(home, key.Address()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ValidatorKeyFile), []byte(fmt.Sprintf("%x\n", key.Bytes())), 0o600); err != nil {
			t.Fatal(err)
		}
		if i >= n {
			continue
		}
		c.spec.Validators = append(c.spec.Validators, genesis.Validator{Address: key.Address(), PeerID: id.String(), Name: fmt.Sprintf("node%d", i)})
	}
	if change != nil {
		change(c.spec)
	}
	if err := c.spec.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, home := range c.homes {
		if err := os.WriteFile(filepath.Join(home, GenesisFile), c.spec.Marshal(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.nodes = make([]*runningNode, len(c.homes))
	return c
}

// running is a network whose n validators run and know each other; the extra
// full nodes do not run yet.
func running(t *testing.T, n, extra int, change func(*genesis.Spec)) *cluster {
	t.Helper()
	c := newCluster(t, n, extra, change)
	c.startFirst(n)
	return c
}

// one is a network of one validator with a few blocks.
func one(t *testing.T, blocks int, change func(*genesis.Spec)) *cluster {
	t.Helper()
	c := running(t, 1, 0, change)
	for range blocks {
		c.pay(0, 0, 0)
	}
	return c
}

// startFirst runs the first n nodes and waits until they know each other.
func (c *cluster) startFirst(n int) {
	c.t.Helper()
	for i := range n {
		c.start(i)
	}
	c.connected(n - 1)
}

// start runs node i with the addresses of those that run as bootnodes.
func (c *cluster) start(i int) {
	c.t.Helper()
	if err := c.tryStart(i); err != nil {
		c.t.Fatalf("node %d: %v", i, err)
	}
	c.t.Cleanup(func() { c.stop(i) })
}

// config is that of node i with ports from the kernel; its bootnode is one that
// runs.
func (c *cluster) config(i int) Config {
	cfg := DefaultConfig(c.homes[i])
	cfg.P2P.Listen, cfg.P2P.MDNS = []string{"/ip4/127.0.0.1/tcp/0"}, false
	cfg.RPC.Listen, cfg.Store.CacheMiB = "127.0.0.1:0", 8
	for _, other := range c.nodes {
		if other != nil {
			cfg.P2P.Bootnodes = append(cfg.P2P.Bootnodes, other.Addrs()[0])
			break
		}
	}
	return cfg
}

// tryStart is start for a node that may refuse.
func (c *cluster) tryStart(i int) error {
	cfg := c.config(i)
	if c.tune != nil {
		c.tune(i, &cfg)
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
	}
	n, err := Open(cfg, log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &runningNode{Node: n, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- n.Run(ctx) }()
	select {
	case <-n.driver.started:
	case err := <-r.done:
		stop()
		return errors.Join(err, n.Close())
	}
	c.nodes[i] = r
	return nil
}

// stop ends node i cleanly.
func (c *cluster) stop(i int) {
	if err := c.end(i); err != nil {
		c.t.Errorf("node %d: %v", i, err)
	}
}

// end is stop for a node that may have failed.
func (c *cluster) end(i int) error {
	r := c.nodes[i]
	if r == nil {
		return nil
	}
	c.nodes[i] = nil
	r.stop()
	return errors.Join(<-r.done, r.Close())
}

// patience is how long a test waits for what must come: a busy machine is no
// fault.
const patience = time.Minute

func (c *cluster) await(what string, check func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !check() {
		if time.Now().After(deadline) {
			for i, r := range c.nodes {
				if r != nil {
					c.t.Logf("node %d: %+v", i, r.Status())
				}
			}
			c.t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond) // between two looks at a state, with a deadline
	}
}

func (c *cluster) connected(want int) {
	c.t.Helper()
	for i, r := range c.nodes {
		if r != nil {
			c.await(fmt.Sprintf("node %d has %d peers", i, want), func() bool { return r.Status().Peers >= want })
		}
	}
}

// transfer signs the next transfer of funded account k.
func (c *cluster) transfer(k int, to crypto.Address) *types.Transaction {
	c.t.Helper()
	return c.sign(c.keys[k], to, 1, 21_000, nil)
}

// sign signs the next transaction of a funded key.
func (c *cluster) sign(key *crypto.PrivateKey, to crypto.Address, wei int64, gas uint64, data []byte) *types.Transaction {
	c.t.Helper()
	nonce := c.nonce[key.Address()]
	c.nonce[key.Address()]++
	return c.signAs(key, &types.DynamicFeeTx{
		Nonce: nonce, To: &to, Value: big.NewInt(wei), Gas: gas, Data: data,
		GasFeeCap: big.NewInt(10_000_000_000), GasTipCap: big.NewInt(1),
	})
}

// signAs signs a transaction of this chain as it stands.
func (c *cluster) signAs(key *crypto.PrivateKey, of *types.DynamicFeeTx) *types.Transaction {
	c.t.Helper()
	of.ChainID = new(big.Int).SetUint64(c.spec.ChainID)
	signer, tx := types.LatestSignerForChainID(of.ChainID), types.NewTx(of)
	sig := key.Sign(signer.Hash(tx))
	tx, err := tx.WithSignature(signer, sig[:])
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

// pay submits a transfer through node i and waits until the nodes at have it
// final.
func (c *cluster) pay(i, k int, at ...int) {
	c.t.Helper()
	c.submit(i, c.transfer(k, crypto.Address{19: 9}), at...)
}

// submit hands a transaction to node i and waits until the nodes at have it
// final.
func (c *cluster) submit(i int, tx *types.Transaction, at ...int) {
	c.t.Helper()
	if err := c.nodes[i].driver.submit(context.Background(), tx); err != nil {
		c.t.Fatal(err)
	}
	for _, j := range at {
		c.await(fmt.Sprintf("node %d has transfer %s", j, tx.Hash()), func() bool { return c.final(j, tx) })
	}
}

// final says whether node i has a transaction final.
func (c *cluster) final(i int, tx *types.Transaction) bool {
	_, _, _, _, err := c.nodes[i].driver.ledger.Transaction(tx.Hash())
	return err == nil
}

func (c *cluster) height(i int) uint64 { return c.nodes[i].driver.ledger.HeadInfo().Height }

// own runs do on the owner goroutine of node i and waits for it.
func (c *cluster) own(i int, do func(d *driver)) {
	c.t.Helper()
	d, done := c.nodes[i].driver, make(chan struct{})
	if !d.deliver(c.t.Context(), func() { defer close(done); do(d) }) {
		c.t.Fatal("the driver takes nothing")
	}
	select {
	case <-done:
	case <-time.After(patience):
		c.t.Fatalf("the driver did not come to it within %s", patience)
	}
}

// sameChain compares the blocks of all running nodes up to the lowest head.
func (c *cluster) sameChain() {
	c.t.Helper()
	var first *runningNode
	for i, r := range c.nodes {
		if r == nil {
			continue
		}
		if first == nil {
			first = r
			continue
		}
		for h := uint64(0); h <= min(first.driver.ledger.HeadInfo().Height, r.driver.ledger.HeadInfo().Height); h++ {
			a, err := first.driver.ledger.HashByHeight(h)
			if err != nil {
				c.t.Fatal(err)
			}
			b, err := r.driver.ledger.HashByHeight(h)
			if err != nil {
				c.t.Fatal(err)
			}
			if a != b {
				c.t.Fatalf("height %d: %s, on node %d %s", h, a, i, b)
			}
		}
	}
}

// TestFourValidators: transfers through every node are final on all, also while
// one is down; it catches up when it is back, and is needed at once.
func TestFourValidators(t *testing.T) {
	t.Parallel()
	c := running(t, 4, 0, nil)
	for i := range 4 {
		c.pay(i, i, 0, 1, 2, 3)
	}
	c.stop(3)
	for i := range 6 {
		c.pay(i%3, i%4, 0, 1, 2)
	}
	c.start(3)
	c.await("node 3 has caught up", func() bool { return c.height(3) == c.height(0) })
	c.stop(1)
	c.pay(3, 0, 0, 2, 3)
	c.sameChain()
}

// TestFarBehind: a validator and a full node that missed more blocks than
// consensus walks back sync ranges and then follow.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, 1, func(s *genesis.Spec) { s.Rules.MinBlockInterval = 1 })
	c.startFirst(3)
	for i := range 4 * behindLimit {
		c.pay(i%3, i%4, 0)
	}
	c.start(3)
	c.start(4)
	for i := 3; i <= 4; i++ {
		c.await(fmt.Sprintf("node %d has caught up", i), func() bool { return c.height(i) == c.height(0) })
	}
	c.pay(4, 0, 0, 1, 2, 3, 4)
	c.sameChain()
	if s := c.nodes[4].Status(); s.Role != "full" || s.Voting || s.Syncing || !s.Healthy {
		t.Errorf("status of the full node: %+v", s)
	}
}

// TestAllRestart: the whole network stops and comes back at the same head with
// its waiting transactions, and goes on.
func TestAllRestart(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c := running(t, n, 0, nil)
			c.pay(0, 0, 0)
			before := c.height(0)
			// With the others gone, a transfer waits, on disk too.
			for i := 1; i < n; i++ {
				c.stop(i)
			}
			tx := c.transfer(1, crypto.Address{19: 1})
			c.submit(0, tx)
			c.stop(0)
			for i := range n {
				c.start(i)
			}
			if h := c.height(0); h < before {
				t.Fatalf("height %d before the restart, %d after", before, h)
			}
			for i := range n {
				c.await("the waiting transfer is final", func() bool { return c.final(i, tx) })
			}
			c.sameChain()
		})
	}
}

// TestRefusals: what keeps a node from starting, each with its reason.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := one(t, 0, nil)
	cfg := c.config(0)
	open := func(change func(*Config)) error {
		t.Helper()
		other := cfg
		change(&other)
		n, err := Open(other, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = n.Close()
		}
		return err
	}
	for _, tc := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"locked", string(ErrLocked), func(*Config) {}},
		{"no genesis", string(ErrNoGenesis), func(c *Config) { c.Home = t.TempDir() }},
		{"no listen address", "p2p.listen", func(c *Config) { c.P2P.Listen = nil }},
		{"bad level", "log.level", func(c *Config) { c.Log.Level = "loud" }},
		{"bad format", "log.format", func(c *Config) { c.Log.Format = "xml" }},
		{"bad rpc address", "rpc.listen", func(c *Config) { c.RPC.Listen = "8545" }},
		{"bad cache", "store.cache_mib", func(c *Config) { c.Store.CacheMiB = 1 }},
		{"no peers allowed", "p2p.max_peers", func(c *Config) { c.P2P.MaxPeers = 0 }},
		{"damaged genesis", "genesis.json", func(c *Config) {
			c.Home = t.TempDir()
			write(t, filepath.Join(c.Home, GenesisFile), "{}")
		}},
		{"damaged validator key", "validator.key", func(cfg *Config) {
			cfg.Home = t.TempDir()
			write(t, filepath.Join(cfg.Home, GenesisFile), string(c.spec.Marshal()))
			write(t, filepath.Join(cfg.Home, ValidatorKeyFile), "zz")
		}},
		{"development keys on an open address", string(ErrDevelopmentKey), func(cfg *Config) {
			cfg.Home = t.TempDir()
			write(t, filepath.Join(cfg.Home, GenesisFile), string(genesis.Development().Marshal()))
			cfg.P2P.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
		}},
		{"another network's data", "genesis", func(cfg *Config) {
			cfg.Home = t.TempDir()
			for _, id := range []uint64{78, 79} {
				other := *c.spec
				other.ChainID = id
				if err := os.WriteFile(filepath.Join(cfg.Home, GenesisFile), other.Marshal(), 0o600); err != nil {
					t.Fatal(err)
				}
				if id == 78 {
					if err := open(func(o *Config) { o.Home = cfg.Home }); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
	} {
		if err := open(tc.change); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one that says %q", tc.name, err, tc.want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNoEmptyBlocks: a burst of transfers is not followed by a block without
// any.
func TestNoEmptyBlocks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			// A block that is not final in time counts as work again: here it has time.
			c := running(t, n, 0, func(s *genesis.Spec) { s.Rules.Delta, s.Rules.DeltaMax = 5000, 5000 })
			for i := range 8 {
				c.pay(i%n, i%4, 0)
			}
			empty := 0
			for h := uint64(1); h <= c.height(0); h++ {
				b, err := c.nodes[0].driver.ledger.BlockByHeight(h)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Transactions()) == 0 {
					empty++
				}
			}
			if empty > 1 { // a view that failed may leave one
				t.Errorf("%d of %d blocks are empty", empty, c.height(0))
			}
		})
	}
}
