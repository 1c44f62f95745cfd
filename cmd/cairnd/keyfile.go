package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cairn/crypto"
	"cairn/genesis"
	"cairn/node"
	"cairn/p2p"
)

const maxValidatorKeyFile = 1 << 10

// errExists says that a file is there that is never overwritten.
var errExists = errors.New("it exists, and is never overwritten")

// writeNew writes a file that must not exist yet, whole or not at all, and
// durably. It never replaces a file.
func writeNew(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), path) // fails when path exists
	}
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s: %w", path, errExists)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// readLimited reads a file of at most limit bytes that a user named.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

func makeHome(home string) error {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the home directory: %w", err)
	}
	return nil
}

// writeValidatorKey saves the key in a new file: 64 hex digits and a newline.
func writeValidatorKey(home string, key *crypto.PrivateKey) error {
	text := hex.EncodeToString(key.Bytes()) + "\n"
	return writeNew(filepath.Join(home, node.ValidatorKeyFile), []byte(text), 0o600)
}

// loadIdentity reads both keys of a validator's home.
func loadIdentity(home string) (key *crypto.PrivateKey, peerID string, err error) {
	key, err = loadValidatorKey(filepath.Join(home, node.ValidatorKeyFile))
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(home, node.PeerKeyFile)
	if _, err := os.Stat(path); err != nil { // LoadOrCreateKey would make another
		return nil, "", fmt.Errorf("read the peer key: %w", err)
	}
	peerID, err = peerIdentity(path)
	return key, peerID, err
}

func loadValidatorKey(path string) (*crypto.PrivateKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no validator key at %s: make one with 'cairnd key new'", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the validator key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that others can read the key: want 0600", path, mode)
	}
	raw, err := readLimited(path, maxValidatorKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the validator key: %w", err)
	}
	key, err := crypto.ParsePrivateKey(string(trimNewline(raw)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// peerIdentity loads or makes the peer key and answers its peer id.
func peerIdentity(path string) (string, error) {
	key, err := p2p.LoadOrCreateKey(path)
	if err != nil {
		return "", err
	}
	id, err := p2p.PeerID(key)
	if err != nil {
		return "", fmt.Errorf("peer id of %s: %w", path, err)
	}
	return id.String(), nil
}

// newIdentity draws the keys of a new home. A peer key that is there already
// stays: a full node that becomes a validator keeps its peer id.
func newIdentity(home string) (*crypto.PrivateKey, string, error) {
	if err := makeHome(home); err != nil {
		return nil, "", err
	}
	key, err := crypto.GenerateKey(random)
	if err != nil {
		return nil, "", err
	}
	if err := writeValidatorKey(home, key); err != nil {
		return nil, "", err
	}
	id, err := peerIdentity(filepath.Join(home, node.PeerKeyFile))
	return key, id, err
}

// candidate is the validator that a home's keys make. An empty name is derived
// from the address, so that operators who do not care get different ones.
func candidate(key *crypto.PrivateKey, peerID, name string) (*genesis.Candidate, error) {
	if name == "" {
		name = fmt.Sprintf("v-%x", key.Address().Bytes()[:4])
	}
	return genesis.NewCandidate(key, peerID, name)
}
