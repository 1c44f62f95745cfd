package trie

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// kind is the kind of a node.
type kind uint8

const (
	kindLeaf   kind = iota + 1 // [hex-prefix key, value]
	kindExt                    // extension: [hex-prefix key, reference to a branch]
	kindBranch                 // [16 references or empty strings, empty string]
)

// node is a node in memory. It never changes once another goroutine can see
// it, so any number of versions share it and readers need no lock.
//
// The encoding is all that a node knows; what it needs is read from there.
// The pointers are a cache of decoded children: nil means that the child is to
// be read from the source (or does not exist; the encoding tells).
type node struct {
	blob  []byte     // RLP, checked by decode or made by seal
	kids  *[16]*node // branch: children in memory; nil if there are none
	child *node      // extension: the child, if it is in memory
	gen   uint32     // number of the update that made the node; ≥ that of its children
	kind  kind
}

// link is a parent's reference to a child. item is the RLP item in the parent:
// 0xa0 ‖ hash, or the whole child if its encoding is shorter than a hash;
// empty if there is no child. A root is always referred to by its hash.
type link struct {
	item []byte
	node *node // nil if it is not in memory
}

const (
	emptyItem = 0x80                  // RLP of the empty string
	refLength = 1 + crypto.HashLength // length of a reference by hash
)

func (l link) empty() bool  { return len(l.item) == 0 }
func (l link) hashed() bool { return len(l.item) == refLength }

// hash is the hash of a child that is referred to by hash.
func (l link) hash() crypto.Hash { return crypto.Hash(l.item[1:]) }

// itemLength is the length of the first RLP item in b: a key or a reference,
// which are shorter than 56 bytes, known to be right.
func itemLength(b []byte) int {
	switch c := b[0]; {
	case c < 0x80:
		return 1
	case c < 0xc0:
		return 1 + int(c-0x80)
	default:
		return 1 + int(c-0xc0)
	}
}

// headerLength is the length of the header of the first RLP item in b.
func headerLength(b []byte) int {
	switch c := b[0]; {
	case c < 0x80:
		return 0
	case c < 0xb8 || c >= 0xc0 && c < 0xf8:
		return 1
	case c < 0xc0:
		return 1 + int(c-0xb7)
	default:
		return 1 + int(c-0xf7)
	}
}

// items is the payload of the node's list.
func (n *node) items() []byte { return n.blob[headerLength(n.blob):] }

// short reads a leaf or an extension: its key, and its value or the
// reference to its child.
func (n *node) short() (key nibbles, second []byte) {
	payload := n.items()
	size := itemLength(payload)
	key, _, _ = parseCompact(payload[headerLength(payload):size])
	return key, payload[size:]
}

// leaf reads the key and the value of a leaf.
func (n *node) leaf() (key nibbles, value []byte) {
	key, second := n.short()
	return key, second[headerLength(second):]
}

// ext reads the key and the child of an extension.
func (n *node) ext() (key nibbles, child link) {
	key, second := n.short()
	return key, link{item: second, node: n.child}
}

// kid is the child of a branch at a digit.
func (n *node) kid(digit byte) link {
	payload := n.items()
	for range digit {
		payload = payload[itemLength(payload):]
	}
	var at *node
	if n.kids != nil {
		at = n.kids[digit]
	}
	return itemLink(payload, at)
}

// itemLink is the link that the first item of a branch's rest stands for.
func itemLink(payload []byte, at *node) link {
	if payload[0] == emptyItem {
		return link{}
	}
	return link{item: payload[:itemLength(payload)], node: at}
}

// decode checks the encoding of a node strictly: canonical RLP and hex-prefix,
// no key longer than 64 digits, no empty value, no extension of anything but a branch (as far as the child
// is here), no value in a branch (all keys are of one length, or at least none
// is a prefix of another), no branch with fewer than two children.
// Errors: ErrNode.
func decode(blob []byte) (kind, error) {
	payload, rest, err := rlp.SplitList(blob)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNode, err)
	}
	if len(rest) != 0 {
		return 0, fmt.Errorf("%w: %d bytes after it", ErrNode, len(rest))
	}
	count, err := rlp.CountValues(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNode, err)
	}
	switch count {
	case 2:
		return decodeShort(payload)
	case 17:
		return kindBranch, decodeBranch(payload)
	default:
		return 0, fmt.Errorf("%w: %d items, want 2 or 17", ErrNode, count)
	}
}

func decodeShort(payload []byte) (kind, error) {
	compact, second, err := rlp.SplitString(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: key: %w", ErrNode, err)
	}
	key, leaf, ok := parseCompact(compact)
	if !ok {
		return 0, fmt.Errorf("%w: key %x is not canonical", ErrNode, compact)
	}
	if key.len() > maxDepth {
		return 0, fmt.Errorf("%w: key of %d digits", ErrNode, key.len())
	}
	if leaf {
		value, _, err := rlp.SplitString(second)
		if err != nil {
			return 0, fmt.Errorf("%w: value: %w", ErrNode, err)
		}
		if len(value) == 0 {
			return 0, fmt.Errorf("%w: empty value", ErrNode)
		}
		return kindLeaf, nil
	}
	if key.len() == 0 {
		return 0, fmt.Errorf("%w: extension with an empty key", ErrNode)
	}
	child, _, err := decodeReference(second)
	if err != nil {
		return 0, err
	}
	if child != 0 && child != kindBranch {
		return 0, fmt.Errorf("%w: extension of something else than a branch", ErrNode)
	}
	if second[0] == emptyItem {
		return 0, fmt.Errorf("%w: extension of nothing", ErrNode)
	}
	return kindExt, nil
}

func decodeBranch(payload []byte) error {
	children := 0
	for range 16 {
		if payload[0] != emptyItem {
			children++
		}
		_, rest, err := decodeReference(payload)
		if err != nil {
			return err
		}
		payload = rest
	}
	if payload[0] != emptyItem {
		return fmt.Errorf("%w: branch with a value", ErrNode)
	}
	if children < 2 {
		return fmt.Errorf("%w: branch with %d children", ErrNode, children)
	}
	return nil
}

// decodeReference checks the reference at the start of b. child is the kind of
// an embedded child, zero for a hash or nothing. Each embedded level is
// shorter than the one around it, so the depth of recursion is bounded.
func decodeReference(b []byte) (child kind, rest []byte, err error) {
	form, content, rest, err := rlp.Split(b)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: reference: %w", ErrNode, err)
	}
	if form == rlp.List {
		item := b[:len(b)-len(rest)]
		if len(item) >= crypto.HashLength {
			return 0, nil, fmt.Errorf("%w: embedded child of %d bytes", ErrNode, len(item))
		}
		child, err = decode(item)
		return child, rest, err
	}
	if form == rlp.Byte || len(content) != 0 && len(content) != crypto.HashLength {
		return 0, nil, fmt.Errorf("%w: reference of %d bytes", ErrNode, len(content))
	}
	return 0, rest, nil
}

// stringLength is the length of the RLP of a string.
func stringLength(s []byte) int {
	if len(s) == 1 && s[0] < 0x80 {
		return 1
	}
	return sizeLength(len(s)) + len(s)
}

// sizeLength is the length of the RLP header of size bytes.
func sizeLength(size int) int {
	n := 1
	if size >= 56 {
		for ; size > 0; size >>= 8 {
			n++
		}
	}
	return n
}

// appendHeader appends the RLP header of size bytes; base is 0x80 for a
// string and 0xc0 for a list.
func appendHeader(dst []byte, base byte, size int) []byte {
	if size < 56 {
		return append(dst, base+byte(size))
	}
	width := sizeLength(size) - 1
	dst = append(dst, base+55+byte(width))
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		dst = append(dst, byte(size>>shift))
	}
	return dst
}

func appendString(dst, s []byte) []byte {
	if len(s) == 1 && s[0] < 0x80 {
		return append(dst, s[0])
	}
	return append(appendHeader(dst, 0x80, len(s)), s...)
}
