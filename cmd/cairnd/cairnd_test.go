package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/node"
)

// oneCommand is held by a command that runs in this process: the cli library
// writes to its one help flag whenever an App runs.
var oneCommand sync.Mutex

// cairnd runs one command line in this process.
func cairnd(argv ...string) (code int, stdout, stderr string) {
	oneCommand.Lock()
	defer oneCommand.Unlock()
	var out, errs bytes.Buffer
	code = run(append([]string{"cairnd"}, argv...), &out, &errs)
	return code, out.String(), errs.String()
}

func must(t *testing.T, argv ...string) string {
	t.Helper()
	code, out, errs := cairnd(argv...)
	if code != 0 {
		t.Fatalf("cairnd %s: exit code %d: %s", strings.Join(argv, " "), code, errs)
	}
	return out
}

// refused runs a command that must fail with this code, saying all of these.
func refused(t *testing.T, code int, says []string, argv ...string) {
	t.Helper()
	got, _, errs := cairnd(argv...)
	if got != code {
		t.Errorf("cairnd %s: exit code %d, want %d: %s", strings.Join(argv, " "), got, code, errs)
	}
	for _, text := range says {
		if !strings.Contains(errs, text) {
			t.Errorf("cairnd %s: %q lacks %q", strings.Join(argv, " "), errs, text)
		}
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeyNewAndShow(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "a", "home")
	made := must(t, "key", "new", "--home", home, "--json", "--name", "alpha")
	shown := must(t, "key", "show", "--json", "--name", "alpha", "--home", home)
	if made != shown {
		t.Errorf("new says %s, show says %s", made, shown)
	}
	c, err := genesis.ParseCandidate([]byte(shown))
	if err != nil || c.Name != "alpha" {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, file := range []string{node.ValidatorKeyFile, node.PeerKeyFile} {
		info, err := os.Stat(filepath.Join(home, file))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	text := must(t, "key", "show", "--home", home)
	for _, want := range []string{c.Address.Hex(), c.PeerID, "v-" + strings.ToLower(c.Address.Hex()[2:10])} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	key, _ := os.ReadFile(filepath.Join(home, node.ValidatorKeyFile))
	if strings.Contains(text+shown, strings.TrimSpace(string(key))) {
		t.Error("show prints the private key")
	}
	refused(t, 1, []string{node.ValidatorKeyFile, "never overwritten"}, "key", "new", "--home", home)
	if again, _ := os.ReadFile(filepath.Join(home, node.ValidatorKeyFile)); !bytes.Equal(again, key) {
		t.Error("the refused command changed the key")
	}
}

// A full node that becomes a validator keeps its peer id.
func TestKeyNewKeepsThePeerKey(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	id, err := peerIdentity(filepath.Join(home, node.PeerKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if out := must(t, "key", "new", "--home", home); !strings.Contains(out, id) {
		t.Errorf("%s lacks %s", out, id)
	}
}

func TestKeyShowErrors(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("46", 32)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		says string
	}{
		"readable by others": {good, 0o644, "mode 0644"},
		"empty":              {"", 0o600, string(crypto.ErrKeyLength)},
		"short":              {good[2:], 0o600, string(crypto.ErrKeyLength)},
		"not hex":            {"zz" + good[2:], 0o600, string(crypto.ErrHex)},
		"zero":               {strings.Repeat("0", 64), 0o600, string(crypto.ErrKeyRange)},
		"huge":               {strings.Repeat("0", 70_000), 0o600, "at most"},
		"good, no peer key":  {good + "\n", 0o600, "peer key"},
	} {
		home := t.TempDir()
		write(t, filepath.Join(home, node.ValidatorKeyFile), c.text, c.mode)
		code, _, errs := cairnd("key", "show", "--home", home)
		if code != 1 || !strings.Contains(errs, c.says) || strings.Contains(errs, good[2:40]) {
			t.Errorf("%s: exit code %d: %s", name, code, errs)
		}
	}
	refused(t, 1, []string{"cairnd key new"}, "key", "show", "--home", t.TempDir())
	home := t.TempDir()
	must(t, "key", "new", "--home", home)
	refused(t, 1, []string{"name", string(genesis.ErrText)}, "key", "show", "--home", home, "--name", "Not Good")
	taken := write(t, filepath.Join(t.TempDir(), "v.json"), "mine", 0o644)
	refused(t, 1, []string{taken, "never overwritten"}, "key", "show", "--home", home, "--out", taken)
	write(t, filepath.Join(home, node.PeerKeyFile), "garbage", 0o600)
	refused(t, 1, []string{node.PeerKeyFile}, "key", "show", "--home", home)
}

// network makes a genesis file of n operators who share nothing, and their homes.
func network(t *testing.T, n int, flags ...string) (file, hash string, homes []string) {
	t.Helper()
	dir := t.TempDir()
	argv := []string{"genesis", "new"}
	for i := range n {
		home := filepath.Join(dir, nodeName(i))
		out := filepath.Join(dir, nodeName(i)+".json")
		must(t, "key", "new", "--home", home)
		must(t, "key", "show", "--home", home, "--out", out, "--name", nodeName(i))
		argv = append(argv, "--validator", out)
		homes = append(homes, home)
	}
	alloc := write(t, filepath.Join(dir, "alloc.json"), `[{"address": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "balance": "1000"}]`, 0o644)
	file = filepath.Join(dir, "genesis.json")
	must(t, append(append(argv, "--alloc", alloc, "--out", file), flags...)...)
	return file, strings.TrimSpace(must(t, "genesis", "hash", file)), homes
}

func TestOperatorsMakeANetwork(t *testing.T) {
	t.Parallel()
	file, hash, homes := network(t, 4, "--chain-id", "4321", "--name", "four", "--timestamp", "2026-01-31T12:00:00.25Z",
		"--delta", "250ms", "--heartbeat", "0s", "--min-base-fee", "7", "--base-fee-recipient", "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := genesis.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Rules
	if s.ChainID != 4321 || s.Name != "four" || s.Timestamp != 1769860800250 || len(s.Validators) != 4 ||
		r.Delta != 250 || r.Heartbeat != 0 || r.Fees.MinBaseFee.Uint64() != 7 || r.Fees.InitialBaseFee.Uint64() != 7 ||
		r.Fees.BaseFeeRecipient == nil || r.GasLimit != genesis.DefaultRules().GasLimit {
		t.Errorf("%+v", s)
	}
	said := must(t, "genesis", "validate", file)
	for _, want := range []string{"four", "4321", hash, "3 make a quorum"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
	for _, home := range homes {
		must(t, "init", "--genesis", file, "--expect-hash", hash, "--home", home)
		must(t, "init", "--genesis", file, "--expect-hash", hash, "--home", home) // again is fine
		if _, err := node.LoadConfig(home); err != nil {
			t.Error(err)
		}
	}
	other, otherHash, _ := network(t, 1)
	if otherHash == hash {
		t.Fatal("two networks have one identity")
	}
	refused(t, 1, []string{hash, otherHash}, "init", "--genesis", other, "--expect-hash", hash, "--home", t.TempDir())
	refused(t, 1, []string{hash, otherHash}, "init", "--genesis", other, "--expect-hash", otherHash, "--home", homes[0])
	if _, have, err := readGenesis(filepath.Join(homes[0], node.GenesisFile)); err != nil || have.Hex() != hash {
		t.Errorf("the refused init changed the home: %s, %v", have, err)
	}
}

func TestGenesisErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	v := filepath.Join(dir, "v.json")
	must(t, "key", "new", "--home", home, "--out", v)
	raw, _ := os.ReadFile(v)
	alloc := write(t, filepath.Join(dir, "alloc.json"), `[{"address": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "balance": "1000"}]`, 0o644)
	badAlloc := write(t, filepath.Join(dir, "bad.json"), `[{"address": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "balance": 5}]`, 0o644)
	forged := write(t, filepath.Join(dir, "forged.json"), strings.Replace(string(raw), "12D3KooW", "12D3KooX", 1), 0o644)
	good := []string{"genesis", "new", "--validator", v, "--alloc", alloc}
	with := func(more ...string) []string { return append(append([]string(nil), good...), more...) }
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		code int
		says string
		argv []string
	}{
		{2, "--validator", []string{"genesis", "new", "--alloc", alloc}},
		{2, "--alloc", []string{"genesis", "new", "--validator", v}},
		{2, "whole milliseconds", with("--delta", "1500us")},
		{2, "not negative", with("--heartbeat=-1s")},
		{2, "whole number of wei", with("--min-base-fee", "1gwei")},
		{2, "--timestamp", with("--timestamp", "yesterday")},
		{2, "EIP-55", with("--base-fee-recipient", "0x9D8A62f656a8d1615C1294fd71e9CFb3E4855A4F")},
		{2, "chain-id", with("--chain-id", "x")},
		{1, "chainId: out of range", with("--chain-id", "0")},
		{1, "rules.fees.minBaseFee", with("--free", "--min-base-fee", "1")},
		{1, "rules.deltaMaxMillis", with("--delta-max", "1ms")},
		{1, "validators[1].address: given twice", with("--validator", v)},
		{1, "peerId", with("--validator", forged)},
		{1, missing, with("--validator", missing)},
		{1, "[0].balance: wrong JSON type", []string{"genesis", "new", "--validator", v, "--alloc", badAlloc}},
		{1, missing, []string{"genesis", "new", "--validator", v, "--alloc", missing}},
		{1, "never overwritten", with("--out", alloc)},
		{1, missing, []string{"genesis", "hash", missing}},
		{1, "chainId: field is missing", []string{"genesis", "validate", write(t, filepath.Join(dir, "g.json"), "{}", 0o644)}},
		{2, "FILE", []string{"genesis", "hash"}},
		{2, "unexpected argument", []string{"genesis", "hash", v, v}},
		{2, "--expect-hash", []string{"init", "--genesis", v, "--home", home}},
		{2, "--expect-hash", []string{"init", "--genesis", v, "--expect-hash", "0x12", "--home", home}},
		{2, "--dev", []string{"init", "--dev", "--genesis", v, "--home", home}},
		{2, "missing command", []string{"key"}},
		{2, "unknown command", []string{"kye"}},
	} {
		refused(t, c.code, []string{c.says}, c.argv...)
	}
	free := must(t, with("--free")...)
	if s, err := genesis.Parse([]byte(free)); err != nil || !s.Rules.Fees.Free {
		t.Errorf("--free: %v", err)
	}
}

func TestInitDevelopment(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	must(t, "init", "--dev", "--home", home)
	must(t, "--home", home, "init", "--dev")
	key, id, err := loadIdentity(home, "")
	v := genesis.Development().Validators[0]
	if err != nil || key.Address() != v.Address || id != v.PeerID {
		t.Errorf("%s %s %v, want %+v", key.Address(), id, err, v)
	}
	cfg, err := node.LoadConfig(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range cfg.P2P.Listen {
		if !strings.HasPrefix(addr, "/ip4/127.0.0.1/") {
			t.Errorf("the development network listens on %s", addr)
		}
	}
	other := t.TempDir()
	must(t, "key", "new", "--home", other)
	refused(t, 1, []string{"never overwritten"}, "init", "--dev", "--home", other)
	if _, err := os.Stat(filepath.Join(other, node.GenesisFile)); err == nil {
		t.Error("the refused init left a genesis file")
	}
}

// Every command refuses an unknown flag with exit code 2, before and after what
// else it is given, and takes --home in both places.
func TestFlagsInBothOrders(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	var visit func(path []string, commands []*cli.Command)
	visit = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			words := append(append([]string(nil), path...), c.Name)
			if len(c.Subcommands) > 0 {
				visit(words, c.Subcommands)
				continue
			}
			for _, f := range strings.Fields(c.ArgsUsage) {
				words = append(words, strings.Trim(f, "[].")+"-missing")
			}
			refused(t, 2, []string{"--hoem", "--home"}, append(words, "--hoem", home)...)
			refused(t, 2, []string{"--hoem"}, append([]string{"--hoem", home}, words...)...)
			help := append(append([]string{"--home", home}, words...), "--help")
			if out := must(t, help...); !strings.Contains(out, "--home") {
				t.Errorf("the help of %v does not tell --home: %s", words, out)
			}
			must(t, append(words, "--home", home, "--help")...)
		}
	}
	visit(nil, newApp(nil).Commands)

	file, hash, _ := network(t, 1)
	for _, argv := range [][]string{
		{"genesis", "hash", file, "--home", home},
		{"genesis", "hash", "--home", home, file},
		{"--home", home, "genesis", "hash", file},
	} {
		if got := strings.TrimSpace(must(t, argv...)); got != hash {
			t.Errorf("%v: %s, want %s", argv, got, hash)
		}
	}
}

// Flags go before the environment, the environment before config.toml.
func TestRunConfiguration(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, node.ConfigFile), "[rpc]\nlisten = '127.0.0.1:1'\ncors = ['https://toml']\n[log]\nlevel = 'warn'\nformat = 'json'\n[p2p]\nmdns = true\n", 0o600)
	t.Setenv("CAIRN_RPC_LISTEN", "127.0.0.1:2")
	t.Setenv("CAIRN_LOG_LEVEL", "error")
	bootnode := "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWR3mgJt8UDTMZNnz7YpNdoBEMkMEdaY6hAkQPHVeiUt28"
	t.Setenv("CAIRN_BOOTNODES", bootnode+", "+bootnode)
	var got node.Config
	app := newApp(os.Stdout)
	for _, c := range app.Commands {
		if c.Name == "run" {
			c.Action = func(c *cli.Context) (err error) { got, err = configFromFlags(c); return err }
		}
	}
	var errs bytes.Buffer
	argv := []string{"cairnd", "run", "--home", home, "--rpc-listen", "127.0.0.1:3", "--mdns=false", "--p2p-listen", "/ip4/127.0.0.1/tcp/1", "--p2p-listen", "/ip4/127.0.0.1/tcp/2,/ip4/127.0.0.1/tcp/3", "--metrics-listen", "off"}
	if code := args.Run(app, argv, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	want := node.DefaultConfig(home)
	want.RPC.Listen, want.RPC.CORS = "127.0.0.1:3", []string{"https://toml"}
	want.Log.Level, want.Log.Format = "error", "json"
	want.P2P.MDNS, want.P2P.Bootnodes, want.P2P.Listen = false, []string{bootnode, bootnode}, []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/3"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	refused(t, 1, []string{"cairnd init"}, "run", "--home", empty)
	for _, x := range [][]string{
		{"log.level", "debug, info, warn, error", "--log-level", "loud"},
		{"log.format", "text nor json", "--log-format", "xml"},
		{"sync.mode", "auto, full, snapshot", "--sync", "fast"},
		{"sync.trusted", "HEIGHT:0xHASH", "--trusted", "7"},
		{"sync.serve_mib", "1..65536", "--serve-mib", "0"},
		{"store.cache_mib", "8..1048576", "--cache-mib", "1"},
		{"rpc.listen", "host:port", "--rpc-listen", "8545"},
		{"p2p.listen", "/tcp/PORT", "--p2p-listen", "127.0.0.1:30303"},
		{"p2p.announce", "multiaddr", "--p2p-announce", "node.example.org"},
		{"p2p.bootnodes", "/p2p/ID", "--bootnode", "/ip4/192.0.2.1/tcp/30303"},
		{"rpc.tls_cert", "one without the other", "--rpc-tls-cert", "x"},
	} {
		refused(t, 2, x[:2], "run", "--home", empty, x[2], x[3])
	}
	refused(t, 2, []string{"max-peers"}, "run", "--home", empty, "--max-peers", "many")
	bad := t.TempDir()
	write(t, filepath.Join(bad, node.ConfigFile), "[rpc]\nlistn = 'x'\n", 0o600)
	refused(t, 1, []string{"config.toml", "listn"}, "run", "--home", bad)
	torn := t.TempDir()
	write(t, filepath.Join(torn, node.ConfigFile), "[rpc]\nlisten = = 'x'\n", 0o600)
	refused(t, 1, []string{"config.toml", "2| listen = = 'x'"}, "run", "--home", torn)
	wrong := t.TempDir()
	write(t, filepath.Join(wrong, node.ConfigFile), "[sync]\nmode = 'fast'\n", 0o600)
	refused(t, 1, []string{"sync.mode"}, "run", "--home", wrong, "--cache-mib", "64")
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
