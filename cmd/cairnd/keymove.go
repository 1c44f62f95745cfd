package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/node"
	"cairn/wallet"
)

// keyExportFormat is the version of the file that key export writes.
const keyExportFormat = 1

// maxKeyExportFile bounds the file that key import reads.
const maxKeyExportFile = 256 << 10

// exportedKey is the file of key export. Floor is the last view that the key may
// have voted in. New says that the key was drawn in the old home and no node has
// run with it. Without both nothing tells whether it has voted.
type exportedKey struct {
	Format       int            `json:"format"`
	GenesisHash  *crypto.Hash   `json:"genesisHash,omitempty"` // of the home's network
	Address      crypto.Address `json:"address"`
	PeerID       string         `json:"peerId"`
	Floor        *exportedFloor `json:"floor,omitempty"`
	New          bool           `json:"new,omitempty"`
	ValidatorKey string         `json:"validatorKey"` // the content of validator.key
	PeerKey      string         `json:"peerKey"`      // the content of peer.key
}

type exportedFloor struct {
	Epoch uint32 `json:"epoch"`
	View  uint64 `json:"view"`
}

// keyEncrypt replaces the key file by an encrypted one, after it has shown that
// this one opens.
func keyEncrypt(c *cli.Context) error {
	path := filepath.Join(c.String("home"), node.ValidatorKeyFile)
	passwordFile := c.String("password-file")
	if passwordFile == "" {
		return args.Usagef("want --password-file FILE or %s", keyPasswordEnv)
	}
	kdf, err := keyDerivation(c)
	if err != nil {
		return err
	}
	file, err := node.ReadKeyFile(path)
	if err != nil {
		return err
	}
	if file.Encrypted() {
		return fmt.Errorf("%s is encrypted already", path)
	}
	key, err := file.Open("")
	if err != nil {
		return err
	}
	password, err := node.ReadPassword(passwordFile)
	if err != nil {
		return err
	}
	text, err := wallet.EncryptKey(key, password, kdf)
	if err != nil {
		return err
	}
	again, err := node.ParseKeyFile(text)
	if err == nil {
		_, err = again.Open(passwordFile)
	}
	if err != nil {
		return fmt.Errorf("the encrypted key does not open, nothing is changed: %w", err)
	}
	if err := replaceFile(path, text, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s is encrypted; run the node with --key-password-file. What was there before may be in copies and free disk blocks.\n", path)
	return nil
}

// replaceFile puts new content in the place of a file, whole or not at all.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := writeNew(next, data, mode); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func keyExport(c *cli.Context) error {
	home := c.String("home")
	file, err := node.ReadKeyFile(filepath.Join(home, node.ValidatorKeyFile))
	if err != nil {
		return err
	}
	peerPath := filepath.Join(home, node.PeerKeyFile)
	peerKey, err := readLimited(peerPath, maxKeyExportFile)
	if err != nil {
		return fmt.Errorf("read the peer key: %w", err)
	}
	e := exportedKey{Format: keyExportFormat, Address: file.Address, ValidatorKey: string(file.Text), PeerKey: string(peerKey)}
	if e.PeerID, err = peerIdentity(peerPath); err != nil {
		return err
	}
	if e.New, err = node.KeyBegun(home, e.Address); err != nil {
		return err
	}
	if _, hash, err := readGenesis(filepath.Join(home, node.GenesisFile)); err == nil {
		e.GenesisHash = &hash
		floor, err := node.ExportFloor(home)
		if errors.Is(err, node.ErrLocked) {
			return fmt.Errorf("%w: stop it first, for what it signs later would not be known to the other one", err)
		}
		if err != nil {
			return err
		}
		if floor != nil && !e.New {
			e.Floor = &exportedFloor{floor.Epoch, floor.View}
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if err := writeNew(c.String("out"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return printMove(c, &e, "exported to "+c.String("out")+"; never run this home again once the other one runs")
}

func keyImport(c *cli.Context) (err error) {
	home, path := c.String("home"), c.Args().First()
	raw, err := readLimited(path, maxKeyExportFile)
	if err != nil {
		return err
	}
	var e exportedKey
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return fmt.Errorf("%s is no file of 'key export': %w", path, err)
	}
	if e.Format != keyExportFormat {
		return fmt.Errorf("%s has format %d, this program knows %d", path, e.Format, keyExportFormat)
	}
	key, err := node.ParseKeyFile([]byte(e.ValidatorKey))
	if err != nil {
		return fmt.Errorf("%s: validator key: %w", path, err)
	}
	if key.Address != e.Address {
		return fmt.Errorf("%s: the key is of %s, the file says %s", path, key.Address, e.Address)
	}
	if err := makeHome(home); err != nil {
		return err
	}
	unlock, err := node.LockHome(home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := importInto(home, &e); err != nil {
		return err
	}
	return printMove(c, &e, "imported into "+home)
}

// importInto writes the files: what keeps the node from signing first, the
// validator key last.
func importInto(home string, e *exportedKey) error {
	keyPath := filepath.Join(home, node.ValidatorKeyFile)
	if _, err := os.Stat(keyPath); err == nil {
		return fmt.Errorf("%s: %w", keyPath, errExists)
	}
	if _, hash, err := readGenesis(filepath.Join(home, node.GenesisFile)); err == nil && e.GenesisHash != nil && hash != *e.GenesisHash {
		return fmt.Errorf("the key was used in the network %s, %s is a home of %s", *e.GenesisHash, home, hash)
	}
	peerPath := filepath.Join(home, node.PeerKeyFile)
	if have, err := os.ReadFile(peerPath); err == nil && !bytes.Equal(have, []byte(e.PeerKey)) {
		return fmt.Errorf("%s is another peer key, and the validator is known under the exported one: move it away", peerPath)
	} else if errors.Is(err, os.ErrNotExist) {
		if err := writeNew(peerPath, []byte(e.PeerKey), 0o600); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("read the peer key: %w", err)
	}
	if id, err := peerIdentity(peerPath); err != nil {
		return err
	} else if id != e.PeerID {
		return fmt.Errorf("the peer key is of %s, the file says %s", id, e.PeerID)
	}
	if e.Floor != nil {
		if err := node.ImportFloor(home, node.VoteFloor{Epoch: e.Floor.Epoch, View: e.Floor.View}); err != nil {
			return err
		}
	} else if e.New {
		if err := node.BeginKey(home, e.Address); err != nil {
			return err
		}
	}
	return writeNew(keyPath, []byte(e.ValidatorKey), 0o600)
}

// printMove tells what an exported file holds, but no key.
func printMove(c *cli.Context, e *exportedKey, what string) error {
	w := c.App.Writer
	if c.Bool("json") {
		return printJSON(w, map[string]any{"address": e.Address, "peerId": e.PeerID, "floor": e.Floor, "new": e.New})
	}
	fmt.Fprintf(w, "address  %s\npeer id  %s\n", e.Address, e.PeerID)
	switch {
	case e.Floor != nil:
		fmt.Fprintf(w, "votes    known up to epoch %d, view %d\n", e.Floor.Epoch, e.Floor.View)
	case e.New:
		fmt.Fprintln(w, "votes    none: no node has run with this key")
	default:
		fmt.Fprintln(w, "votes    unknown: the key was not drawn in this home, and no node has run here")
	}
	fmt.Fprintln(w, what)
	return nil
}
