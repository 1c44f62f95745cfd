package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cairn/crypto"
	"cairn/light/lighttest"
	"cairn/wallet/wallettest"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn": main})
}

// The first two accounts of many a development network.
const (
	key1, address1 = "0x0000000000000000000000000000000000000000000000000000000000000001", "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
	key2, address2 = "0x0000000000000000000000000000000000000000000000000000000000000002", "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"
)

// TestScripts runs testdata/*.txtar, each with a stand-in node at $RPC and $WS
// that funds address1. "node finalize", "node refuse METHOD CODE MESSAGE",
// "node fail", "node hold" and "node down" change it.
func TestScripts(t *testing.T) {
	var ledgers sync.Map // of the scripts, by directory
	type key struct{}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			n := wallettest.New(env.T().(testing.TB))
			n.Fund(must(crypto.ParseAddress(address1)), big.NewInt(5e18))
			env.Values[key{}] = n
			env.Setenv("RPC", n.HTTP())
			env.Setenv("WS", n.WS())
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("CAIRN_RPC_URL", n.HTTP())
			env.Setenv("CAIRN_KDF", "light")
			env.Setenv("KEY1", key1)
			env.Setenv("ADDRESS1", address1)
			env.Setenv("ADDRESS2", address2)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"node": func(ts *testscript.TestScript, _ bool, args []string) {
				n := ts.Value(key{}).(*wallettest.Node)
				switch args[0] {
				case "finalize":
					n.Finalize()
				case "fail":
					n.FailNext()
				case "hold":
					n.SetInstant(false)
				case "down":
					n.AnswerHTTP(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
				case "refuse":
					code := 0
					_, err := fmt.Sscan(args[2], &code)
					ts.Check(err)
					n.Refuse(args[1], code, args[3])
				default:
					ts.Fatalf("node %s?", args[0])
				}
			},
			"ledger": func(ts *testscript.TestScript, _ bool, args []string) {
				if n, err := strconv.Atoi(args[0]); err == nil {
					l := startLedger(t, ts.MkAbs("."), n)
					ts.Setenv("LEDGER", l.URL())
					ledgers.Store(ts.MkAbs("."), l)
					return
				}
				held, _ := ledgers.Load(ts.MkAbs("."))
				l := held.(*wallettest.Ledger)
				switch args[0] {
				case "change":
					l.Change(must(strconv.Atoi(args[1])), args[2] == "add")
				case "equivocate":
					l.Equivocate(must(strconv.Atoi(args[1])), 0, 9)
				case "observe":
					l.Observe(must(strconv.Atoi(args[1])))
				case "leave":
					l.Leave(must(strconv.Atoi(args[1])))
				case "lie":
					l.Lie(args[1], func(r map[string]any) { r[args[2]] = args[3] })
				default:
					ts.Fatalf("ledger %s?", args[0])
				}
			},
			// exits CODE COMMAND... runs a command that must end with CODE.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				if exit, ok := err.(*exec.ExitError); ok {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			// hash sets $HASH to the hash in the last stdout.
			"hash": func(ts *testscript.TestScript, _ bool, _ []string) {
				var object struct{ Hash string }
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
				ts.Setenv("HASH", object.Hash)
			},
			// json KEY... wants the last stdout to be one object with exactly
			// these keys: the schema of docs/cli.md.
			"json": func(ts *testscript.TestScript, _ bool, args []string) {
				var object map[string]any
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
				var keys []string
				for k := range object {
					keys = append(keys, k)
				}
				slices.Sort(keys)
				slices.Sort(args)
				if !slices.Equal(keys, args) {
					ts.Fatalf("keys %q, want %q", keys, args)
				}
			},
		},
	})
}

// startLedger starts a real ledger of n validators and writes what a person
// needs of it: genesis.json and, as validator0.key and so on, keys of validators
// and candidates; payer.key is that of a funded account.
func startLedger(t testing.TB, dir string, n int) *wallettest.Ledger {
	t.Helper()
	l := wallettest.NewLedger(t, n)
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("genesis.json", l.Spec.Marshal())
	for i := range n + 2 {
		write(fmt.Sprintf("validator%d.key", i), fmt.Appendf(nil, "%x\n", lighttest.Key(i).Bytes()))
	}
	write("payer.key", fmt.Appendf(nil, "%x\n", lighttest.Account(0).Bytes()))
	return l
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// invoke runs a command line in this process.
func invoke(t *testing.T, argv ...string) (code int, stdout, stderr string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var out, errs bytes.Buffer
	code = run(append([]string{"cairn"}, argv...), null, &out, &errs)
	return code, out.String(), errs.String()
}

// line is one command with its arguments and flags. A fresh one is made for
// each order, so that what one run changes does not meet the next.
type line struct{ words, arguments, flags []string }

// everyCommand has a line that succeeds for each command there is.
func everyCommand(t *testing.T) map[string]func() line {
	t.Helper()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := write("secret")
	template := t.TempDir()
	for name, key := range map[string]string{"alice": key1, "bob": key2} {
		if code, _, errs := invoke(t, "account", "import", name, "--kdf", "light", "--keystore", template,
			"--private-key-file", write(key), "--password-file", password); code != 0 {
			t.Fatal(errs)
		}
	}
	store := func() string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	node := func() *wallettest.Node {
		n := wallettest.New(t)
		n.Fund(must(crypto.ParseAddress(address1)), big.NewInt(5e18))
		return n
	}
	sent := func(url string) string {
		code, out, errs := invoke(t, "send", "alice", "bob", "1wei", "--rpc", url, "--keystore", store(), "--password-file", password, "--json")
		if code != 0 {
			t.Fatal(errs)
		}
		var j struct{ Hash string }
		if err := json.Unmarshal([]byte(out), &j); err != nil {
			t.Fatal(err)
		}
		return j.Hash
	}
	// as makes a key store in which "me" is the key of a file, and the flags to use it.
	as := func(dir, keyFile string) []string {
		keys := filepath.Join(dir, "keys")
		if code, _, errs := invoke(t, "account", "import", "me", "--kdf", "light", "--keystore", keys,
			"--private-key-file", filepath.Join(dir, keyFile), "--password-file", password); code != 0 {
			t.Fatal(errs)
		}
		return []string{"--keystore", keys, "--password-file", password, "--json"}
	}
	return map[string]func() line{
		"account new": func() line {
			return line{[]string{"account", "new"}, []string{"carol"}, []string{"--keystore", store(), "--password-file", password, "--json", "--kdf", "light"}}
		},
		"account import": func() line {
			return line{[]string{"account", "import"}, []string{"carol"}, []string{
				"--keystore", t.TempDir(), "--private-key-file", write(key1), "--password-file", password, "--json", "--kdf=light",
			}}
		},
		"account list": func() line {
			return line{[]string{"account", "list"}, nil, []string{"--keystore", store(), "--password-file", password, "--json"}}
		},
		"account export": func() line {
			return line{[]string{"account", "export"}, []string{"alice"}, []string{"--keystore", store(), "--password-file", password, "--json", "--out", "-"}}
		},
		"balance": func() line {
			return line{[]string{"balance"}, []string{"alice"}, []string{"--keystore", store(), "--rpc", node().HTTP(), "--json"}}
		},
		"nonce": func() line {
			return line{[]string{"nonce"}, []string{address1}, []string{"--rpc", node().HTTP(), "--keystore", store(), "--json"}}
		},
		"send": func() line {
			return line{[]string{"send"}, []string{"alice", address2, "1.5"}, []string{
				"--rpc", node().HTTP(), "--keystore", store(), "--password-file", password, "--json", "--timeout", "30s",
				"--max-fee", "2gwei", "--priority-fee=1gwei", "--nonce", "0", "--gas-limit", "21000", "--data", "0x", "--chain-id", "7357",
			}}
		},
		"tx": func() line {
			url := node().HTTP()
			return line{[]string{"tx"}, []string{sent(url)}, []string{"--rpc", url, "--json"}}
		},
		"receipt": func() line {
			url := node().HTTP()
			return line{[]string{"receipt"}, []string{sent(url)}, []string{"--rpc", url, "--json", "--wait", "--timeout", "30s"}}
		},
		"block": func() line {
			return line{[]string{"block"}, []string{"0"}, []string{"--rpc", node().HTTP(), "--json"}}
		},
		"verify": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 1)
			return line{[]string{"verify"}, []string{address1}, []string{"--genesis", dir + "/genesis.json", "--rpc", l.URL(), "--keystore", store(), "--json"}}
		},
		"validator list": func() line {
			return line{[]string{"validator", "list"}, nil, []string{"--rpc", startLedger(t, t.TempDir(), 2).URL(), "--json"}}
		},
		"validator status": func() line {
			return line{[]string{"validator", "status"}, nil, []string{"--rpc", startLedger(t, t.TempDir(), 2).URL(), "--json"}}
		},
		"validator register": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 1)
			flags := append(as(dir, "payer.key"), "--rpc", l.URL(), "--genesis", dir+"/genesis.json",
				"--validator-key", dir+"/validator1.key", "--peer-id", lighttest.Validator(1).PeerID, "--name=north")
			return line{[]string{"validator", "register"}, []string{"me"}, flags}
		},
		"validator withdraw": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 1)
			l.Register(1)
			return line{[]string{"validator", "withdraw"}, []string{"me"}, append(as(dir, "validator1.key"), "--rpc", l.URL())}
		},
		"validator vote": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 1)
			l.Register(1)
			return line{[]string{"validator", "vote"}, []string{"me", lighttest.Key(1).Address().Hex()}, append(as(dir, "validator0.key"), "--rpc", l.URL(), "--add", "--force")}
		},
		"validator revoke": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 4)
			l.Seal(l.Call(lighttest.Key(0), "vote", lighttest.Key(2).Address(), false))
			return line{[]string{"validator", "revoke"}, []string{"me", lighttest.Key(2).Address().Hex()}, append(as(dir, "validator0.key"), "--rpc", l.URL(), "--max-fee", "20gwei")}
		},
		"validator report": func() line {
			dir := t.TempDir()
			l := startLedger(t, dir, 2)
			l.Equivocate(1, 0, 9)
			return line{[]string{"validator", "report"}, []string{"me", lighttest.Key(1).Address().Hex()}, append(as(dir, "payer.key"), "--rpc", l.URL())}
		},
		"status": func() line {
			return line{[]string{"status"}, nil, []string{"--rpc", node().HTTP(), "--json"}}
		},
	}
}

// commandNames lists the commands that do something, as typed.
func commandNames(prefix string, commands []*cli.Command) (names []string) {
	for _, c := range commands {
		if len(c.Subcommands) > 0 {
			names = append(names, commandNames(prefix+c.Name+" ", c.Subcommands)...)
		} else {
			names = append(names, prefix+c.Name)
		}
	}
	return names
}

// Every command takes its flags before its arguments, after them, between them
// and before its own name, and refuses an unknown one in each place.
func TestFlagOrder(t *testing.T) {
	t.Parallel()
	lines := everyCommand(t)
	for _, name := range commandNames("", (&terminal{}).app().Commands) {
		fresh, ok := lines[name]
		if !ok {
			t.Errorf("no line for the command %q", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			orders := map[string]func(line) []string{
				"before":      func(l line) []string { return slices.Concat(l.words, l.flags, l.arguments) },
				"after":       func(l line) []string { return slices.Concat(l.words, l.arguments, l.flags) },
				"before name": func(l line) []string { return slices.Concat(l.flags, l.words, l.arguments) },
				"between": func(l line) []string {
					if len(l.arguments) == 0 {
						return slices.Concat(l.words[:1], l.flags, l.words[1:])
					}
					return slices.Concat(l.words, l.arguments[:1], l.flags, l.arguments[1:])
				},
			}
			for order, arrange := range orders {
				code, out, errs := invoke(t, arrange(fresh())...)
				if code != 0 || !json.Valid([]byte(out)) {
					t.Errorf("flags %s: code %d, out %s, err %s", order, code, out, errs)
				}
				l := fresh()
				l.flags = append(l.flags, "--no-such-flag")
				code, out, errs = invoke(t, arrange(l)...)
				if code != 2 || out != "" || !strings.Contains(errs, "unknown flag --no-such-flag") {
					t.Errorf("unknown flag %s: code %d, out %s, err %s", order, code, out, errs)
				}
			}
		})
	}
}

// The wallet is a small program: no database, no peers, no ledger of its own.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	forbidden := map[string]string{
		"github.com/cockroachdb/": "ask the node instead of opening its database",
		"github.com/libp2p/":      "talk to one node by JSON-RPC instead of to peers",
		"cairn/node":              "talk to a node by JSON-RPC instead of being one",
		"cairn/ledger/store":      "ask the node instead of opening its database",
		"cairn/ledger/pool":       "submit to a node instead of keeping a pool",
		"cairn/p2p":               "talk to one node by JSON-RPC instead of to peers",
	}
	for dep := range strings.Lines(string(out)) {
		for prefix, instead := range forbidden {
			if strings.HasPrefix(dep, prefix) {
				t.Errorf("cmd/cairn imports %s: %s", strings.TrimSpace(dep), instead)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, scheme := range []string{"http://", "ws://"} {
		code, out, errs := invoke(t, "status", "--rpc", scheme+l.Addr().String())
		if code != exitUnreachable || out != "" || !strings.Contains(errs, "cairn: cannot reach the node at "+scheme) {
			t.Errorf("code %d, out %s, err %s", code, out, errs)
		}
	}
}

// A password file may be a pipe whose writer never closes it.
func TestPasswordFromPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("secret\r\nrest"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	code, _, errs := invoke(t, "account", "new", "a", "--kdf", "light", "--keystore", dir, "--password-file", fmt.Sprintf("/dev/fd/%d", r.Fd()))
	if code != 0 {
		t.Fatal(errs)
	}
	file := filepath.Join(dir, "pw")
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := invoke(t, "account", "export", "a", "--keystore", dir, "--password-file", file, "--out", "-"); code != 0 {
		t.Error(errs)
	}
}
