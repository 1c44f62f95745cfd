//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/scripts/internal/testnet"
)

// changeLimit is how long a change of the validators may take, from the start of
// the last vote needed until every node has the new set and a block on top of it.
// It is a bound for liveness; what the changes took is logged.
const changeLimit = time.Minute

// electorate drives the validators of a network with bin/cairn, as its operators
// would. Node i is one validator or a full node; v0 to v6 are their accounts.
type electorate struct {
	*network
	keys    string // key store
	secret  string // password file
	genesis string
	address []crypto.Address
	peerID  []string
	members []int // sorted
	took    []time.Duration
}

// newElectorate starts n validators and as many full nodes as make total, gives
// each a validator key, an account in one key store, and coins.
func newElectorate(t *testing.T, n, total int) *electorate {
	t.Helper()
	dir := t.TempDir()
	w := startIn(t, dir, 20*time.Minute, n, total)
	e := &electorate{network: w, keys: t.TempDir(), secret: filepath.Join(t.TempDir(), "password"), genesis: filepath.Join(dir, "genesis.json")}
	if err := os.WriteFile(e.secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.tell)
	for range total - n {
		w.do("add")
	}
	var err error
	if w.Network, err = w.Status(w.ctx); err != nil {
		t.Fatal(err)
	}
	for i := range total {
		e.equip(i, i >= n)
	}
	for i := range n {
		e.members = append(e.members, i)
	}
	w.dial()
	for i := range total {
		w.pay(0, 0, e.address[i], 1e18, 0)
	}
	return e
}

// equip gives node i a validator key if it has none, and imports it.
func (e *electorate) equip(i int, full bool) {
	e.t.Helper()
	node, verb := e.Nodes[i], "show"
	if full {
		verb = "new"
	}
	var who struct {
		Address crypto.Address `json:"address"`
		PeerID  string         `json:"peerId"`
	}
	out := e.program("cairnd", "key", verb, "--home", node.Home, "--name", node.Name, "--json")
	if err := json.Unmarshal(out, &who); err != nil {
		e.t.Fatalf("key %s: %v in %s", verb, err, out)
	}
	e.address, e.peerID = append(e.address, who.Address), append(e.peerID, who.PeerID)
	e.program("cairn", "account", "import", fmt.Sprintf("v%d", i), "--kdf", "light", "--keystore", e.keys,
		"--private-key-file", filepath.Join(node.Home, "validator.key"), "--password-file", e.secret)
	if full { // the key is read at the start
		e.do("stop", node.Name)
		e.do("start", node.Name)
	}
}

// program runs one of the two binaries, which must succeed, and answers stdout.
func (e *electorate) program(name string, args ...string) []byte {
	e.t.Helper()
	out, errs, code := e.try(name, args...)
	if code != 0 {
		e.t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), code, errs)
	}
	return out
}

func (e *electorate) try(name string, args ...string) (stdout, stderr []byte, code int) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(testnet.Root(), "bin", name), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		e.t.Fatal(err)
	}
	return out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode()
}

// tell shows where every node is when a test fails.
func (e *electorate) tell() {
	if !e.t.Failed() {
		return
	}
	for i, n := range e.Nodes {
		out, errs, _ := e.try("cairn", "status", "--rpc", n.RPC)
		e.t.Logf("node%d\n%s%s", i, out, errs)
		log, err := os.ReadFile(filepath.Join(n.Home, "cairnd.log"))
		e.t.Logf("%s%v", log[max(0, len(log)-4000):], err)
	}
}

// cli runs a command of the wallet against node at, and answers its JSON. The
// receipts of what it sends are proven against the genesis file.
func (e *electorate) cli(at int, into any, args ...string) {
	e.t.Helper()
	args = append(args, "--rpc", e.Nodes[at].RPC, "--json")
	if args[0] == "validator" && args[1] != "list" && args[1] != "status" {
		args = append(args, "--keystore", e.keys, "--password-file", e.secret, "--genesis", e.genesis, "--timeout", "80s")
	}
	out := e.program("cairn", args...)
	if err := json.Unmarshal(out, into); err != nil {
		e.t.Fatalf("cairn %v: %v in %s", args, err, out)
	}
}

type votedJSON struct {
	Status   string `json:"status"`
	Enacted  bool   `json:"enacted"`
	Votes    int    `json:"votes"`
	Quorum   int    `json:"quorum"`
	Verified bool   `json:"verified"`
}

func (e *electorate) register(i int) {
	e.t.Helper()
	var done votedJSON
	e.cli(0, &done, "validator", "register", "v0", "--validator-key", filepath.Join(e.Nodes[i].Home, "validator.key"),
		"--peer-id", e.peerID[i], "--name", e.Nodes[i].Name)
	if done.Status != "final" || !done.Verified {
		e.t.Fatalf("register node%d: %+v", i, done)
	}
}

// change votes until node i is added or removed, and waits until every node is
// in the next epoch and has a block of it.
func (e *electorate) change(i int, add bool) {
	e.t.Helper()
	flag, members := "--remove", slices.DeleteFunc(slices.Clone(e.members), func(m int) bool { return m == i })
	if add {
		e.register(i)
		flag, members = "--add", append(slices.Clone(e.members), i)
		slices.Sort(members)
	}
	quorum := genesis.Quorum(len(e.members))
	var begun time.Time
	for k, voter := range e.members[:quorum] {
		begun = time.Now()
		var v votedJSON
		e.cli(0, &v, "validator", "vote", fmt.Sprintf("v%d", voter), e.address[i].Hex(), flag)
		if v.Status != "final" || v.Votes != k+1 || v.Quorum != quorum || v.Enacted != (k+1 == quorum) || !v.Verified {
			e.t.Fatalf("vote %d of %d by v%d: %+v", k+1, quorum, voter, v)
		}
	}
	e.members = members
	e.await(fmt.Sprintf("%d validators on every node", len(members)), changeLimit, func() (bool, error) {
		for _, c := range e.clients {
			var s struct {
				Validators int `json:"validators"`
			}
			if err := c.CallContext(e.ctx, &s, "cairn_status"); err != nil || s.Validators != len(members) {
				return false, err
			}
		}
		return true, nil
	})
	all := make([]int, len(e.Nodes))
	for i := range all {
		all[i] = i
	}
	e.pay(0, 8, recipient(77), 1, all...)
	e.inNewEpoch()
	took := time.Since(begun)
	e.took = append(e.took, took)
	e.t.Logf("%s node%d: %d validators after %s", flag[2:], i, len(members), took.Round(time.Millisecond))
	if took > changeLimit {
		e.t.Errorf("%s node%d took %s", flag[2:], i, took)
	}
}

// inNewEpoch checks that the last block of every node is of the epoch that runs.
func (e *electorate) inNewEpoch() {
	e.t.Helper()
	for i, c := range e.clients {
		var last, running struct {
			Epoch string `json:"epoch"`
		}
		if err := c.CallContext(e.ctx, &last, "cairn_validators", "latest"); err != nil {
			e.t.Fatal(err)
		}
		if err := c.CallContext(e.ctx, &running, "cairn_status"); err != nil {
			e.t.Fatal(err)
		}
		if last.Epoch != running.Epoch {
			e.t.Fatalf("the last block of node%d is of epoch %s, it is in epoch %s", i, last.Epoch, running.Epoch)
		}
	}
}

// load keeps sending transfers of some accounts, each waiting for its last one,
// until stop is called; then every one of them must be final everywhere.
type load struct {
	e      *electorate
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	hashes []crypto.Hash
}

func (e *electorate) load() *load {
	ctx, cancel := context.WithCancel(e.ctx)
	l := &load{e: e, cancel: cancel}
	e.t.Cleanup(func() { cancel(); l.wg.Wait() })
	for account := 1; account < 6; account++ {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			l.run(ctx, account)
		}()
	}
	return l
}

func (l *load) run(ctx context.Context, account int) {
	key, err := l.e.Key(account)
	if err != nil {
		l.e.t.Error(err)
		return
	}
	c := l.e.clients[account]
	for nonce := uint64(0); ctx.Err() == nil; {
		var last crypto.Hash
		for range 10 {
			tx, err := testnet.Transfer(l.e.chain, key, nonce, recipient(uint64(account)), big.NewInt(1))
			if err != nil {
				l.e.t.Error(err)
				return
			}
			if err := testnet.Send(l.e.ctx, c, tx); err != nil {
				l.e.t.Errorf("transfer %d of account %d: %v", nonce, account, err)
				return
			}
			nonce, last = nonce+1, tx.Hash()
			l.mu.Lock()
			l.hashes = append(l.hashes, last)
			l.mu.Unlock()
		}
		if err := testnet.Await(l.e.ctx, time.Minute, func() (bool, error) {
			var r map[string]any
			err := c.CallContext(l.e.ctx, &r, "eth_getTransactionReceipt", last)
			return r != nil, err
		}); err != nil {
			l.e.t.Errorf("account %d, nonce %d: %v", account, nonce-1, err)
			return
		}
	}
}

// stop ends the load and looks for every transfer on every node.
func (l *load) stop() {
	l.e.t.Helper()
	l.cancel()
	l.wg.Wait()
	for i, c := range l.e.clients {
		for _, hash := range l.hashes {
			l.e.await(fmt.Sprintf("transfer %s on node%d", hash, i), goesOn, func() (bool, error) {
				var r map[string]any
				err := c.CallContext(l.e.ctx, &r, "eth_getTransactionReceipt", hash)
				return r != nil, err
			})
		}
	}
	l.e.t.Logf("%d transfers during the changes, all final on all nodes", len(l.hashes))
}

// leader is the member whose view it is, as node at sees it.
func (e *electorate) leader(at int) int {
	e.t.Helper()
	var s struct {
		Leader string `json:"leader"`
	}
	e.cli(at, &s, "status")
	for i, n := range e.Nodes {
		if n.Name == s.Leader {
			return i
		}
	}
	e.t.Fatalf("the leader %q is no node", s.Leader)
	return -1
}

// TestValidatorChanges: one validator grows to four and to seven under load; the
// leader of the moment is removed; each of four is replaced; four shrink to one.
// No block and no transfer is lost, and who knows only the genesis file can still
// prove the outcome.
func TestValidatorChanges(t *testing.T) {
	e := newElectorate(t, 1, 7)
	l := e.load()
	for i := 1; i < 7; i++ {
		e.change(i, true)
	}
	gone := []int{e.leader(0)}
	e.change(gone[0], false)
	for len(e.members) > 4 {
		last := e.members[len(e.members)-1]
		e.change(last, false)
		gone = append(gone, last)
	}
	for _, old := range slices.Clone(e.members) {
		e.change(gone[0], true)
		e.change(old, false)
		gone = append(gone[1:], old)
	}
	for len(e.members) > 1 {
		e.change(e.leaderAmong(), false)
	}
	l.stop()
	e.sameBlocks()
	e.proven()
	slices.Sort(e.took)
	t.Logf("%d changes, from the start of the last vote to a block of the new set on all nodes: median %s, longest %s",
		len(e.took), e.took[len(e.took)/2].Round(time.Millisecond), e.took[len(e.took)-1].Round(time.Millisecond))
}

// leaderAmong is the leader of the moment.
func (e *electorate) leaderAmong() int {
	if i := e.leader(0); slices.Contains(e.members, i) {
		return i
	}
	return e.members[0]
}

// proven checks a balance through all epochs with nothing but the genesis file,
// on every node.
func (e *electorate) proven() {
	e.t.Helper()
	for i := range e.Nodes {
		var p struct {
			Wei        string `json:"wei"`
			Epoch      int    `json:"epoch"`
			Validators int    `json:"validators"`
		}
		e.cli(i, &p, "verify", recipient(77).Hex(), "--genesis", e.genesis)
		if p.Wei != fmt.Sprint(len(e.took)) || p.Epoch != len(e.took) || p.Validators != 1 {
			e.t.Errorf("node%d proves %+v after %d changes", i, p, len(e.took))
		}
	}
}

// TestUnsafeChange: a change after which too few of the new set would run is
// refused, unless forced.
func TestUnsafeChange(t *testing.T) {
	e := newElectorate(t, 4, 5)
	e.register(4)
	e.do("stop", "node4")
	e.do("stop", "node3")
	vote := func(more ...string) (out, errs []byte, code int) {
		return e.try("cairn", append([]string{
			"validator", "vote", "v0", e.address[4].Hex(), "--add", "--rpc", e.Nodes[0].RPC,
			"--keystore", e.keys, "--password-file", e.secret, "--json",
		}, more...)...)
	}
	e.await("a refusal", goesOn, func() (bool, error) {
		out, errs, code := vote()
		return code == 10 && len(out) == 0 && bytes.Contains(errs, []byte("3 of the 5 new validators are online, in step and fit to sign, 4 are needed")), fmt.Errorf("exit code %d: %s%s", code, out, errs)
	})
	e.do("start", "node4")
	e.await("the dry run of a safe change", goesOn, func() (bool, error) {
		_, errs, code := vote("--dry-run")
		return code == 0, fmt.Errorf("exit code %d: %s", code, errs)
	})
	e.do("start", "node3")
	e.change(4, true)
}
