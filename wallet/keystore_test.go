package wallet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/crypto"
	"cairn/wallet"

	"github.com/ethereum/go-ethereum/accounts/keystore"
)

// testKey is a fixed key; number tells keys apart.
func testKey(t testing.TB, number byte) *crypto.PrivateKey {
	key, err := crypto.PrivateKeyFromBytes(append(make([]byte, 31), number))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The two vectors of the Web3 Secret Storage definition: the same key, by
// pbkdf2 and by scrypt, password "testpassword".
const (
	vectorKey    = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
	vectorPBKDF2 = `{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`
	vectorScrypt = `{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"address":"0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b","id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`
)

func TestKeyFileVectors(t *testing.T) {
	t.Parallel()
	want, err := crypto.ParsePrivateKey(vectorKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, vector := range []string{vectorPBKDF2, vectorScrypt} {
		f, err := wallet.ParseKeyFile([]byte(vector))
		if err != nil {
			t.Fatal(err)
		}
		key, err := f.Decrypt("testpassword")
		if err != nil || !bytes.Equal(key.Bytes(), want.Bytes()) {
			t.Errorf("%v", err)
		}
	}
}

// Files go both ways between this wallet and go-ethereum's.
func TestKeyFileAgainstGeth(t *testing.T) {
	t.Parallel()
	key := testKey(t, 7)
	b, err := wallet.EncryptKey(key, "pass", wallet.KDFLight)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := keystore.DecryptKey(b, "pass")
	if err != nil || theirs.Address != key.Address() {
		t.Fatalf("go-ethereum reads %v, %v", theirs, err)
	}
	if theirs.Id.Version() != 4 {
		t.Errorf("id %s is no version 4", theirs.Id)
	}
	b, err = keystore.EncryptKey(theirs, "other", keystore.LightScryptN, keystore.LightScryptP)
	if err != nil {
		t.Fatal(err)
	}
	f, err := wallet.ParseKeyFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := f.Decrypt("other"); err != nil || back.Address() != key.Address() {
		t.Error(err)
	}
}

// edit changes the scrypt vector, a path of keys at a time.
func edit(t testing.TB, change func(file, crypto, kdf map[string]any)) []byte {
	var file map[string]any
	if err := json.Unmarshal([]byte(vectorScrypt), &file); err != nil {
		t.Fatal(err)
	}
	c := file["crypto"].(map[string]any)
	change(file, c, c["kdfparams"].(map[string]any))
	b, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type malformed struct {
	name string
	text []byte
	want error
}

func malformedKeyFiles(t testing.TB) []malformed {
	e := func(change func(file, c, kdf map[string]any)) []byte { return edit(t, change) }
	type m = map[string]any
	return []malformed{
		{"empty", nil, wallet.ErrKeyFileJSON},
		{"text", []byte("hello"), wallet.ErrKeyFileJSON},
		{"cut", []byte(vectorScrypt[:200]), wallet.ErrKeyFileJSON},
		{"trailing", []byte(vectorScrypt + "x"), wallet.ErrKeyFileJSON},
		{"array", []byte("[]"), wallet.ErrKeyFileJSON},
		{"crypto-text", e(func(f, _, _ m) { f["crypto"] = "x" }), wallet.ErrKeyFileJSON},
		{"crypto-absent", e(func(f, _, _ m) { delete(f, "crypto") }), wallet.ErrKeyFileJSON},
		{"huge", append([]byte(vectorScrypt), bytes.Repeat([]byte(" "), 1<<16)...), wallet.ErrKeyFileSize},
		{"plain", []byte(`{"address":"00","privatekey":"11","id":"x","version":3}`), wallet.ErrKeyFilePlain},
		{"version-1", e(func(f, _, _ m) { f["version"] = "1" }), wallet.ErrKeyFileVersion},
		{"version-absent", e(func(f, _, _ m) { delete(f, "version") }), wallet.ErrKeyFileVersion},
		{"version-4", e(func(f, _, _ m) { f["version"] = 4 }), wallet.ErrKeyFileVersion},
		{"address-absent", e(func(f, _, _ m) { delete(f, "address") }), wallet.ErrKeyFileAddress},
		{"address-short", e(func(f, _, _ m) { f["address"] = "00ff" }), wallet.ErrKeyFileAddress},
		{"address-text", e(func(f, _, _ m) { f["address"] = strings.Repeat("g", 40) }), wallet.ErrKeyFileAddress},
		{"cipher", e(func(_, c, _ m) { c["cipher"] = "aes-256-gcm" }), wallet.ErrKeyFileCipher},
		{"iv", e(func(_, c, _ m) { c["cipherparams"] = m{"iv": "00"} }), wallet.ErrKeyFileIV},
		{"ciphertext-short", e(func(_, c, _ m) { c["ciphertext"] = "00" }), wallet.ErrKeyFileCiphertext},
		{"ciphertext-text", e(func(_, c, _ m) { c["ciphertext"] = strings.Repeat("z", 64) }), wallet.ErrKeyFileCiphertext},
		{"mac", e(func(_, c, _ m) { c["mac"] = "" }), wallet.ErrKeyFileMAC},
		{"kdf", e(func(_, c, _ m) { c["kdf"] = "argon2" }), wallet.ErrKeyFileKDF},
		{"kdf-absent", e(func(_, c, _ m) { delete(c, "kdf") }), wallet.ErrKeyFileKDF},
		{"kdfparams-absent", e(func(_, c, _ m) { delete(c, "kdfparams") }), wallet.ErrKeyFileKDFParams},
		{"salt-number", e(func(_, _, k m) { k["salt"] = 5 }), wallet.ErrKeyFileKDFParams},
		{"salt-absent", e(func(_, _, k m) { delete(k, "salt") }), wallet.ErrKeyFileKDFParams},
		{"dklen-0", e(func(_, _, k m) { k["dklen"] = 0 }), wallet.ErrKeyFileKDFParams},
		{"dklen-16", e(func(_, _, k m) { k["dklen"] = 16 }), wallet.ErrKeyFileKDFParams},
		{"n-0", e(func(_, _, k m) { k["n"] = 0 }), wallet.ErrKeyFileKDFParams},
		{"n-odd", e(func(_, _, k m) { k["n"] = 1000 }), wallet.ErrKeyFileKDFParams},
		{"n-huge", e(func(_, _, k m) { k["n"] = 1 << 40 }), wallet.ErrKeyFileKDFParams},
		{"n-text", e(func(_, _, k m) { k["n"] = "262144" }), wallet.ErrKeyFileKDFParams},
		{"n-float", e(func(_, _, k m) { k["n"] = 1e300 }), wallet.ErrKeyFileKDFParams},
		{"r-huge", e(func(_, _, k m) { k["r"] = 1 << 50 }), wallet.ErrKeyFileKDFParams},
		{"r-memory", e(func(_, _, k m) { k["r"] = 64 }), wallet.ErrKeyFileKDFParams},
		{"p-negative", e(func(_, _, k m) { k["p"] = -1 }), wallet.ErrKeyFileKDFParams},
		{"p-huge", e(func(_, _, k m) { k["p"] = 1 << 30 }), wallet.ErrKeyFileKDFParams},
		{"pbkdf2-c", e(func(_, c, k m) { c["kdf"], k["prf"], k["c"] = "pbkdf2", "hmac-sha256", 1<<31-1 }), wallet.ErrKeyFileKDFParams},
		{"pbkdf2-prf", e(func(_, c, k m) { c["kdf"], k["prf"], k["c"] = "pbkdf2", "md5", 1000 }), wallet.ErrKeyFileKDFParams},
	}
}

func TestMalformedKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := wallet.OpenKeyStore(dir)
	if _, err := store.Import("good", testKey(t, 1), "p", wallet.KDFLight); err != nil {
		t.Fatal(err)
	}
	files := malformedKeyFiles(t)
	for _, m := range files {
		if _, err := wallet.ParseKeyFile(m.text); !errors.Is(err, m.want) {
			t.Errorf("%s: %v, want %v", m.name, err, m.want)
		}
		if err := os.WriteFile(filepath.Join(dir, m.name+".json"), m.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Find(m.name); !errors.Is(err, m.want) {
			t.Errorf("find %s: %v, want %v", m.name, err, m.want)
		}
		if _, err := store.New(m.name, "p", wallet.KDFLight); !errors.Is(err, wallet.ErrAccountExists) {
			t.Errorf("new %s: %v", m.name, err)
		}
	}
	accounts, bad, err := store.List()
	if err != nil || len(accounts) != 1 || accounts[0].Name != "good" || len(bad) != len(files) {
		t.Errorf("%d accounts, %d bad of %d, %v", len(accounts), len(bad), len(files), err)
	}
}

func TestKeyFileOfAnotherAddress(t *testing.T) {
	t.Parallel()
	b, err := wallet.EncryptKey(testKey(t, 1), "p", wallet.KDFLight)
	if err != nil {
		t.Fatal(err)
	}
	one, two := testKey(t, 1).Address(), testKey(t, 2).Address()
	b = bytes.Replace(b, []byte(strings.ToLower(one.Hex()[2:])), []byte(strings.ToLower(two.Hex()[2:])), 1)
	f, err := wallet.ParseKeyFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Decrypt("p"); !errors.Is(err, wallet.ErrKeyFileMismatch) {
		t.Error(err)
	}
}

func TestKeyStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "keys")
	store := wallet.OpenKeyStore(dir)
	if accounts, _, err := store.List(); err != nil || len(accounts) != 0 {
		t.Fatal("a directory that is not there: ", accounts, err)
	}
	alice, err := store.Import("alice", testKey(t, 1), "secret", wallet.KDFLight)
	if err != nil {
		t.Fatal(err)
	}
	bob, err := store.New("bob", "secret", wallet.KDFLight)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, alice.Path: 0o600, bob.Path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want mode %o", path, info.Mode(), want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("files left over: %v", entries)
	}
	for _, text := range []string{"alice", alice.Address.Hex(), strings.ToLower(alice.Address.Hex())} {
		if a, err := store.Find(text); err != nil || a != alice {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	if key, err := store.Unlock(bob, "secret"); err != nil || key.Address() != bob.Address {
		t.Error(err)
	}
	for want, err := range map[error]error{
		wallet.ErrPassword:        errOf(store.Unlock(bob, "Secret")),
		wallet.ErrNoAccount:       errOf(store.Find("carol")),
		wallet.ErrAccountExists:   errOf(store.Import("Alice", testKey(t, 9), "p", wallet.KDFLight)),
		wallet.ErrPasswordEmpty:   errOf(store.Import("carol", testKey(t, 9), "", wallet.KDFLight)),
		wallet.ErrLooksLikeKey:    errOf(store.Find(vectorKey)),
		crypto.ErrAddressChecksum: errOf(store.Address("0x7E5F4552091A69125d5DfCb7b8C2659029395BdF" /* last B is b */)),
		crypto.ErrAddressLength:   errOf(store.Address("0x00")),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if _, err := store.Import("again", testKey(t, 1), "p", wallet.KDFLight); !errors.Is(err, wallet.ErrAccountExists) {
		t.Errorf("the same key under another name: %v", err)
	}
	if _, err := store.Find(testKey(t, 9).Address().Hex()); !errors.Is(err, wallet.ErrNoAccount) {
		t.Error(err)
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestAccountNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "Alice-2", "x.y_z", "0", strings.Repeat("n", 64)} {
		if err := wallet.CheckName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]error{
		"": wallet.ErrAccountName, ".": wallet.ErrAccountName, "..": wallet.ErrAccountName, "-a": wallet.ErrAccountName,
		"a/b": wallet.ErrAccountName, `a\b`: wallet.ErrAccountName, "a b": wallet.ErrAccountName, "ä": wallet.ErrAccountName,
		"a\n": wallet.ErrAccountName, "a.json": wallet.ErrAccountName, "0xyz": wallet.ErrAccountName,
		strings.Repeat("n", 65): wallet.ErrAccountName, strings.Repeat("a", 40): wallet.ErrAccountName,
		vectorKey: wallet.ErrLooksLikeKey, "0x" + vectorKey: wallet.ErrLooksLikeKey,
	} {
		err := wallet.CheckName(name)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
		if err != nil && len(name) > 20 && strings.Contains(err.Error(), name) {
			t.Errorf("%v repeats what may be a key", err)
		}
	}
}

func TestExposedKeyFile(t *testing.T) {
	t.Parallel()
	store := wallet.OpenKeyStore(t.TempDir())
	a, err := store.New("a", "p", wallet.KDFLight)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Find("a"); err != nil || !got.Exposed {
		t.Error(got, err)
	}
}

// No file makes the reader panic, and what it accepts can be decrypted or not
// within the limits it sets.
func FuzzParseKeyFile(f *testing.F) {
	f.Add([]byte(vectorScrypt))
	f.Add([]byte(vectorPBKDF2))
	for _, m := range malformedKeyFiles(f) {
		if len(m.text) < 4096 {
			f.Add(m.text)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := wallet.ParseKeyFile(b)
		if err != nil {
			if kind, ok := errors.AsType[wallet.ErrorKind](err); !ok || kind == "" {
				t.Fatalf("%v has no kind", err)
			}
			return
		}
		// Only cheap derivations are tried: the fuzzer has other work.
		if cheap(b) {
			if _, err := k.Decrypt("p"); err == nil && !bytes.Contains(b, []byte("ciphertext")) {
				t.Fatal("decrypted without a ciphertext")
			}
		}
	})
}

func cheap(b []byte) bool {
	var f struct {
		Crypto struct {
			KDFParams struct{ N, R, P, C int }
		}
	}
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	k := f.Crypto.KDFParams
	return k.N <= 1<<10 && k.R <= 8 && k.P <= 2 && k.C <= 1000
}
