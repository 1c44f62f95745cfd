package wallet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cairn/crypto"
)

// KeyStore is a directory of key files. An account's name is the file's name
// without .json, so that files of other wallets can be put there as they are.
type KeyStore struct{ dir string }

// Account is one readable key file.
type Account struct {
	Name    string
	Address crypto.Address
	Path    string
	// Exposed says that others than the owner may read the file.
	Exposed bool
}

// OpenKeyStore names the directory. It is made, readable by the owner alone,
// when the first key is stored.
func OpenKeyStore(dir string) *KeyStore { return &KeyStore{dir: dir} }

// Dir is the directory.
func (s *KeyStore) Dir() string { return s.dir }

const keyFileSuffix = ".json"

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	hexDigits = regexp.MustCompile(`^(0[xX])?([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
	keyDigits = regexp.MustCompile(`^(0[xX])?[0-9a-fA-F]{64}$`)
)

// CheckName says whether a new account may be called name. The error does not
// repeat the name, which could be a key put in the wrong place.
// Errors: ErrLooksLikeKey, ErrAccountName.
func CheckName(name string) error {
	if keyDigits.MatchString(name) {
		return ErrLooksLikeKey
	}
	if !validName.MatchString(name) || hexDigits.MatchString(name) ||
		strings.HasPrefix(strings.ToLower(name), "0x") || strings.HasSuffix(name, keyFileSuffix) {
		return ErrAccountName
	}
	return nil
}

// New draws a key and stores it. Errors: those of Import.
func (s *KeyStore) New(name, password string, kdf KDF) (Account, error) {
	key, err := crypto.GenerateKey(rand.Reader)
	if err != nil {
		return Account{}, err
	}
	return s.Import(name, key, password, kdf)
}

// Import stores a key under a new name, durably, and never over another file.
// Errors: those of CheckName; ErrAccountExists (the name, or the address under
// another name); ErrPasswordEmpty; failures of the file system.
func (s *KeyStore) Import(name string, key *crypto.PrivateKey, password string, kdf KDF) (Account, error) {
	if err := s.checkNew(name, key); err != nil {
		return Account{}, err
	}
	b, err := EncryptKey(key, password, kdf)
	if err != nil {
		return Account{}, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return Account{}, fmt.Errorf("make the key store: %w", err)
	}
	path := filepath.Join(s.dir, name+keyFileSuffix)
	if err := writeNew(path, b); err != nil {
		if errors.Is(err, os.ErrExist) {
			return Account{}, fmt.Errorf("%w: %s", ErrAccountExists, name)
		}
		return Account{}, fmt.Errorf("store a key: %w", err)
	}
	return Account{Name: name, Address: key.Address(), Path: path}, nil
}

// CheckFree says whether name can be given to a new account, before a password
// is asked for. Errors: those of CheckName; ErrAccountExists.
func (s *KeyStore) CheckFree(name string) error { return s.checkNew(name, nil) }

// checkNew runs on key == nil too: then only the name counts.
func (s *KeyStore) checkNew(name string, key *crypto.PrivateKey) error {
	if err := CheckName(name); err != nil {
		return err
	}
	accounts, bad, err := s.List()
	if err != nil {
		return err
	}
	for _, a := range accounts {
		// On a file system that ignores case two such names are one file.
		if strings.EqualFold(a.Name, name) {
			return fmt.Errorf("%w: %s is %s", ErrAccountExists, a.Name, a.Address)
		}
		if key != nil && a.Address == key.Address() {
			return fmt.Errorf("%w: %s is in the key store as %s", ErrAccountExists, a.Address, a.Name)
		}
	}
	for _, b := range bad {
		if strings.EqualFold(b.Name, name) {
			return fmt.Errorf("%w: %s, whose file is damaged (%s)", ErrAccountExists, b.Name, b.Path)
		}
	}
	return nil
}

// writeNew makes a file of mode 0600 whole or not at all, and never replaces
// one: the bytes are durable under another name before they get theirs.
func writeNew(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, os.ErrExist) {
			return err
		}
		// No hard links on this file system.
		if _, err := os.Lstat(path); err == nil {
			return os.ErrExist
		}
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// BadFile is a file of the key store that is no usable key file.
type BadFile struct {
	Name, Path string
	Err        error // an ErrKeyFile kind or a failure to read
}

func (b BadFile) Error() string { return fmt.Sprintf("%s: %v", b.Path, b.Err) }

// List answers the accounts by name, and apart from them the files that cannot
// be used: one damaged file does not hide the others. A directory that does not
// exist has no accounts.
func (s *KeyStore) List() (accounts []Account, bad []BadFile, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the key store: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		name := strings.TrimSuffix(e.Name(), keyFileSuffix)
		f, exposed, err := readKeyFile(path)
		if err != nil {
			bad = append(bad, BadFile{Name: name, Path: path, Err: err})
			continue
		}
		accounts = append(accounts, Account{Name: name, Address: f.Address, Path: path, Exposed: exposed})
	}
	slices.SortFunc(accounts, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return accounts, bad, nil
}

func readKeyFile(path string) (*KeyFile, bool, error) {
	// A pipe or a device would block or never end: only files are keys.
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("%w: no regular file", ErrKeyFileJSON)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFileBytes+1))
	if err != nil {
		return nil, false, err
	}
	k, err := ParseKeyFile(b)
	return k, info.Mode().Perm()&0o077 != 0, err
}

// Find looks an account up by name, or by address if text is one.
// Errors: ErrNoAccount; the kind of a damaged file of that name;
// crypto.ErrAddressChecksum; ErrLooksLikeKey.
func (s *KeyStore) Find(text string) (Account, error) {
	if keyDigits.MatchString(text) {
		return Account{}, ErrLooksLikeKey
	}
	accounts, bad, err := s.List()
	if err != nil {
		return Account{}, err
	}
	for _, a := range accounts {
		if a.Name == text {
			return a, nil
		}
	}
	for _, b := range bad {
		if b.Name == text {
			return Account{}, b.Err
		}
	}
	if !LooksLikeAddress(text) {
		return Account{}, fmt.Errorf("%w: %.64q (%s)", ErrNoAccount, text, s.dir)
	}
	address, err := crypto.ParseAddress(text)
	if err != nil {
		return Account{}, err
	}
	for _, a := range accounts {
		if a.Address == address {
			return a, nil
		}
	}
	return Account{}, fmt.Errorf("%w: %s (%s)", ErrNoAccount, address, s.dir)
}

// LooksLikeAddress says whether text was meant as an address, right or wrong,
// and not as a name.
func LooksLikeAddress(text string) bool {
	return strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X")
}

// Address resolves an address or the name of an account.
// Errors: crypto.ErrHex, crypto.ErrAddressLength, crypto.ErrAddressChecksum;
// those of Find for a name.
func (s *KeyStore) Address(text string) (crypto.Address, error) {
	if keyDigits.MatchString(text) {
		return crypto.Address{}, ErrLooksLikeKey
	}
	if LooksLikeAddress(text) {
		return crypto.ParseAddress(text)
	}
	a, err := s.Find(text)
	return a.Address, err
}

// Unlock decrypts an account's key. Errors: the ErrKeyFile kinds, ErrPassword.
func (s *KeyStore) Unlock(a Account, password string) (*crypto.PrivateKey, error) {
	f, _, err := readKeyFile(a.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Path, err)
	}
	if f.Address != a.Address {
		return nil, fmt.Errorf("%s: %w: %s, not %s", a.Path, ErrKeyFileMismatch, f.Address, a.Address)
	}
	key, err := f.Decrypt(password)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	return key, nil
}
