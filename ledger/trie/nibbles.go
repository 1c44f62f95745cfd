package trie

// nibbles is a run of 4-bit digits inside packed bytes (two a byte, high
// first): a view of a key, or of the hex-prefix key of an encoded node. It
// copies nothing; the bytes belong to someone else.
type nibbles struct {
	b        []byte
	from, to int32 // digits of b
}

func keyNibbles(key []byte) nibbles { return nibbles{b: key, to: int32(2 * len(key))} }

func (n nibbles) len() int { return int(n.to - n.from) }

func (n nibbles) at(i int) byte {
	i += int(n.from)
	return n.b[i>>1] >> (4 &^ (i << 2)) & 0x0f
}

// slice is the digits i to j, j excluded.
func (n nibbles) slice(i, j int) nibbles {
	return nibbles{b: n.b, from: n.from + int32(i), to: n.from + int32(j)}
}

// rest is the digits from i on.
func (n nibbles) rest(i int) nibbles { return nibbles{b: n.b, from: n.from + int32(i), to: n.to} }

// commonPrefix is the number of leading digits that n and m share.
func (n nibbles) commonPrefix(m nibbles) int {
	limit := min(n.len(), m.len())
	i := 0
	if (n.from^m.from)&1 == 0 { // same alignment: whole bytes at once
		if n.from&1 == 1 && limit > 0 {
			if n.at(0) != m.at(0) {
				return 0
			}
			i = 1
		}
		a, b := n.b[(int(n.from)+i)>>1:], m.b[(int(m.from)+i)>>1:]
		for k := 0; i+2 <= limit && a[k] == b[k]; k++ {
			i += 2
		}
	}
	for i < limit && n.at(i) == m.at(i) {
		i++
	}
	return i
}

// hasPrefix tells if the first digits of n are exactly m.
func (n nibbles) hasPrefix(m nibbles) bool { return n.commonPrefix(m) == m.len() }

func (n nibbles) equal(m nibbles) bool { return n.len() == m.len() && n.hasPrefix(m) }

// everyDigit has each digit in the high half of a byte.
var everyDigit = [16]byte{
	0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0,
}

// oneDigit is the run of one digit.
func oneDigit(d byte) nibbles { return nibbles{b: everyDigit[d : d+1], to: 1} }

// join packs the digits of its arguments into one new run.
func join(parts ...nibbles) nibbles {
	total := 0
	for _, p := range parts {
		total += p.len()
	}
	out := nibbles{b: make([]byte, (total+1)/2), to: int32(total)}
	i := 0
	for _, p := range parts {
		for k := range p.len() {
			out.b[i>>1] |= p.at(k) << (4 &^ (i << 2))
			i++
		}
	}
	return out
}

// appendUnpacked appends one byte a digit.
func (n nibbles) appendUnpacked(dst []byte) []byte {
	for i := range n.len() {
		dst = append(dst, n.at(i))
	}
	return dst
}

// Hex-prefix encoding (Ethereum yellow paper, appendix C): the high digit of
// the first byte holds these flags, its low digit the first of an odd number
// of digits or zero.
const (
	flagOdd  = 0x10
	flagLeaf = 0x20
)

// compactLen is the length of n's hex-prefix encoding in bytes.
func (n nibbles) compactLen() int { return n.len()/2 + 1 }

// appendCompact appends the hex-prefix encoding of n.
func (n nibbles) appendCompact(dst []byte, leaf bool) []byte {
	var flags byte
	if leaf {
		flags = flagLeaf
	}
	i := n.len() & 1
	if i == 1 {
		flags |= flagOdd | n.at(0)
	}
	dst = append(dst, flags)
	if n.to&1 == 0 { // what is left are whole bytes
		return append(dst, n.b[(int(n.from)+i)>>1:n.to>>1]...)
	}
	for ; i < n.len(); i += 2 {
		dst = append(dst, n.at(i)<<4|n.at(i+1))
	}
	return dst
}

// parseCompact is the view of the digits in a hex-prefix encoding; ok is false
// if it is not canonical.
func parseCompact(b []byte) (n nibbles, leaf, ok bool) {
	if len(b) == 0 || b[0] >= 0x40 {
		return nibbles{}, false, false
	}
	n = nibbles{b: b, from: 2, to: int32(2 * len(b))}
	if b[0]&flagOdd != 0 {
		n.from = 1
	} else if b[0]&0x0f != 0 {
		return nibbles{}, false, false
	}
	return n, b[0]&flagLeaf != 0, true
}
