package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/node"
	"cairn/wallet"
)

// TestEncryptedKey: a key is drawn encrypted, or encrypted later; every command
// that needs it wants the password, and no other opens it.
func TestEncryptedKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := write(t, filepath.Join(dir, "password"), "correct horse\nsecond line\n", 0o600)
	wrong := write(t, filepath.Join(dir, "wrong"), "battery", 0o600)
	open := write(t, filepath.Join(dir, "open"), "correct horse", 0o644)
	empty := write(t, filepath.Join(dir, "empty"), "\n", 0o600)

	drawn := filepath.Join(dir, "drawn")
	made := must(t, "key", "new", "--home", drawn, "--password-file", password, "--kdf", "light", "--json")
	later := filepath.Join(dir, "later")
	before := must(t, "key", "new", "--home", later, "--json")
	refused(t, 2, []string{"--password-file"}, "key", "encrypt", "--home", later)
	refused(t, 2, []string{"--kdf"}, "key", "encrypt", "--home", later, "--password-file", password, "--kdf", "none")
	plain, _ := os.ReadFile(filepath.Join(later, node.ValidatorKeyFile))
	must(t, "--home", later, "key", "encrypt", "--kdf=light", "--password-file", password)
	refused(t, 1, []string{"encrypted already"}, "key", "encrypt", "--home", later, "--password-file", password)

	for home, said := range map[string]string{drawn: made, later: before} {
		path := filepath.Join(home, node.ValidatorKeyFile)
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), strings.TrimSpace(string(plain))) || !strings.Contains(string(text), `"crypto"`) {
			t.Errorf("%s is not encrypted: %v", path, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if now := must(t, "key", "show", "--json", "--home", home, "--password-file", password); now != said {
			t.Errorf("%s, was %s", now, said)
		}
		refused(t, 1, []string{string(node.ErrNoPassword)}, "key", "show", "--home", home)
		refused(t, 1, []string{string(wallet.ErrPassword)}, "--home", home, "key", "show", "--password-file", wrong)
		refused(t, 1, []string{"mode 0644"}, "key", "show", "--home", home, "--password-file", open)
		refused(t, 1, []string{string(wallet.ErrPasswordEmpty)}, "key", "show", "--home", home, "--password-file", empty)
		refused(t, 1, []string{"password file"}, "key", "show", "--home", home, "--password-file", dir+"/none")
	}
	refused(t, 1, []string{"mode 0644"}, "key", "new", "--home", filepath.Join(dir, "x"), "--password-file", open)
}

// TestRunWithEncryptedKey: the node wants the password and signs with it.
func TestRunWithEncryptedKey(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	password := write(t, filepath.Join(t.TempDir(), "password"), "correct horse\n", 0o600)
	must(t, "init", "--dev", "--home", home)
	must(t, "key", "encrypt", "--home", home, "--password-file", password, "--kdf", "light")
	refused(t, 1, []string{"--key-password-file"}, "run", "--home", home)
	_, stop := runHome(t, home, "--key-password-file", password)
	stop()
	path := filepath.Join(home, node.ValidatorKeyFile)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, 1, []string{"mode 0640", string(node.ErrKeyMode)}, "run", "--home", home, "--key-password-file", password)
}

// TestKeyMove: a validator moves to another home with what it signed; the new
// home observes, the old one's file holds both keys and nothing is overwritten.
func TestKeyMove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to, file := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "moved.json")
	must(t, "init", "--dev", "--home", from)
	fresh := filepath.Join(dir, "fresh.json")
	if out := must(t, "key", "export", "--home", from, "--out", fresh); !strings.Contains(out, "none: no node has run") {
		t.Error(out)
	}
	_, stop := runHome(t, from)
	refused(t, 1, []string{"stop it first"}, "key", "export", "--home", from, "--out", file)
	stop()
	refused(t, 2, []string{"--out"}, "key", "export", "--home", from)
	out := must(t, "--home", from, "key", "export", "--out", file)
	key, err := os.ReadFile(filepath.Join(from, node.ValidatorKeyFile))
	if err != nil || strings.Contains(out, strings.TrimSpace(string(key))) || !strings.Contains(out, "up to epoch 0, view") {
		t.Errorf("%v: %s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	refused(t, 1, []string{"never overwritten"}, "key", "export", "--home", from, "--out", file)

	if in := must(t, "key", "import", file, "--home", to); !strings.Contains(in, "up to epoch 0, view") {
		t.Error(in)
	}
	for _, name := range []string{node.ValidatorKeyFile, node.PeerKeyFile} {
		a, _ := os.ReadFile(filepath.Join(from, name))
		b, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(a) != string(b) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
	must(t, "init", "--dev", "--home", to)
	p, stop := runHome(t, to)
	if !strings.Contains(p.log.String(), "the validator key was imported") {
		t.Errorf("the new home does not observe:\n%s", p.log.String())
	}
	stop()
	// One that never voted starts at once.
	young := filepath.Join(dir, "young")
	must(t, "--home", young, "key", "import", fresh)
	must(t, "init", "--dev", "--home", young)
	p, stop = runHome(t, young)
	if strings.Contains(p.log.String(), "observes") {
		t.Errorf("a key that never voted observes:\n%s", p.log.String())
	}
	stop()

	refused(t, 1, []string{"never overwritten"}, "key", "import", file, "--home", to)
	other := filepath.Join(dir, "other")
	must(t, "key", "new", "--home", other)
	if err := os.Remove(filepath.Join(other, node.ValidatorKeyFile)); err != nil {
		t.Fatal(err)
	}
	refused(t, 1, []string{"another peer key"}, "key", "import", file, "--home", other)
	genesisFile, hash, homes := network(t, 1)
	must(t, "init", "--genesis", genesisFile, "--expect-hash", hash, "--home", homes[0])
	if err := os.Remove(filepath.Join(homes[0], node.ValidatorKeyFile)); err != nil {
		t.Fatal(err)
	}
	refused(t, 1, []string{hash}, "key", "import", file, "--home", homes[0])
	text, _ := os.ReadFile(file)
	for name, c := range map[string]struct{ text, says string }{
		"not JSON":    {"hello", "key export"},
		"new field":   {strings.Replace(string(text), "{", `{"more": 1,`, 1), "key export"},
		"format":      {strings.Replace(string(text), `"format": 1`, `"format": 2`, 1), "format 2"},
		"other owner": {strings.Replace(string(text), `"address": "0x`, `"address": "0x00000000000000000000000000000000000000`, 1), "key"},
		"no key":      {strings.Replace(string(text), `"validatorKey": "`, `"validatorKey": "zz`, 1), "validator key"},
		"huge":        {strings.Repeat(" ", maxKeyExportFile+1), "at most"},
	} {
		bad := write(t, filepath.Join(dir, "bad.json"), c.text, 0o600)
		home := filepath.Join(dir, "bad", name)
		refused(t, 1, []string{c.says}, "key", "import", bad, "--home", home)
		if _, err := os.Stat(filepath.Join(home, node.ValidatorKeyFile)); err == nil {
			t.Errorf("%s: it left a key", name)
		}
	}
	refused(t, 2, []string{"FILE"}, "key", "import", "--home", to)
}
