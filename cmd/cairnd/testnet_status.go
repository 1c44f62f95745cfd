package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/node/rpc"
)

// testnetReport is what up --json and status --json of scripts/testnet.sh print.
type testnetReport struct {
	ChainID     uint64           `json:"chainId"`
	GenesisHash crypto.Hash      `json:"genesisHash"`
	Nodes       []nodeReport     `json:"nodes"`
	Accounts    []testnetAccount `json:"accounts"`
}

type nodeReport struct {
	Name      string `json:"name"`
	PID       *int   `json:"pid"` // null = not running: 0 would name the reader's own process group to kill
	RPC       string `json:"rpc"`
	WS        string `json:"ws"`
	Home      string `json:"home"`
	Validator bool   `json:"validator"` // of block 0
}

func (t *testnet) report() (*testnetReport, error) {
	r := &testnetReport{ChainID: t.ChainID, GenesisHash: t.GenesisHash}
	for _, i := range t.nodes() {
		home, err := filepath.Abs(t.home(nodeName(i)))
		if err != nil {
			return nil, err
		}
		n := nodeReport{
			Name: nodeName(i), RPC: t.url("http", i), WS: t.url("ws", i),
			Home: home, Validator: i < t.Validators,
		}
		if pid := t.pid(n.Name); pid != 0 {
			n.PID = &pid
		}
		r.Nodes = append(r.Nodes, n)
	}
	raw, err := readLimited(filepath.Join(t.dir, accountsFile), 1<<20)
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(raw, &r.Accounts)
}

func (t *testnet) url(scheme string, i int) string {
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, t.RPCBase+i)
}

// pid is the process of a node, 0 if it does not run. The pid file holds the
// pid, its start time in clock ticks since boot, and the boot's id: a pid alone
// may by now be somebody else's process.
func (t *testnet) pid(name string) int {
	raw, err := readLimited(filepath.Join(t.home(name), pidFile), 1<<10)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) != 3 {
		return 0
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || strings.TrimSpace(string(boot)) != fields[2] {
		return 0
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 || startTime(pid) != fields[1] {
		return 0
	}
	return pid
}

// startTime is field 22 of /proc/PID/stat; empty if there is no such process or
// only its zombie.
func startTime(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// Field 2 is the program's name in parentheses and may hold anything.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

const maxAnswer = 1 << 20

var loopback = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{Proxy: nil}}

func (t *testnet) status(ctx context.Context, i int) (*rpc.Status, error) {
	return askStatus(ctx, t.url("http", i), t.GenesisHash)
}

// askStatus asks a node for cairn_status. It refuses an answer of another
// network.
func askStatus(ctx context.Context, url string, network crypto.Hash) (*rpc.Status, error) {
	body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"cairn_status","params":[]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := loopback.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Result *rpc.Status
		Error  *struct{ Message string }
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("%s: the answer is not cairn_status: %w", url, err)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("%s: %s", url, answer.Error.Message)
	}
	if answer.Result == nil || answer.Result.GenesisHash != network {
		return nil, fmt.Errorf("%s is a node of another network", url)
	}
	return answer.Result, nil
}

// healthReady asks /readyz.
func (t *testnet) healthReady(ctx context.Context, i int) (bool, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url("http", i)+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := loopback.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

func testnetStatus(c *cli.Context) error {
	t, err := openTestnet(c.String("dir"))
	if err != nil {
		return err
	}
	r, err := t.report()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(c.App.Writer, "chain id %d, genesis hash %s\n", r.ChainID, r.GenesisHash)
	fmt.Fprintln(w, "NAME\tPID\tROLE\tHEIGHT\tHASH\tPEERS\tRPC\tSTATE")
	for j, i := range t.nodes() {
		n := r.Nodes[j]
		role := "full"
		if n.Validator {
			role = "validator"
		}
		pid, height, hash, peers, state := "-", "-", "-", "-", "down"
		if n.PID != nil {
			pid, state = strconv.Itoa(*n.PID), "no answer yet"
			if s, err := t.status(c.Context, i); err == nil {
				height, hash = strconv.FormatUint(uint64(s.Height), 10), s.Hash.Hex()[:10]+"…"
				peers, state = strconv.Itoa(s.Peers), stateText(s)
				role = s.Role // block 0's is another one after a change of the validators
			}
		}
		fmt.Fprintln(w, strings.Join([]string{n.Name, pid, role, height, hash, peers, n.RPC, state}, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d funded accounts with their keys are in %s\n", len(r.Accounts), filepath.Join(t.dir, accountsFile))
	return nil
}

func stateText(s *rpc.Status) string {
	switch {
	case len(s.Problems) > 0:
		return strings.Join(s.Problems, "; ")
	case s.Syncing:
		return fmt.Sprintf("syncing to %d", uint64(s.Target))
	case s.Voting:
		return "voting"
	}
	return "following"
}

// testnetWait polls until every picked node is in the asked-for state.
func testnetWait(c *cli.Context) error {
	t, err := openTestnet(c.String("dir"))
	if err != nil {
		return err
	}
	checks := map[string]func(context.Context, int) (bool, string){
		"rpc": t.answers, "synced": t.synced, "ready": t.ready,
	}
	check := checks[c.String("until")]
	if check == nil {
		return args.Usagef("--until %q: want rpc, synced or ready", c.String("until"))
	}
	nodes, err := t.pick(c.Args().Slice())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	for _, i := range nodes {
		if err := t.await(ctx, i, check); err != nil {
			return err
		}
	}
	return nil
}

func (t *testnet) await(ctx context.Context, i int, check func(context.Context, int) (bool, string)) error {
	name := nodeName(i)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		alive := t.pid(name) != 0 // before the check: it may end in between
		done, reason := check(ctx, i)
		if done {
			return nil
		}
		if !alive {
			return fmt.Errorf("%s does not run: %s", name, t.lastLog(name))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s: still waiting when the time was over: %s", name, reason)
			}
			return ctx.Err()
		}
	}
}

// lastLog is the last line that a node wrote, which says why it ended.
func (t *testnet) lastLog(name string) string {
	path := filepath.Join(t.home(name), "cairnd.log")
	f, err := os.Open(path)
	if err != nil {
		return "it has no log"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 4096 {
		_, _ = f.Seek(-4096, io.SeekEnd)
	}
	tail, _ := io.ReadAll(io.LimitReader(f, 4096))
	lines := strings.Split(strings.TrimSpace(string(tail)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Sprintf("the last line of %s is: %s", path, last)
	}
	return path + " is empty"
}

func (t *testnet) answers(ctx context.Context, i int) (bool, string) {
	if _, err := t.status(ctx, i); err != nil {
		return false, err.Error()
	}
	return true, ""
}

// synced: at the height that any other node has now.
func (t *testnet) synced(ctx context.Context, i int) (bool, string) {
	own, err := t.status(ctx, i)
	if err != nil {
		return false, err.Error()
	}
	var highest uint64
	alone := true
	for _, j := range t.nodes() {
		if j == i {
			continue
		}
		if other, err := t.status(ctx, j); err == nil {
			highest, alone = max(highest, uint64(other.Height)), false
		}
	}
	if alone {
		return false, "no other node answers"
	}
	again, err := t.status(ctx, i)
	if err != nil {
		return false, err.Error()
	}
	if again.Syncing || uint64(again.Height) < highest {
		return false, fmt.Sprintf("height %d of %d", uint64(own.Height), highest)
	}
	return true, ""
}

// ready: a block is final here, the node says that it is ready, and every
// validator is connected (to a full node: at least one peer is).
func (t *testnet) ready(ctx context.Context, i int) (bool, string) {
	s, err := t.status(ctx, i)
	if err != nil {
		return false, err.Error()
	}
	switch {
	case i < t.Validators && s.Connected < s.Validators:
		return false, fmt.Sprintf("%d of %d validators are connected", s.Connected, s.Validators)
	case i >= t.Validators && s.Peers == 0:
		return false, "no peer is connected"
	case s.Height == 0:
		return false, "no block is final"
	}
	return t.healthReady(ctx, i)
}
