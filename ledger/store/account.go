package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/trie"
)

// An account on disk:
//
//	flags 1 ‖ uv nonce ‖ balance length 1 ‖ balance, leading zeros cut ‖
//	storage root 32 when flagStorage ‖ code hash 32 when flagCode
//
// A plain account with a small nonce and a balance of 10^18 wei takes 12 bytes,
// where its RLP takes 76. An absent account is the one byte flagAbsent.
const (
	flagStorage = 1 << 0
	flagCode    = 1 << 1
	flagAbsent  = 1 << 2
)

// appendAccount encodes a; nil is an absent account.
func appendAccount(b []byte, a *chain.Account) []byte {
	if a == nil {
		return append(b, flagAbsent)
	}
	var flags byte
	if a.StorageRoot != trie.EmptyRoot && a.StorageRoot != (crypto.Hash{}) {
		flags |= flagStorage
	}
	if a.CodeHash != chain.EmptyCodeHash && a.CodeHash != (crypto.Hash{}) {
		flags |= flagCode
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, a.Nonce)
	n := a.Balance.ByteLen()
	b = append(b, byte(n))
	full := a.Balance.Bytes32()
	b = append(b, full[32-n:]...)
	if flags&flagStorage != 0 {
		b = append(b, a.StorageRoot[:]...)
	}
	if flags&flagCode != 0 {
		b = append(b, a.CodeHash[:]...)
	}
	return b
}

// parseAccount decodes what appendAccount wrote and answers the bytes after it.
// A nil account without an error is an absent one.
func parseAccount(b []byte) (*chain.Account, []byte, error) {
	bad := func() (*chain.Account, []byte, error) {
		return nil, nil, corrupt("account", fmt.Sprintf("%x", b))
	}
	if len(b) == 0 || b[0] > flagAbsent {
		return bad()
	}
	flags, rest := b[0], b[1:]
	if flags == flagAbsent {
		return nil, rest, nil
	}
	nonce, n := binary.Uvarint(rest)
	if n <= 0 || len(rest) <= n {
		return bad()
	}
	size := int(rest[n])
	rest = rest[n+1:]
	if size > 32 || len(rest) < size {
		return bad()
	}
	a := &chain.Account{
		Nonce: nonce, Balance: new(uint256.Int).SetBytes(rest[:size]),
		StorageRoot: trie.EmptyRoot, CodeHash: chain.EmptyCodeHash,
	}
	rest = rest[size:]
	for _, f := range []struct {
		flag byte
		to   *crypto.Hash
	}{{flagStorage, &a.StorageRoot}, {flagCode, &a.CodeHash}} {
		if flags&f.flag == 0 {
			continue
		}
		if len(rest) < 32 {
			return bad()
		}
		*f.to, rest = crypto.Hash(rest[:32]), rest[32:]
	}
	return a, rest, nil
}

// parseAccountRow reads a row of the accounts' table: key without prefix, and
// value.
func parseAccountRow(k, value []byte) (crypto.Address, *chain.Account, error) {
	bad := func(why any) (crypto.Address, *chain.Account, error) {
		return crypto.Address{}, nil, corrupt(fmt.Sprintf("account row %x", k), why)
	}
	if len(k) != crypto.HashLength || len(value) < crypto.AddressLength {
		return bad("too short")
	}
	if h := crypto.Keccak256(value[:crypto.AddressLength]); !bytes.Equal(h[:], k) {
		return bad("it names another address")
	}
	acc, rest, err := parseAccount(value[crypto.AddressLength:])
	switch {
	case err != nil:
		return crypto.Address{}, nil, err
	case len(rest) != 0:
		return bad("bytes after the account")
	case acc == nil:
		return bad("an absent account")
	}
	return crypto.Address(value[:crypto.AddressLength]), acc, nil
}

// slotRowHeader is what stands before the value in a row of the slots' table.
const slotRowHeader = crypto.AddressLength + crypto.HashLength

func appendSlot(b []byte, r SlotRow) []byte {
	b = append(append(b, r.Address[:]...), r.Slot[:]...)
	return append(b, bytes.TrimLeft(r.Value[:], "\x00")...)
}

// parseSlotRow reads a row of the slots' table: key without prefix, and value.
func parseSlotRow(k, value []byte) (SlotRow, error) {
	var r SlotRow
	bad := func(why any) (SlotRow, error) { return SlotRow{}, corrupt(fmt.Sprintf("slot row %x", k), why) }
	if len(k) != 2*crypto.HashLength || len(value) <= slotRowHeader {
		return bad("too short")
	}
	r.Address = crypto.Address(value[:crypto.AddressLength])
	r.Slot = crypto.Hash(value[crypto.AddressLength:slotRowHeader])
	if want := slotKey(r.Address, r.Slot); !bytes.Equal(want[1:], k) {
		return bad("it names another slot")
	}
	var err error
	r.Value, err = bytesToHash(value[slotRowHeader:], nil)
	return r, err
}

// appendIndexes codes strictly rising numbers as differences.
func appendIndexes(b []byte, indexes []uint32) []byte {
	last := uint32(0)
	for _, i := range indexes {
		b = binary.AppendUvarint(b, uint64(i-last))
		last = i
	}
	return b
}

func parseIndexes(b []byte) ([]uint32, error) {
	var out []uint32
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 || last+d > 1<<32-1 {
			return nil, corrupt("transaction indexes of an account", fmt.Sprintf("%x", b))
		}
		last += d
		out, b = append(out, uint32(last)), b[n:]
	}
	return out, nil
}
