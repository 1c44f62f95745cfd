package chain

import (
	"encoding/binary"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// RegistryAddress is the account that holds the validator set. Nobody has its
// key: it is no hash of a public key.
var RegistryAddress = genesis.RegistryAddress

// registryCode is the code of the registry: INVALID, so that a client with a
// virtual machine of its own sees that a call fails.
var registryCode = []byte{0xfe}

// RegistryCodeHash is the keccak256 of the one-byte code 0xfe.
var RegistryCodeHash = crypto.Keccak256(registryCode)

// registryLayout is the version of the storage layout below.
const registryLayout = 1

// Slots of the registry, numbered and laid out as Solidity would for
//
//	uint256 layout;                          // 0: version of this layout, 1
//	bytes32 setHash;                         // 1: hash of the set of the epoch
//	uint256 epoch;                           // 2
//	Member[] members;                        // 3: sorted by address
//	mapping(address => uint256) memberIndex; // 4: 1 + index in members, 0 = none
//	Member[] candidates;                     // 5: in no particular order
//	mapping(address => uint256) candidateIndex; // 6: 1 + index in candidates, 0 = none
//	mapping(address => uint256) registrations;  // 7: proofs of possession used up
//	mapping(uint256 => mapping(address => uint256)) votes; // 8: by epoch and subject, bit i = member i
//	mapping(uint256 => uint256) closingHeight;  // 9: by epoch, of the block that began it
//	mapping(address => uint256) convictions;    // 10: 1 + epoch of the last conviction, 0 = none
//	address[] convicted;                        // 11: members that leave with the next change
//	// 12 to 31: left free for rule sets
//
//	struct Member { address account; string peerId; string name; }
const (
	slotLayout  = 0
	slotSetHash = 1
	slotEpoch   = 2
	slotMembers = 3
	slotIndex   = 4

	slotCandidates     = 5
	slotCandidateIndex = 6
	slotRegistrations  = 7
	slotVotes          = 8
	slotClosing        = 9
	slotConvictions    = 10
	slotConvicted      = 11

	memberSlots = 3 // slots of one Member
)

// Limits on what is read back from storage. genesis refuses longer ones.
const (
	maxMembers        = genesis.MaxValidators
	maxRegistryString = 256 // bytes
)

// slotNumber is slot n as storage key.
func slotNumber(n uint64) crypto.Hash { return crypto.Hash(uint256.NewInt(n).Bytes32()) }

// slotPlus is the storage key n slots after base.
func slotPlus(base crypto.Hash, n uint64) crypto.Hash {
	k := new(uint256.Int).SetBytes32(base[:])
	return crypto.Hash(k.AddUint64(k, n).Bytes32())
}

func leftPad(b []byte) (h [32]byte) {
	copy(h[32-len(b):], b)
	return h
}

// memberSlot is the first of the three slots of member i.
func memberSlot(i uint64) crypto.Hash {
	slot := slotNumber(slotMembers)
	return slotPlus(crypto.Keccak256(slot[:]), i*memberSlots)
}

// RegistrySlots is the storage of the registry that holds set in an epoch,
// sorted by slot; zero slots are left out.
func RegistrySlots(set *genesis.ValidatorSet, epoch uint32) []SlotChange {
	var out []SlotChange
	put := func(slot, value crypto.Hash) {
		if value != (crypto.Hash{}) {
			out = append(out, SlotChange{Address: RegistryAddress, Slot: slot, New: value})
		}
	}
	put(slotNumber(slotLayout), slotNumber(registryLayout))
	put(slotNumber(slotSetHash), set.Hash())
	put(slotNumber(slotEpoch), slotNumber(uint64(epoch)))
	put(slotNumber(slotMembers), slotNumber(uint64(set.Len())))
	for i := range set.Len() {
		m, base := set.At(i), memberSlot(uint64(i))
		put(base, leftPad(m.Address[:]))
		putString(put, slotPlus(base, 1), m.PeerID)
		putString(put, slotPlus(base, 2), m.Name)
		put(indexSlot(m.Address), slotNumber(uint64(i)+1))
	}
	sortSlots(out)
	return out
}

// putString stores a string as Solidity does: up to 31 bytes in the slot itself
// with 2·length in its last byte, longer ones at keccak256(slot) with
// 2·length + 1 in the slot.
func putString(put func(slot, value crypto.Hash), slot crypto.Hash, s string) {
	if len(s) <= 31 {
		var v crypto.Hash
		copy(v[:], s)
		v[31] = byte(2 * len(s))
		put(slot, v)
		return
	}
	put(slot, slotNumber(2*uint64(len(s))+1))
	data := crypto.Keccak256(slot[:])
	for i := uint64(0); len(s) > 0; i++ {
		var v crypto.Hash
		s = s[copy(v[:], s):]
		put(slotPlus(data, i), v)
	}
}

// ReadRegistry reads the validator set and its epoch from the state. Errors:
// ErrRegistry when storage does not hold what RegistrySlots writes.
func ReadRegistry(r Reader) (*genesis.ValidatorSet, uint32, error) {
	reg := registryReader{Reader: r}
	layout := reg.number(slotNumber(slotLayout))
	setHash := reg.slot(slotNumber(slotSetHash))
	epoch := reg.number(slotNumber(slotEpoch))
	count := reg.number(slotNumber(slotMembers))
	if reg.err != nil {
		return nil, 0, reg.err
	}
	if layout != registryLayout || count == 0 || count > maxMembers || epoch > 1<<32-1 {
		return nil, 0, invalid(ErrRegistry, "layout %d, epoch %d, %d members", layout, epoch, count)
	}
	members := make([]genesis.Validator, 0, count)
	for i := range count {
		members = append(members, reg.validator(memberSlot(i)))
		if reg.err != nil {
			return nil, 0, reg.err
		}
	}
	set, err := genesis.NewValidatorSet(members)
	if err != nil {
		return nil, 0, invalid(ErrRegistry, "%v", err)
	}
	if set.Hash() != setHash {
		return nil, 0, invalid(ErrRegistry, "set hash %s, members give %s", setHash, set.Hash())
	}
	return set, uint32(epoch), nil
}

// registryReader keeps the first error.
type registryReader struct {
	Reader
	err error
}

func (r *registryReader) slot(slot crypto.Hash) crypto.Hash {
	if r.err != nil {
		return crypto.Hash{}
	}
	v, err := r.Slot(RegistryAddress, slot)
	r.err = err
	return v
}

// checkZero: padding is zero, so that one set has one storage.
func (r *registryReader) checkZero(slot crypto.Hash, padding []byte) {
	for _, b := range padding {
		if b != 0 && r.err == nil {
			r.err = invalid(ErrRegistry, "slot %s has bytes where zeros belong", slot)
		}
	}
}

// validator reads the three slots of a Member.
func (r *registryReader) validator(base crypto.Hash) genesis.Validator {
	account := r.slot(base)
	r.checkZero(base, account[:12])
	return genesis.Validator{
		Address: crypto.Address(account[12:]),
		PeerID:  r.text(slotPlus(base, 1)),
		Name:    r.text(slotPlus(base, 2)),
	}
}

func (r *registryReader) number(slot crypto.Hash) uint64 {
	v := r.slot(slot)
	r.checkZero(slot, v[:24])
	return binary.BigEndian.Uint64(v[24:])
}

func (r *registryReader) text(slot crypto.Hash) string {
	v := r.slot(slot)
	if v[31]&1 == 0 {
		n := int(v[31] / 2)
		if n > 31 {
			r.err = invalid(ErrRegistry, "slot %s is no string", slot)
			return ""
		}
		r.checkZero(slot, v[n:31])
		return string(v[:n])
	}
	n := (r.number(slot) - 1) / 2
	if r.err == nil && (n <= 31 || n > maxRegistryString) {
		r.err = invalid(ErrRegistry, "slot %s is a string of %d bytes", slot, n)
	}
	var out []byte
	data := crypto.Keccak256(slot[:])
	for i := uint64(0); r.err == nil && uint64(len(out)) < n; i++ {
		v, rest := r.slot(slotPlus(data, i)), min(32, n-uint64(len(out)))
		r.checkZero(slot, v[rest:])
		out = append(out, v[:rest]...)
	}
	return string(out)
}
