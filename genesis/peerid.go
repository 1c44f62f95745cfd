package genesis

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"github.com/btcsuite/btcd/btcutil/base58"
)

// A peer id is a multihash of the libp2p public key in protobuf form. Ed25519
// keys are short enough to stand in it whole: 0x00 0x24 (identity, 36 bytes),
// 0x08 0x01 (key type Ed25519), 0x12 0x20 (32 bytes), key. It is spelled out here
// because a wallet reads genesis files too, and links no libp2p.
// Source: libp2p specification, peer-ids.
var ed25519PeerID = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

const maxPeerIDText = 64 // base58 of 38 bytes is 52 characters

// PeerID is the text form of the peer id of an Ed25519 public key.
func PeerID(key ed25519.PublicKey) string {
	return base58.Encode(append(bytes.Clone(ed25519PeerID), key...))
}

// checkPeerID accepts exactly the canonical text of an Ed25519 peer id, the only
// kind of key that a node makes, so that one peer has one text.
func checkPeerID(text string) error {
	if len(text) > maxPeerIDText {
		return errors.New("too long")
	}
	raw := base58.Decode(text) // empty when a character is not base58
	switch {
	case len(raw) == 0:
		return errors.New("not base58")
	case len(raw) != len(ed25519PeerID)+ed25519.PublicKeySize || !bytes.HasPrefix(raw, ed25519PeerID):
		return errors.New("not the id of an Ed25519 key (12D3KooW…)")
	case base58.Encode(raw) != text:
		return errors.New("not canonical base58")
	}
	return nil
}
