package snapshot

import (
	"bytes"
	"encoding/binary"
	"math/big"

	"cairn/crypto"
)

// Kind is what a Segment asks for.
type Kind uint8

// The kinds of segments.
const (
	Accounts Kind = iota + 1
	Slots
	Code
)

func (k Kind) String() string {
	switch k {
	case Accounts:
		return "accounts"
	case Slots:
		return "slots"
	case Code:
		return "code"
	default:
		return "unknown"
	}
}

// Segment is one thing to ask a peer for. It can be compared.
type Segment struct {
	Kind  Kind
	Owner crypto.Address // Slots: whose
	From  crypto.Hash    // Accounts, Slots: the first key (a keccak256) that is wanted
	To    crypto.Hash    // Accounts, Slots: the last key that is
	Code  crypto.Hash    // Code: its hash
}

// Progress is how far a join is.
type Progress struct {
	Done     float64 // of the key space of accounts, 0 to 1
	Accounts uint64
	Slots    uint64
	Codes    uint64
	Pending  int    // storage tries and codes that are known and not whole here
	Bytes    uint64 // of leaves and code kept
}

// lanes is in how many parts the key space of accounts is fetched, each from its
// start to its end, so that so many peers can work at once.
const (
	lanes    = 32
	laneBits = 5
)

// lane is one part: keys that begin with its number.
type lane struct {
	next crypto.Hash // the first key that is not here
	to   crypto.Hash // the last key of the lane
	done bool
}

func newLane(i int) lane {
	var l lane
	l.next[0] = byte(i << (8 - laneBits))
	for k := range l.to {
		l.to[k] = 0xff
	}
	l.to[0] = l.next[0] | 0xff>>laneBits
	return l
}

// advance notes that everything up to last is here, or everything if not more.
func (l *lane) advance(last crypto.Hash, more bool) {
	if !more || last.Cmp(l.to) >= 0 {
		l.done = true
		return
	}
	l.next = following(last)
}

// following is the key after k, which is not the last there is.
func following(k crypto.Hash) crypto.Hash {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i]++; k[i] != 0 {
			break
		}
	}
	return k
}

// part is how much of the lane is here, 0 to 1.
func (l *lane) part() float64 {
	if l.done {
		return 1
	}
	start := l.to
	start[0] &^= 0xff >> laneBits
	clear(start[1:])
	whole := new(big.Int).Sub(l.to.Big(), start.Big())
	here := new(big.Int).Sub(l.next.Big(), start.Big())
	part, _ := new(big.Rat).SetFrac(here, whole).Float64()
	return part
}

// The records of a join, by their first byte. The rest of the key and the value:
//
//	'a' lane 1            next key 32 ‖ done 1
//	's' keccak256(owner)  owner 20 ‖ storage root 32 ‖ next key 32: a trie that is not whole
//	'c' code hash         owner 20: code that is not here
//	't'                   accounts 8 ‖ slots 8 ‖ codes 8 ‖ bytes 8: what is here
const (
	recordLane  = 'a'
	recordTrie  = 's'
	recordCode  = 'c'
	recordTotal = 't'
)

func record(kind byte, rest ...byte) []byte { return append([]byte{kind}, rest...) }

func (l *lane) encode() []byte {
	done := byte(0)
	if l.done {
		done = 1
	}
	return append(l.next[:len(l.next):len(l.next)], done)
}

func (l *lane) decode(b []byte) bool {
	if len(b) != 33 || b[32] > 1 {
		return false
	}
	l.next, l.done = crypto.Hash(b[:32]), b[32] == 1
	return true
}

// pendingTrie is a storage trie that is not whole.
type pendingTrie struct {
	owner crypto.Address
	root  crypto.Hash
	next  crypto.Hash
}

func (p *pendingTrie) encode() []byte {
	return bytes.Join([][]byte{p.owner[:], p.root[:], p.next[:]}, nil)
}

func (p *pendingTrie) decode(b []byte) bool {
	if len(b) != 84 {
		return false
	}
	p.owner, p.root, p.next = crypto.Address(b[:20]), crypto.Hash(b[20:52]), crypto.Hash(b[52:])
	return true
}

func (p *pendingTrie) segment() Segment {
	return Segment{Kind: Slots, Owner: p.owner, From: p.next, To: lastKey}
}

// lastKey is the greatest there is.
var lastKey = crypto.Hash(bytes.Repeat([]byte{0xff}, crypto.HashLength))

func (p *Progress) encodeTotals() []byte {
	var b []byte
	for _, n := range []uint64{p.Accounts, p.Slots, p.Codes, p.Bytes} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func (p *Progress) decodeTotals(b []byte) bool {
	if len(b) != 32 {
		return false
	}
	for i, n := range []*uint64{&p.Accounts, &p.Slots, &p.Codes, &p.Bytes} {
		*n = binary.BigEndian.Uint64(b[8*i:])
	}
	return true
}
