package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cairn/crypto"
	"cairn/wallet"
)

// Limits of what is read from the files of a key.
const (
	maxKeyFileBytes  = 64 << 10
	maxPasswordBytes = 4096
)

// Why a key file is refused.
const (
	ErrNoKey      = ErrorKind("there is no validator key: make one with 'cairnd key new'")
	ErrKeyMode    = ErrorKind("others can read it: want mode 0600")
	ErrNoPassword = ErrorKind("the validator key is encrypted: give the file of its password with --password-file (run: --key-password-file, or key_password_file in config.toml) or CAIRN_KEY_PASSWORD_FILE")
)

// KeyFile is a validator key file: 64 hex digits, or Web3 Secret Storage v3 JSON,
// as other Ethereum programs write it, encrypted with a password.
type KeyFile struct {
	Address   crypto.Address
	Text      []byte // the file's content
	plain     *crypto.PrivateKey
	encrypted *wallet.KeyFile
}

// ReadKeyFile reads a key file that only its owner can read.
// Errors: ErrNoKey, ErrKeyMode, those of crypto.ParsePrivateKey and
// wallet.ParseKeyFile.
func ReadKeyFile(path string) (*KeyFile, error) {
	raw, err := readPrivate(path, maxKeyFileBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKey)
	}
	if err != nil {
		return nil, fmt.Errorf("read the validator key: %w", err)
	}
	k, err := ParseKeyFile(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParseKeyFile reads the content of a key file.
func ParseKeyFile(raw []byte) (*KeyFile, error) {
	if text := bytes.TrimSpace(raw); len(text) > 0 && text[0] == '{' {
		e, err := wallet.ParseKeyFile(raw)
		if err != nil {
			return nil, err
		}
		return &KeyFile{Address: e.Address, Text: raw, encrypted: e}, nil
	}
	key, err := crypto.ParsePrivateKey(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, err
	}
	return &KeyFile{Address: key.Address(), Text: raw, plain: key}, nil
}

// Encrypted says whether a password is needed.
func (k *KeyFile) Encrypted() bool { return k.encrypted != nil }

// Open is the key itself; passwordFile is read only if it is encrypted.
// Errors: ErrNoPassword, ErrKeyMode, wallet.ErrPassword.
func (k *KeyFile) Open(passwordFile string) (*crypto.PrivateKey, error) {
	if k.plain != nil {
		return k.plain, nil
	}
	if passwordFile == "" {
		return nil, ErrNoPassword
	}
	password, err := ReadPassword(passwordFile)
	if err != nil {
		return nil, err
	}
	key, err := k.encrypted.Decrypt(password)
	if err != nil {
		return nil, fmt.Errorf("the validator key with the password of %s: %w", passwordFile, err)
	}
	return key, nil
}

// ReadPassword is the first line of a file that only its owner can read, or of a
// pipe.
func ReadPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxPasswordBytes+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("password file: %w", err)
	}
	if len(line) > maxPasswordBytes {
		return "", fmt.Errorf("password file: the first line of %s is longer than %d bytes", path, maxPasswordBytes)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("password file: %s: %w", path, wallet.ErrPasswordEmpty)
	}
	return line, nil
}

// readPrivate reads a file of at most limit bytes that only its owner can read.
func readPrivate(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(raw) > limit {
		err = fmt.Errorf("%s: at most %d bytes are allowed", path, limit)
	}
	return raw, err
}

// checkPrivate refuses an open regular file that others can read. Pipes have no
// others.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: %w", f.Name(), mode.Perm(), ErrKeyMode)
	}
	return nil
}

// loadValidatorKey reads the signing key; a home without one is a full node.
func loadValidatorKey(path, passwordFile string) (*crypto.PrivateKey, error) {
	file, err := ReadKeyFile(path)
	if errors.Is(err, ErrNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return file.Open(passwordFile)
}
