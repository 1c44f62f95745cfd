package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/ledger/store"
	"cairn/light/lighttest"
	"cairn/node"
	"cairn/node/archive"
)

// chainFile is an export of a chain of three epochs, the genesis file of its
// network, and its height.
func chainFile(t *testing.T) (file, genesisFile string, height uint64) {
	t.Helper()
	c := lighttest.New(t, 4)
	for i := range 2 {
		c.Change(4+i, true)
		for range 5 {
			c.Seal(c.Transfer(i), c.Transfer(i+1))
		}
	}
	var out bytes.Buffer
	_, err := archive.Export(t.Context(), &out, c.Store.View, archive.Chain{ChainID: c.Spec.ChainID, Genesis: c.Ledger.Genesis().Hash()}, 0, 0, func(uint64, uint64) {})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return write(t, filepath.Join(dir, "blocks"), out.String(), 0o600), write(t, filepath.Join(dir, node.GenesisFile), string(c.Spec.Marshal()), 0o600), c.Ledger.HeadInfo().Height
}

// homeOf is a home of the network of a genesis file that has not run.
func homeOf(t *testing.T, genesisFile string) string {
	t.Helper()
	home := t.TempDir()
	raw, err := os.ReadFile(genesisFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, node.GenesisFile), string(raw), 0o600)
	return home
}

func headOf(t *testing.T, home string) uint64 {
	t.Helper()
	var stats struct{ Height uint64 }
	if err := json.Unmarshal([]byte(must(t, "db", "stats", "--json", "--home", home)), &stats); err != nil {
		t.Fatal(err)
	}
	return stats.Height
}

// TestExportImport: blocks leave one home and enter another, once; each wrong
// file is refused with its reason.
func TestExportImport(t *testing.T) {
	t.Parallel()
	file, spec, height := chainFile(t)
	home := homeOf(t, spec)
	refused(t, 1, []string{string(node.ErrNoData)}, "export", filepath.Join(home, "x"), "--home", home)
	if out := must(t, "import", file, "--home", home); out != fmt.Sprintf("imported the blocks 1 to %d\n", height) {
		t.Error(out)
	}
	if out := must(t, "--home", home, "import", file); !strings.Contains(out, "was here already") {
		t.Error(out)
	}
	if out := must(t, "db", "check", "--execute", "--home", home); !strings.HasPrefix(out, fmt.Sprintf("sound: height %d, epoch 2,", height)) {
		t.Error(out)
	}
	if entries, err := filepath.Glob(filepath.Join(home, "data.*")); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	again := filepath.Join(home, "again")
	must(t, "export", again, "--home", home)
	a, errA := os.ReadFile(file)
	b, errB := os.ReadFile(again)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("an export of an import differs: %d and %d bytes, %v, %v", len(a), len(b), errA, errB)
	}
	refused(t, 1, []string{"file already exists"}, "export", again, "--home", home)
	refused(t, 2, []string{"--from 4"}, "export", again+"2", "--from", "4", "--to", "3", "--home", home)
	refused(t, 1, []string{string(archive.ErrRange)}, "export", again+"2", "--from", "4000", "--home", home)
	if entries, err := filepath.Glob(again + "?*"); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}

	// In parts, the second of which begins above the head of an empty home.
	first, second, other := filepath.Join(home, "1"), filepath.Join(home, "2"), homeOf(t, spec)
	must(t, "export", first, "--to", "5", "--home", home)
	must(t, "export", second, "--from", "5", "--home", home)
	refused(t, 1, []string{string(archive.ErrGap)}, "import", second, "--home", other)
	must(t, "import", first, "--home", other)
	must(t, "import", second, "--home", other)
	if got := headOf(t, other); got != height {
		t.Errorf("head %d, want %d", got, height)
	}

	foreign := filepath.Join(t.TempDir(), "h")
	must(t, "init", "--dev", "--home", foreign)
	refused(t, 1, []string{string(archive.ErrNetwork)}, "import", file, "--home", foreign)
	refused(t, 1, []string{string(archive.ErrFormat)}, "import", spec, "--home", other)
	cut := write(t, filepath.Join(home, "cut"), string(a[:len(a)-9]), 0o600)
	refused(t, 1, []string{string(archive.ErrCut)}, "import", cut, "--home", homeOf(t, spec))
	a[len(a)/2] ^= 4
	refused(t, 1, []string{string(archive.ErrAltered)}, "import", write(t, filepath.Join(home, "altered"), string(a), 0o600), "--home", homeOf(t, spec))
}

// TestReplaceCommands: a database is compacted, copied, rolled back, put back,
// damaged and repaired, and is sound after each.
func TestReplaceCommands(t *testing.T) {
	t.Parallel()
	file, spec, height := chainFile(t)
	home := homeOf(t, spec)
	must(t, "import", file, "--home", home)
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, "db", "backup", copied, "--home", home)
	if out := must(t, "db", "compact", "--home", home); !strings.Contains(out, "bytes before") {
		t.Error(out)
	}
	sound := func() {
		t.Helper()
		if out := must(t, "db", "check", "--home", home); !strings.HasPrefix(out, "sound: ") {
			t.Error(out)
		}
	}
	refused(t, 1, []string{string(node.ErrHeight)}, "db", "rollback", "--to", "999", "--home", home)
	refused(t, 2, []string{"--to"}, "db", "rollback", "--home", home)
	if out := must(t, "db", "rollback", "--to", "4", "--home", home); !strings.Contains(out, "the head is 4") || !strings.Contains(out, "data.before-rollback") {
		t.Error(out)
	}
	sound()
	must(t, "import", file, "--home", home)
	if got := headOf(t, home); got != height {
		t.Errorf("head %d, want %d", got, height)
	}
	refused(t, 1, []string{string(node.ErrKept)}, "db", "rollback", "--to", "4", "--home", home)

	refused(t, 1, []string{string(node.ErrHasData), "--replace"}, "db", "restore", copied, "--home", home)
	if out := must(t, "db", "restore", copied, "--replace", "--home", home); !strings.Contains(out, fmt.Sprintf("height %d", height)) || !strings.Contains(out, "data.before-restore") {
		t.Error(out)
	}
	sound()
	spoil(t, copied)
	fresh := homeOf(t, spec)
	refused(t, 1, []string{string(node.ErrDamagedCopy)}, "db", "restore", copied, "--home", fresh)
	if entries, err := filepath.Glob(filepath.Join(fresh, "data*")); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}

	// A damaged index is made anew; the blocks were sound.
	data := filepath.Join(home, node.DataDir)
	spoil(t, data)
	refused(t, 1, []string{"findings", "db repair"}, "db", "check", "--home", home)
	if out := must(t, "db", "repair", "--home", home); !strings.Contains(out, fmt.Sprintf("up to the head %d is sound", height)) {
		t.Error(out)
	}
	sound()
	// A database that does not open is set aside.
	if err := os.RemoveAll(data + ".damaged"); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(data, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("%v, %v", manifests, err)
	}
	for _, m := range manifests {
		raw, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		write(t, m, string(raw), 0o600)
	}
	refused(t, 1, []string{string(store.ErrCorrupt)}, "db", "check", "--home", home)
	if out := must(t, "db", "repair", "--home", home); !strings.Contains(out, "the head is 0") || !strings.Contains(out, "data.damaged") {
		t.Error(out)
	}
	sound()
	must(t, "import", file, "--home", home)
	sound()
}

// TestReplaceOfValidators: who would observe for ever is refused.
func TestReplaceOfValidators(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "h")
	must(t, "init", "--dev", "--home", home)
	_, stop := runHome(t, home)
	stop()
	refused(t, 1, []string{string(node.ErrAlone)}, "db", "rollback", "--to", "1", "--home", home)
	refused(t, 1, []string{string(node.ErrAlone)}, "db", "repair", "--home", home)
	if entries, err := filepath.Glob(filepath.Join(home, "data.*")); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestProgress: what a bar says.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := newProgress(new(bytes.Buffer))
	p.stage, p.first = "blocks", 100
	if got := p.text(600, 1100, 5e9); got != "blocks [=============           ] 54.5%  600 of 1100  100/s  5s left" {
		t.Errorf("%q", got)
	}
	if got := p.text(600, 0, 5e9); got != "blocks: 600  100/s" {
		t.Errorf("%q", got)
	}
}
