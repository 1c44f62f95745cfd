//go:build linux

package main

import (
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

func hashOf(text string) crypto.Hash { return crypto.Keccak256([]byte(text)) }

// testBlock is block h of a chain in which every block has its own name.
func testBlock(h uint64, name, parent string, txs ...crypto.Hash) *testnet.Block {
	b := &testnet.Block{Number: hexutil.Uint64(h), Hash: hashOf(name), StateRoot: hashOf(name + " root"), BaseFee: hexutil.Big(*big.NewInt(7)), Transactions: txs}
	if parent != "" {
		b.ParentHash = hashOf(parent)
	}
	return b
}

func newTestRecord(t *testing.T) (*record, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "finals.jsonl")
	r, err := openRecord(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.journal.Close() })
	return r, path
}

func mustObserve(t *testing.T, r *record, node int, b *testnet.Block) {
	t.Helper()
	if err := r.observe(node, b, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// twoTransfers makes a record of two blocks, the second with transfers 0:0 and
// 1:0.
func twoTransfers(t *testing.T) (*record, string) {
	r, path := newTestRecord(t)
	r.expect(hashOf("tx 0"), transfer{0, 0})
	r.expect(hashOf("tx 1"), transfer{1, 0})
	mustObserve(t, r, 0, testBlock(0, "genesis", ""))
	mustObserve(t, r, 0, testBlock(1, "one", "genesis", hashOf("tx 0"), hashOf("tx 1")))
	return r, path
}

func TestRecordKeepsTheBooks(t *testing.T) {
	t.Parallel()
	r, _ := twoTransfers(t)
	b := r.snapshot()
	if b.height != 1 || b.nonces[0] != 1 || b.nonces[1] != 1 {
		t.Errorf("books: %+v", b)
	}
	// 21,000 gas at a base fee of 7 and a tip of 1, and one wei each.
	if b.spent[0].Int64() != 168_001 || b.spent[1].Int64() != 168_001 {
		t.Errorf("spent %s and %s", b.spent[0], b.spent[1])
	}
	if b.received[transfer{0, 0}.recipient()] != 1 || b.received[transfer{1, 0}.recipient()] != 1 {
		t.Errorf("received %v", b.received)
	}
	if len(r.waiting) != 0 {
		t.Errorf("%d transfers still wait", len(r.waiting))
	}
	if at, block := r.placed(1); at != (transfer{1, 0}) || block.Height != 1 {
		t.Errorf("second final transfer: %v in %d", at, block.Height)
	}
}

// TestRecordRefuses: what no honest network shows.
func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	otherRoot := testBlock(1, "one", "genesis", hashOf("tx 0"), hashOf("tx 1"))
	otherRoot.StateRoot = hashOf("another root")
	for name, c := range map[string]struct {
		block *testnet.Block
		want  error
	}{
		"another block":        {testBlock(1, "fork", "genesis"), errDiverged},
		"another state root":   {otherRoot, errDiverged},
		"other transactions":   {testBlock(1, "one", "genesis", hashOf("tx 1"), hashOf("tx 0")), errDiverged},
		"another parent":       {testBlock(2, "two", "fork"), errDiverged},
		"nobody's transaction": {testBlock(2, "two", "one", hashOf("tx 9")), errWrong},
		"the same again":       {testBlock(2, "two", "one", hashOf("tx 0")), errWrong},
		"a nonce left out":     {testBlock(2, "two", "one", hashOf("tx 0:2")), errWrong},
	} {
		r, _ := twoTransfers(t)
		r.expect(hashOf("tx 0:2"), transfer{0, 2})
		if err := r.observe(1, c.block, time.Now()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	r, _ := twoTransfers(t)
	if err := r.observe(1, testBlock(5, "five", "four"), time.Now()); err == nil {
		t.Error("a gap is taken")
	}
}

// TestRecordResumes: the journal alone gives the record back; a last line that
// was cut off by a crash is dropped and written again.
func TestRecordResumes(t *testing.T) {
	t.Parallel()
	r, path := twoTransfers(t)
	want := r.snapshot()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"height":2,"hash":"0x12`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	again, err := openRecord(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.journal.Close() })
	if got := again.snapshot(); !reflect.DeepEqual(got, want) {
		t.Fatalf("resumed with %+v, was %+v", got, want)
	}
	mustObserve(t, again, 1, testBlock(1, "one", "genesis", hashOf("tx 0"), hashOf("tx 1")))
	mustObserve(t, again, 1, testBlock(2, "two", "one"))
	third, err := openRecord(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { third.journal.Close() })
	if third.snapshot().height != 2 {
		t.Errorf("height %d after the second resume", third.snapshot().height)
	}
}

// TestRecordRefusesDamage: a journal that is damaged in the middle is no record.
func TestRecordRefusesDamage(t *testing.T) {
	t.Parallel()
	_, path := twoTransfers(t)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no JSON":      "x" + string(raw),
		"a line gone":  string(raw[strings.IndexByte(string(raw), '\n')+1:]),
		"a line twice": string(raw) + string(raw),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := openRecord(path, 2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	const text = `allow_development_keys = false
[p2p]
listen = ['/ip4/127.0.0.1/tcp/21102', '/ip4/127.0.0.1/udp/21102/quic-v1']
bootnodes = ['/ip4/127.0.0.1/tcp/21100/p2p/12D3']
[rpc]
listen = '127.0.0.1:21002'
`
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again on a resumed run
		if err := place(path, 21100, true); err != nil {
			t.Fatal(err)
		}
		raw, _ := os.ReadFile(path)
		for _, want := range []string{
			"= true", "/ip4/10.77.0.3/tcp/21102'", "/ip4/10.77.0.3/udp/21102/quic-v1", "/ip4/10.77.0.1/tcp/21100/p2p/12D3", "'127.0.0.1:21002'",
		} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("no %s in\n%s", want, raw)
			}
		}
	}
}

// TestState: what is saved comes back, and a directory of another seed or one
// that holds a failure is refused.
func TestState(t *testing.T) {
	t.Parallel()
	s := settings{dir: t.TempDir(), seed: 5, validators: 4, minutes: 1}
	r := &run{settings: s}
	if err := r.openState(); err != nil {
		t.Fatal(err)
	}
	r.Kinds, r.Step, r.Faults = []Kind{Kill}, 3, map[Kind]int{Kill: 3}
	r.note(Recovery{Step: 2, Kind: Kill, Phase: Kept, Millis: 12, Nodes: []int{0, 1, 2}})
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	again := &run{settings: s}
	if err := again.openState(); err != nil || !reflect.DeepEqual(again.state, r.state) {
		t.Fatalf("%v: %+v, was %+v", err, again.state, r.state)
	}
	other := &run{settings: s}
	other.settings.seed = 6
	if err := other.openState(); err == nil {
		t.Error("another seed is taken")
	}
	r.Failure = "divergence"
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	if err := (&run{settings: s}).openState(); err == nil || !strings.Contains(err.Error(), "divergence") {
		t.Errorf("a failed run goes on: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	id, err := identity(os.Getpid())
	if err != nil || len(strings.Fields(id)) != 3 {
		t.Fatalf("%q, %v", id, err)
	}
	path := filepath.Join(t.TempDir(), pidFile)
	// Ours by pid, but started at another time: not the process that was meant.
	fields := strings.Fields(id)
	if err := os.WriteFile(path, []byte(fields[0]+" 1 "+fields[2]+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := endLeftover(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old pid file is still there: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := settings{validators: 4, rate: 1, limit: time.Second, minutes: 1, cairnd: os.Args[0]}
	for name, c := range map[string]struct {
		change func(*settings)
		faults string
		rest   []string
	}{
		"validators": {func(s *settings) { s.validators = 17 }, "", nil},
		"rate":       {func(s *settings) { s.rate = 0 }, "", nil},
		"minutes":    {func(s *settings) { s.minutes = 0 }, "", nil},
		"recover":    {func(s *settings) { s.limit = 0 }, "", nil},
		"cairnd":     {func(s *settings) { s.cairnd = "/no/such/file" }, "", nil},
		"faults":     {func(*settings) {}, "kill,flood", nil},
		"argument":   {func(*settings) {}, "", []string{"x"}},
	} {
		s := good
		c.change(&s)
		if err := s.check(c.faults, c.rest); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s := good
	if err := s.check("kill,halves", nil); err != nil || !reflect.DeepEqual(s.kinds, []Kind{Kill, Halves}) {
		t.Errorf("%v, %v", s.kinds, err)
	}
}
