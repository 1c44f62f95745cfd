package trie

import (
	"bytes"
	"slices"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"

	"cairn/crypto"
)

// hasher is keccak256 with one state and one buffer for many sums.
type hasher struct {
	state ethcrypto.KeccakState
	out   crypto.Hash
}

func (h *hasher) sum(b []byte) crypto.Hash {
	if h.state == nil {
		h.state = ethcrypto.NewKeccakState()
	}
	h.state.Reset()
	_, _ = h.state.Write(b)
	_, _ = h.state.Read(h.out[:]) // neither ever fails
	return h.out
}

// sealRoot encodes and hashes a whole draft, a child before its parent.
func (u *updater) sealRoot(d *draft) (crypto.Hash, link) {
	u.nodes = make([]Node, 0, u.drafted+len(u.deleted))
	n := u.seal(d, 0)
	item := append(make([]byte, 0, refLength), d.item[:]...)
	return crypto.Hash(item[1:]), link{item: item, node: n}
}

// seal makes the node of the draft at path[:depth] and notes it for the
// NodeSet before those below it: the order of paths. The node is nil for a
// kept child that is not in memory.
func (u *updater) seal(d *draft, depth int) *node {
	if d.kind == kindKept {
		d.itemLength = uint8(copy(d.item[:], d.content))
		return d.node
	}
	u.made++
	place := len(u.nodes)
	u.nodes = append(u.nodes, Node{Path: u.pathCopy(depth), OldHash: d.old.hash, OldBlob: d.old.blob})
	var n *node
	switch d.kind {
	case kindLeaf:
		n = u.sealLeaf(d)
	case kindExt:
		n = u.sealExt(d, depth)
	default:
		n = u.sealBranch(d, depth)
	}
	u.refer(d, n, &u.nodes[place], depth == 0)
	return n
}

// refer sets the reference to a draft's node, and what is to be stored of it.
func (u *updater) refer(d *draft, n *node, place *Node, root bool) {
	if len(n.blob) < crypto.HashLength && !root {
		d.itemLength = uint8(copy(d.item[:], n.blob))
		u.holes = u.holes || place.OldBlob == nil
		return
	}
	place.Hash, place.Blob = u.hasher.sum(n.blob), n.blob
	d.item[0] = emptyItem + crypto.HashLength
	d.itemLength = 1 + uint8(copy(d.item[1:], place.Hash[:]))
	u.holes = u.holes || place.Hash == place.OldHash
}

// newBlob is the start of a list of size bytes, with room for them.
func newBlob(size int) []byte {
	return appendHeader(make([]byte, 0, sizeLength(size)+size), 0xc0, size)
}

// appendCompactString appends the RLP of a key's hex-prefix encoding.
func appendCompactString(dst []byte, key nibbles, leaf bool) []byte {
	if size := key.compactLen(); size > 1 {
		dst = appendHeader(dst, 0x80, size)
	}
	return key.appendCompact(dst, leaf) // one byte alone is below 0x40
}

func compactStringLength(key nibbles) int {
	if size := key.compactLen(); size > 1 {
		return 1 + size
	}
	return 1
}

func (u *updater) sealLeaf(d *draft) *node {
	blob := newBlob(compactStringLength(d.key) + stringLength(d.content))
	blob = appendCompactString(blob, d.key, true)
	blob = appendString(blob, d.content)
	return &node{blob: blob, gen: u.gen, kind: kindLeaf}
}

func (u *updater) sealExt(d *draft, depth int) *node {
	d.key.appendUnpacked(u.path[depth:depth])
	child := u.seal(d.child, depth+d.key.len())
	blob := newBlob(compactStringLength(d.key) + int(d.child.itemLength))
	blob = appendCompactString(blob, d.key, false)
	blob = append(blob, d.child.item[:d.child.itemLength]...)
	return &node{blob: blob, child: child, gen: u.gen, kind: kindExt}
}

func (u *updater) sealBranch(d *draft, depth int) *node {
	// A node and its children in one allocation.
	made := &struct {
		node node
		kids [16]*node
	}{}
	size := 1 // the value, which is always empty
	var base []byte
	if d.node != nil {
		base = d.node.items()
		if d.node.kids != nil {
			made.kids = *d.node.kids
		}
	}
	rest := base
	for digit := range byte(16) {
		var item []byte
		item, rest = firstItem(rest)
		if d.touched&(1<<digit) == 0 {
			size += len(item)
			continue
		}
		made.kids[digit] = nil
		if kid := d.kids[digit]; kid != nil {
			u.path[depth] = digit
			made.kids[digit] = u.seal(kid, depth+1)
			size += int(kid.itemLength)
		} else {
			size++
		}
	}
	made.node = node{blob: d.encodeBranch(base, size), kids: &made.kids, gen: u.gen, kind: kindBranch}
	return &made.node
}

// encodeBranch is the encoding of a branch whose touched children are sealed.
// base is the payload of d.node, size the length of the new one.
func (d *draft) encodeBranch(base []byte, size int) []byte {
	blob := newBlob(size)
	for digit := range byte(16) {
		var item []byte
		item, base = firstItem(base)
		switch kid := d.kids[digit]; {
		case d.touched&(1<<digit) == 0:
			blob = append(blob, item...)
		case kid != nil:
			blob = append(blob, kid.item[:kid.itemLength]...)
		default:
			blob = append(blob, emptyItem)
		}
	}
	return append(blob, emptyItem)
}

// firstItem cuts the first RLP item from b; nothing has no items.
func firstItem(b []byte) (item, rest []byte) {
	if len(b) == 0 {
		return nil, nil
	}
	size := itemLength(b)
	return b[:size], b[size:]
}

// nodeSet is the sealed and the deleted nodes together, by path.
func (u *updater) nodeSet() []Node {
	nodes := u.nodes
	if u.holes {
		nodes = slices.DeleteFunc(nodes, func(n Node) bool { return n.Hash == n.OldHash })
	}
	if len(u.deleted) == 0 {
		return nodes
	}
	byPath := func(a, b Node) int { return bytes.Compare(a.Path, b.Path) }
	slices.SortFunc(u.deleted, byPath)
	// Merge from the back, in place.
	sealed, deleted := len(nodes), len(u.deleted)
	nodes = append(nodes, u.deleted...)
	for at := len(nodes) - 1; deleted > 0; at-- {
		if sealed > 0 && byPath(nodes[sealed-1], u.deleted[deleted-1]) > 0 {
			sealed--
			nodes[at] = nodes[sealed]
		} else {
			deleted--
			nodes[at] = u.deleted[deleted]
		}
	}
	return nodes
}
