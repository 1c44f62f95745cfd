package genesis

import (
	"bytes"
	"encoding/binary"
	"testing"

	"cairn/crypto"
)

// TestRegistrationDigest: the digest is what docs/registry.md draws, and every
// part of it is bound.
func TestRegistrationDigest(t *testing.T) {
	t.Parallel()
	key := DevelopmentAccounts()[0]
	v := Validator{Address: key.Address(), PeerID: Development().Validators[0].PeerID, Name: "ann"}
	peer, name := crypto.Keccak256([]byte(v.PeerID)), crypto.Keccak256([]byte("ann"))
	var b bytes.Buffer
	b.WriteString("cairn-reg-v1\x00\x00\x00\x00")
	_ = binary.Write(&b, binary.BigEndian, []uint64{7357, 3})
	b.Write(v.Address[:])
	b.Write(peer[:])
	b.Write(name[:])
	digest := RegistrationDigest(7357, v, 3)
	if b.Len() != 116 || digest != crypto.Keccak256(b.Bytes()) {
		t.Errorf("digest %s, of %d bytes", digest, b.Len())
	}
	proof := SignRegistration(key, 7357, v, 3)
	if err := proof.Verify(digest, v.Address); err != nil {
		t.Error(err)
	}
	other := v
	other.Name = "anne"
	peerless := v
	peerless.PeerID = v.PeerID[1:]
	moved := v
	moved.Address[0] ^= 1
	for what, d := range map[string]crypto.Hash{
		"chain id": RegistrationDigest(7358, v, 3), "number": RegistrationDigest(7357, v, 4), "name": RegistrationDigest(7357, other, 3),
		"peer id": RegistrationDigest(7357, peerless, 3), "address": RegistrationDigest(7357, moved, 3), "genesis": PossessionDigest(v.Address, v.PeerID),
	} {
		if d == digest {
			t.Errorf("another %s gives the same digest", what)
		}
	}
}
