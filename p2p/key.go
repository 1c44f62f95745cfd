package p2p

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const maxKeyFile = 1 << 10

// LoadOrCreateKey reads the Ed25519 peer key of a file (base64 of libp2p's
// protobuf, one line) or draws one and writes it with mode 0600. A file that
// others can read is refused. Errors: ErrKeyFile, ErrKeyPermissions.
func LoadOrCreateKey(path string) (libp2pcrypto.PrivKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	key, _, err = libp2pcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw a peer key: %w", err)
	}
	if err := WriteKey(path, key); err != nil {
		if errors.Is(err, os.ErrExist) { // another process was first
			return loadKey(path)
		}
		return nil, err
	}
	return key, nil
}

// WriteKey saves key in a new file of mode 0600; it never overwrites: then the
// error is os.ErrExist.
func WriteKey(path string, key libp2pcrypto.PrivKey) error {
	raw, err := libp2pcrypto.MarshalPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the peer key: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".peer-key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the peer key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(tmp.Name(), path) // fails when path exists, is never half written
	}
	if err != nil {
		return fmt.Errorf("write the peer key: %w", err)
	}
	return nil
}

func loadKey(path string) (libp2pcrypto.PrivKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the peer key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o, want 0600", ErrKeyPermissions, path, mode)
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrKeyFile, path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the peer key: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not base64", ErrKeyFile, path)
	}
	key, err := libp2pcrypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrKeyFile, path, err)
	}
	if key.Type() != libp2pcrypto.Ed25519 {
		return nil, fmt.Errorf("%w: %s holds a %s key, want Ed25519", ErrKeyFile, path, key.Type())
	}
	return key, nil
}

// PeerID is the peer id of a key; its String is what a genesis file carries.
func PeerID(key libp2pcrypto.PrivKey) (peer.ID, error) {
	return peer.IDFromPrivateKey(key)
}
