package consensus

import "math/bits"

// Bitmap is a set of member indexes: bit i%8 of byte i/8. Its length is exactly
// ⌈n/8⌉ bytes for n members, and bits at n and above are zero.
type Bitmap []byte

// NewBitmap is the empty set for n members.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Set adds member i.
func (b Bitmap) Set(i int) { b[i/8] |= 1 << (i % 8) }

// Has says whether member i is in the set.
func (b Bitmap) Has(i int) bool { return i >= 0 && i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }

// Count is the number of members in the set.
func (b Bitmap) Count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}
