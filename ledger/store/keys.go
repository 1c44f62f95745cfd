package store

import (
	"encoding/binary"
	"fmt"

	"cairn/crypto"
)

// FormatVersion is the version of the table below. A database with a higher one
// is refused with ErrNewerFormat, one with a lower one is migrated (migrate.go).
const FormatVersion = 2

// The keys. One byte of prefix, then fixed-width fields; integers are
// big-endian, "uv" is an unsigned varint.
//
//	prefix  key                              value
//	------  -------------------------------  ------------------------------------------
//	0x00    "format"                         version 4
//	0x01    -                                head: height 8 ‖ hash 32 ‖ floor epoch 4 ‖
//	                                         floor view 8 ‖ swept height 8
//	0x02    -                                bounds: base 8 ‖ first body 8; absent = 0, 0
//	0x03    -                                what a join is for, opaque   } only until the
//	        opaque                           how far it is, opaque        } join is complete
//	0x04    -                                synced writes of the vote log so far 8
//	0x05    height 8                         empty: a damaged block, to be fetched
//	'b'     height 8 ‖ hash 32               transactions, RLP list      } every block held,
//	'h'     height 8 ‖ hash 32               header, RLP                 } proposed or final;
//	'i'     hash 32                          height 8                    } written by PutBody
//	'c'     height 8                         hash 32 of the final block
//	'q'     height 8                         receipts in runs (receipts.go)
//	't'     hash[:8] ‖ uv height ‖ uv index  empty; the rest of the hash is in the body
//	'f'     height 8                         certificate of exactly this block, opaque
//	'a'     keccak256(address) 32            address 20 ‖ account at the head (account.go)
//	'y'     address 20 ‖ height 8            account after that block ‖ uv indexes, delta
//	                                         coded, of its transactions that name the address
//	's'     keccak256(address) 32 ‖          address 20 ‖ slot 32 ‖ value at the head,
//	        keccak256(slot) 32               leading zeros cut
//	'z'     address 20 ‖ slot 32 ‖ height 8  value after that block, leading zeros cut
//	'k'     code hash 32                     code
//	'e'     epoch 4                          validator set of an epoch that began below
//	                                         the base, RLP
//	'n'     length 1 ‖ path, packed          account trie node at the head
//	'o'     owner 32 ‖ length 1 ‖ path       storage trie node; owner = keccak256(address)
//	'r'     opaque                           record of the vote log, opaque
//	'l'     hash 32                          own waiting transaction, raw
//	'm'     name                             small local value
//
// The newest state is keyed in the order of the tries, so that a range of a trie
// is one scan. Bodies and headers are keyed by height first, so that blocks arrive in key
// order and compaction moves tables instead of rewriting them; a body goes to
// disk about once. The transaction index holds 8 bytes of each hash: candidates
// are checked against the body, so that equal prefixes cost a look, not a wrong
// answer. A path has one nibble in each half byte, an odd one padded with zero;
// its length in nibbles goes first, so that the few upper levels, which every
// block rewrites, lie together.
const (
	prefixFormat      = 0x00
	prefixHead        = 0x01
	prefixBounds      = 0x02
	prefixJoining     = 0x03
	prefixWritten     = 0x04
	prefixAwaited     = 0x05
	prefixBody        = 'b'
	prefixHeader      = 'h'
	prefixHeight      = 'i'
	prefixCanonical   = 'c'
	prefixReceipts    = 'q'
	prefixTransaction = 't'
	prefixCertificate = 'f'
	prefixAccount     = 'a'
	prefixHistory     = 'y'
	prefixSlot        = 's'
	prefixSlotHistory = 'z'
	prefixCode        = 'k'
	prefixEpoch       = 'e'
	prefixNode        = 'n'
	prefixStorageNode = 'o'
	prefixRecord      = 'r'
	prefixLocal       = 'l'
	prefixMeta        = 'm'
)

// transactionPrefixLength is how much of a transaction's hash its index keeps.
const transactionPrefixLength = 8

var (
	formatKey = append([]byte{prefixFormat}, "format"...)
	headKey   = []byte{prefixHead}
	boundsKey = []byte{prefixBounds}
	targetKey = []byte{prefixJoining}

	writtenKey = []byte{prefixWritten}
)

// key joins a prefix byte and parts.
func key(prefix byte, parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n+8), prefix)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func heightKey(prefix byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), prefix), height)
}

// blockKey is the key of a header or body.
func blockKey(prefix byte, height uint64, hash crypto.Hash) []byte {
	k := make([]byte, 0, 41)
	k = append(k, prefix)
	k = binary.BigEndian.AppendUint64(k, height)
	return append(k, hash[:]...)
}

// parseBlockKey is the inverse of blockKey.
func parseBlockKey(k []byte) (height uint64, hash crypto.Hash, err error) {
	if len(k) != 41 {
		return 0, hash, corrupt("block key", fmt.Sprintf("%x", k))
	}
	return binary.BigEndian.Uint64(k[1:9]), crypto.Hash(k[9:]), nil
}

func accountKey(a crypto.Address) []byte {
	h := crypto.Keccak256(a[:])
	return key(prefixAccount, h[:])
}

func slotKey(a crypto.Address, slot crypto.Hash) []byte {
	owner, h := crypto.Keccak256(a[:]), crypto.Keccak256(slot[:])
	return key(prefixSlot, owner[:], h[:])
}

func epochKey(epoch uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixEpoch}, epoch)
}

func historyKey(a crypto.Address, height uint64) []byte {
	return binary.BigEndian.AppendUint64(key(prefixHistory, a[:]), height)
}

func slotHistoryKey(a crypto.Address, slot crypto.Hash, height uint64) []byte {
	return binary.BigEndian.AppendUint64(key(prefixSlotHistory, a[:], slot[:]), height)
}

func transactionKey(hash crypto.Hash, height uint64, index int) []byte {
	k := key(prefixTransaction, hash[:transactionPrefixLength])
	k = binary.AppendUvarint(k, height)
	return binary.AppendUvarint(k, uint64(index))
}

// nodeKey is the key of a trie node. The zero owner is the account trie. Path
// has one nibble a byte.
func nodeKey(owner crypto.Hash, path []byte) []byte {
	k := make([]byte, 0, 34+(len(path)+1)/2)
	if owner == (crypto.Hash{}) {
		k = append(k, prefixNode)
	} else {
		k = append(append(k, prefixStorageNode), owner[:]...)
	}
	k = append(k, byte(len(path)))
	for i := 0; i < len(path); i += 2 {
		b := path[i] << 4
		if i+1 < len(path) {
			b |= path[i+1]
		}
		k = append(k, b)
	}
	return k
}

// after is the least key above every key that starts with k.
func after(k []byte) []byte {
	end := append([]byte(nil), k...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
