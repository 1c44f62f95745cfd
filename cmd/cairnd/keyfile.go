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
	"cairn/wallet"
)

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

// writeValidatorKey saves the key in a new file: 64 hex digits and a newline or,
// with a password, Web3 Secret Storage v3.
func writeValidatorKey(home string, key *crypto.PrivateKey, password string, kdf wallet.KDF) error {
	text := []byte(hex.EncodeToString(key.Bytes()) + "\n")
	if password != "" {
		var err error
		if text, err = wallet.EncryptKey(key, password, kdf); err != nil {
			return err
		}
	}
	return writeNew(filepath.Join(home, node.ValidatorKeyFile), text, 0o600)
}

// drawnKey saves a key that has signed nowhere, so that the first run with it
// votes at once.
func drawnKey(home string, key *crypto.PrivateKey, password string, kdf wallet.KDF) error {
	path := filepath.Join(home, node.ValidatorKeyFile)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s: %w", path, errExists)
	}
	if err := node.BeginKey(home, key.Address()); err != nil {
		return err
	}
	return writeValidatorKey(home, key, password, kdf)
}

// loadIdentity reads both keys of a validator's home. passwordFile may be empty
// if the validator key is not encrypted.
func loadIdentity(home, passwordFile string) (key *crypto.PrivateKey, peerID string, err error) {
	file, err := node.ReadKeyFile(filepath.Join(home, node.ValidatorKeyFile))
	if err != nil {
		return nil, "", err
	}
	if key, err = file.Open(passwordFile); err != nil {
		return nil, "", err
	}
	path := filepath.Join(home, node.PeerKeyFile)
	if _, err := os.Stat(path); err != nil { // LoadOrCreateKey would make another
		return nil, "", fmt.Errorf("read the peer key: %w", err)
	}
	peerID, err = peerIdentity(path)
	return key, peerID, err
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
func newIdentity(home, password string, kdf wallet.KDF) (*crypto.PrivateKey, string, error) {
	if err := makeHome(home); err != nil {
		return nil, "", err
	}
	key, err := crypto.GenerateKey(random)
	if err != nil {
		return nil, "", err
	}
	if err := drawnKey(home, key, password, kdf); err != nil {
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
