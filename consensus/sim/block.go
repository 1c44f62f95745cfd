package sim

import (
	"encoding/binary"

	"cairn/consensus"
	"cairn/crypto"
)

// block is a block with its content. Blocks are immutable and shared by all nodes
// of a world; which node holds which is in its disk.
type block struct {
	consensus.Block
	transactions []uint32
	invalid      bool // breaks a rule of execution: every honest node says so
	parent       *block
}

// closes says whether executing b changes the validator set, which ends b's epoch.
func (w *world) closes(b *block) bool {
	every := w.plan.closeEvery
	return every > 0 && b.Height > 0 && b.Height%every == 0
}

// seal gives b its hash: of all its content, cheap rather than cryptographic.
func (b *block) seal(salt uint64) *block {
	h := mix(salt ^ binary.BigEndian.Uint64(b.Parent[:8]))
	h = mix(h ^ binary.BigEndian.Uint64(b.Parent[8:16]) ^ b.Height<<20 ^ b.View)
	h = mix(h ^ uint64(b.Epoch)<<32 ^ uint64(b.Timestamp) ^ uint64(b.Proposer[0])<<56)
	for _, t := range b.transactions {
		h = mix(h ^ uint64(t))
	}
	if b.invalid {
		h = mix(h + 1)
	}
	for i := range 4 {
		binary.BigEndian.PutUint64(b.Hash[8*i:], h)
		h = mix(h + 0x9e3779b97f4a7c15)
	}
	return b
}

// sign is the simulator's signature: it names the digest and the signer. Cores
// trust the driver to have checked signatures, and adversaries of the simulator
// sign only as themselves.
func sign(member int, digest crypto.Hash) crypto.Signature {
	var s crypto.Signature
	copy(s[:32], digest[:])
	binary.BigEndian.PutUint16(s[32:], uint16(member))
	return s
}

// address is the address of a member; addresses sort as the members do.
func address(member int) crypto.Address {
	var a crypto.Address
	a[0] = byte(member + 1)
	return a
}
