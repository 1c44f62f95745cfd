package trie

import (
	"bytes"
	"fmt"

	"cairn/crypto"
)

// Builder makes the nodes of a whole trie from its entries in rising order of
// their keys, in memory that does not grow with their number. The zero value
// makes no nodes, only the root.
type Builder struct {
	// Emit is given every node that is stored on its own, a child before its
	// parent and the root last. path has one nibble a byte and is only lent; blob
	// is Emit's own. An error ends the build.
	Emit func(path []byte, hash crypto.Hash, blob []byte) error

	base   int // digits of the keys that lie above what is built
	some   bool
	last   crypto.Hash
	value  []byte
	frames []*frame // unfinished branches on the path to last, by rising depth
	spare  []*frame
	hasher hasher
	path   [maxDepth]byte
}

// frame is a branch whose children up to that on the path to the last key are
// known.
type frame struct {
	depth int // of the branch: the number of digits above it
	items [16]reference
}

// reference is the RLP item by which a parent refers to a child.
type reference struct {
	length uint8
	bytes  [refLength]byte
}

func (r *reference) item() []byte { return r.bytes[:r.length] }

// Add takes the next entry. value is copied.
// Errors: ErrOrder, ErrNode for an empty value, or that of Emit.
func (b *Builder) Add(key crypto.Hash, value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("%w: empty value at key %s", ErrNode, key)
	}
	if b.some {
		if bytes.Compare(key[:], b.last[:]) <= 0 {
			return fmt.Errorf("%w: %s after %s", ErrOrder, key, b.last)
		}
		if err := b.branchAt(keyNibbles(key[:]).commonPrefix(keyNibbles(b.last[:]))); err != nil {
			return err
		}
	}
	b.some, b.last, b.value = true, key, append(b.value[:0], value...)
	return nil
}

// Root ends the build and answers the root of what was added.
// Error: that of Emit.
func (b *Builder) Root() (crypto.Hash, error) {
	if !b.some {
		return EmptyRoot, nil
	}
	r, err := b.finish(true)
	if err != nil {
		return crypto.Hash{}, err
	}
	return crypto.Hash(r.bytes[1:]), nil
}

// finish is the reference to all that was added, at the depth base. A root is
// always referred to by its hash.
func (b *Builder) finish(root bool) (reference, error) {
	branch, err := b.fold(-1)
	if err != nil {
		return reference{}, err
	}
	return b.seal(branch, b.base, root)
}

// branchAt makes sure that there is a branch at depth on the path to the last
// key, and finishes everything below it.
func (b *Builder) branchAt(depth int) error {
	branch, err := b.fold(depth)
	if err != nil {
		return err
	}
	child, err := b.seal(branch, depth+1, false)
	if err != nil {
		return err
	}
	if n := len(b.frames); n == 0 || b.frames[n-1].depth < depth {
		b.frames = append(b.frames, b.newFrame(depth))
	}
	b.frames[len(b.frames)-1].items[b.digit(depth)] = child
	return nil
}

// fold finishes the branches below depth and answers the highest of them, nil if
// there is none: then only the leaf of the last key is there.
func (b *Builder) fold(depth int) (*frame, error) {
	var below *frame
	for n := len(b.frames); n > 0 && b.frames[n-1].depth > depth; n-- {
		f := b.frames[n-1]
		child, err := b.seal(below, f.depth+1, false)
		if err != nil {
			return nil, err
		}
		f.items[b.digit(f.depth)] = child
		b.frames, below = b.frames[:n-1], f
	}
	return below, nil
}

// seal makes the node at depth on the path to the last key: its leaf, or a
// finished branch with the extension that leads to it. The frame is free after.
func (b *Builder) seal(branch *frame, depth int, root bool) (reference, error) {
	digits := keyNibbles(b.last[:])
	if branch == nil {
		key := digits.rest(depth)
		blob := newBlob(compactStringLength(key) + stringLength(b.value))
		return b.refer(appendString(appendCompactString(blob, key, true), b.value), depth, root)
	}
	size := 1
	for i := range branch.items {
		size += max(1, int(branch.items[i].length))
	}
	blob := newBlob(size)
	for i := range branch.items {
		if item := branch.items[i].item(); len(item) > 0 {
			blob = append(blob, item...)
		} else {
			blob = append(blob, emptyItem)
		}
	}
	at := branch.depth
	b.spare = append(b.spare, branch)
	r, err := b.refer(append(blob, emptyItem), at, root && at == depth)
	if err != nil || at == depth {
		return r, err
	}
	key := digits.slice(depth, at)
	blob = appendCompactString(newBlob(compactStringLength(key)+int(r.length)), key, false)
	return b.refer(append(blob, r.item()...), depth, root)
}

// refer is the reference to a node at depth on the path to the last key.
func (b *Builder) refer(blob []byte, depth int, root bool) (r reference, err error) {
	if len(blob) < crypto.HashLength && !root {
		r.length = uint8(copy(r.bytes[:], blob))
		return r, nil
	}
	hash := b.hasher.sum(blob)
	r.length, r.bytes[0] = refLength, emptyItem+crypto.HashLength
	copy(r.bytes[1:], hash[:])
	if b.Emit != nil {
		path := keyNibbles(b.last[:]).slice(0, depth).appendUnpacked(b.path[:0])
		err = b.Emit(path, hash, blob)
	}
	return r, err
}

func (b *Builder) newFrame(depth int) *frame {
	if n := len(b.spare); n > 0 {
		f := b.spare[n-1]
		b.spare = b.spare[:n-1]
		*f = frame{depth: depth}
		return f
	}
	return &frame{depth: depth}
}

func (b *Builder) digit(depth int) byte { return keyNibbles(b.last[:]).at(depth) }
