package trie

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"cairn/crypto"
)

// Update makes the next version: entries put and delete, in any order; if a
// key is there twice, its last entry counts. The two versions share all nodes
// that did not change. The NodeSet is exactly what differs on disk; if nothing
// changes, the version is t itself and the set is empty.
//
// Each new node is encoded and hashed once, after the shape of the whole
// version is known. Nodes that Update reads or makes stay in memory with the
// new version as far as they belong to it. Entries are not kept.
// Errors: *MissingNodeError, ErrNode, ErrNodeDepth; t is as it was.
func (t *Trie) Update(entries []Entry) (*Trie, *NodeSet, error) {
	if len(entries) == 0 {
		return t, &NodeSet{}, nil
	}
	u := &updater{src: t.src, gen: t.gen + 1}
	root, changed, err := u.update(t.root, 0, sorted(entries))
	if err != nil {
		return nil, nil, err
	}
	if !changed {
		return t, &NodeSet{}, nil
	}
	next := &Trie{hash: EmptyRoot, src: t.src, gen: u.gen}
	if root != nil {
		next.hash, next.root = u.sealRoot(root)
	}
	next.resident = t.resident + u.made - u.left
	return next, &NodeSet{Nodes: u.nodeSet()}, nil
}

// sorted is entries by key, the last one of each key. It may be entries
// itself, which nobody changes.
func sorted(entries []Entry) []Entry {
	strict := true
	for i := 1; i < len(entries) && strict; i++ {
		strict = bytes.Compare(entries[i-1].Key[:], entries[i].Key[:]) < 0
	}
	if strict {
		return entries
	}
	// Sorting small records that decide most comparisons by themselves takes
	// a third of the time of sorting entries.
	type place struct {
		prefix uint64 // first 8 bytes of the key
		index  int
	}
	places := make([]place, len(entries))
	for i := range entries {
		places[i] = place{binary.BigEndian.Uint64(entries[i].Key[:]), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		if c := bytes.Compare(entries[a.index].Key[:], entries[b.index].Key[:]); c != 0 {
			return c
		}
		return cmp.Compare(a.index, b.index)
	})
	all := make([]Entry, 0, len(entries))
	for i, p := range places {
		if i+1 < len(places) && entries[p.index].Key == entries[places[i+1].index].Key {
			continue
		}
		all = append(all, entries[p.index])
	}
	return all
}

// draft is a node of the new version while its shape may still change. It
// becomes a node when it is sealed.
type draft struct {
	kind    kind        // kindKept: a child of the old version that stays as it is
	touched uint16      // branch: digits whose child is in kids, or that have none any more
	key     nibbles     // leaf, extension
	content []byte      // leaf: its value; kept: the old version's reference to it
	child   *draft      // extension: a branch or kept
	kids    *[16]*draft // branch
	node    *node       // branch: where digits that are not touched have their children, may be nil; kept: the node, if it is in memory

	old stored // what the old version has on disk at this draft's path

	// Set by seal: the reference to this node in its parent.
	item       [refLength]byte
	itemLength uint8
}

const kindKept = kindBranch + 1

// stored is a node on disk; the zero value is none.
type stored struct {
	hash crypto.Hash
	blob []byte
}

// updater is the work of one Update. The path of what is being worked on at a
// depth is path[:depth].
type updater struct {
	src        Source
	gen        uint32
	path       [maxDepth]byte
	drafts     []draft // a chunk, to allocate drafts from
	drafted    int     // drafts allocated: at least as many as will be nodes
	made, left int     // nodes in memory that the new version has more and fewer

	hasher  hasher
	nodes   []Node // sealed, by path
	holes   bool   // nodes has places that turned out not to differ
	deleted []Node // on disk in the old version only
	paths   []byte // a chunk, to allocate paths from
}

func (u *updater) draft(d draft) *draft {
	if len(u.drafts) == cap(u.drafts) {
		u.drafts = make([]draft, 0, min(max(8, 2*cap(u.drafts)), 512))
	}
	u.drafted++
	u.drafts = append(u.drafts, d)
	return &u.drafts[len(u.drafts)-1]
}

// keep is the draft of a child that stays as it is.
func (u *updater) keep(l link) *draft {
	return u.draft(draft{kind: kindKept, content: l.item, node: l.node})
}

// update applies entries, of which there is one at least and which all share
// path[:depth], to the subtree that l refers to. If that changes it, the
// result is the new subtree, nil if nothing is left.
func (u *updater) update(l link, depth int, entries []Entry) (d *draft, changed bool, err error) {
	if l.empty() {
		d = u.build(puts(entries), depth)
		return d, d != nil, nil
	}
	n, err := resolve(u.src, l, u.path[:depth])
	if err != nil {
		return nil, false, err
	}
	switch n.kind {
	case kindLeaf:
		d, changed = u.updateLeaf(n, depth, entries)
	case kindExt:
		key, child := n.ext()
		d, changed, err = u.updateExt(key, child, depth, entries)
	default:
		d, changed, err = u.updateBranch(n, depth, entries)
	}
	if err != nil || !changed {
		return nil, false, err
	}
	old := u.leave(l, n)
	if d == nil {
		u.deleteOld(old, depth)
	} else {
		d.old = old
	}
	return d, true, nil
}

// leave notes that the new version has no more use for n, to which l refers,
// and answers what is on disk for it.
func (u *updater) leave(l link, n *node) stored {
	if l.node != nil {
		u.left++
	}
	if !l.hashed() {
		return stored{}
	}
	return stored{hash: l.hash(), blob: n.blob}
}

// deleteOld notes that nothing is on disk at path[:depth] any more, where the
// old version had old.
func (u *updater) deleteOld(old stored, depth int) {
	if old.blob != nil {
		u.deleted = append(u.deleted, Node{Path: u.pathCopy(depth), OldHash: old.hash, OldBlob: old.blob})
	}
}

func (u *updater) pathCopy(depth int) []byte {
	if cap(u.paths)-len(u.paths) < depth {
		u.paths = make([]byte, 0, max(depth, min(max(64, 2*cap(u.paths)), 4096)))
	}
	start := len(u.paths)
	u.paths = append(u.paths, u.path[:depth]...)
	return u.paths[start:len(u.paths):len(u.paths)]
}

// puts is entries without those that delete.
func puts(entries []Entry) []Entry {
	isDelete := func(e Entry) bool { return len(e.Value) == 0 }
	if !slices.ContainsFunc(entries, isDelete) {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), isDelete)
}

// build is the subtree of entries that all put and share their first depth
// digits; nil if there are none.
func (u *updater) build(entries []Entry, depth int) *draft {
	if len(entries) == 0 {
		return nil
	}
	first := keyNibbles(entries[0].Key[:]).rest(depth)
	if len(entries) == 1 {
		return u.draft(draft{kind: kindLeaf, key: first, content: entries[0].Value})
	}
	last := keyNibbles(entries[len(entries)-1].Key[:]).rest(depth)
	shared := first.commonPrefix(last)
	branch := u.draft(draft{kind: kindBranch, touched: 0xffff, kids: new([16]*draft)})
	at := depth + shared
	for len(entries) > 0 {
		digit, group := firstGroup(entries, at)
		branch.kids[digit] = u.build(group, at+1)
		entries = entries[len(group):]
	}
	if shared == 0 {
		return branch
	}
	return u.draft(draft{kind: kindExt, key: first.slice(0, shared), child: branch})
}

// firstGroup is the first entry's digit at depth and the entries at the start
// that have the same.
func firstGroup(entries []Entry, depth int) (digit byte, group []Entry) {
	digit = keyNibbles(entries[0].Key[:]).at(depth)
	end := 1
	for end < len(entries) && keyNibbles(entries[end].Key[:]).at(depth) == digit {
		end++
	}
	return digit, entries[:end]
}

// updateLeaf applies entries to a leaf at depth.
func (u *updater) updateLeaf(n *node, depth int, entries []Entry) (d *draft, changed bool) {
	key, value := n.leaf()
	var all []Entry // what the subtree holds: entries that put, and the leaf in its place
	kept := Entry{Value: value}
	copy(kept.Key[:], entries[0].Key[:])
	setDigits(&kept.Key, depth, key)
	at, named := slices.BinarySearchFunc(entries, kept.Key, func(e Entry, k crypto.Hash) int {
		return bytes.Compare(e.Key[:], k[:])
	})
	switch {
	case named && bytes.Equal(entries[at].Value, value), !named:
		all = append(all, puts(entries[:at])...)
		all = append(all, kept)
		if named {
			at++
		}
		all = append(all, puts(entries[at:])...)
		if len(all) == 1 {
			return nil, false
		}
	default:
		all = puts(entries)
	}
	return u.build(all, depth), true
}

// setDigits overwrites the digits of key from depth on.
func setDigits(key *crypto.Hash, depth int, digits nibbles) {
	for i := range digits.len() {
		at := depth + i
		shift := 4 &^ (at << 2)
		key[at>>1] = key[at>>1]&^(0x0f<<shift) | digits.at(i)<<shift
	}
}

// updateExt applies entries to the extension of child by key, at depth.
func (u *updater) updateExt(key nibbles, child link, depth int, entries []Entry) (*draft, bool, error) {
	if shared := sharedByPuts(key, depth, entries); shared < key.len() {
		d, err := u.splitExt(key, child, depth, shared, entries)
		return d, true, err
	}
	inside := below(key, depth, entries)
	if len(inside) == 0 {
		return nil, false, nil
	}
	key.appendUnpacked(u.path[depth:depth])
	d, changed, err := u.update(child, depth+key.len(), inside)
	if err != nil || !changed {
		return nil, false, err
	}
	return u.extend(key, d, depth), true, nil
}

// sharedByPuts is how many digits of an extension's key all entries that put
// share with it. The others delete: those that do not share the key delete
// nothing.
func sharedByPuts(key nibbles, depth int, entries []Entry) int {
	shared := key.len()
	for i := range entries {
		if len(entries[i].Value) != 0 {
			shared = min(shared, keyNibbles(entries[i].Key[:]).rest(depth).commonPrefix(key))
		}
	}
	return shared
}

// below is the entries whose digits from depth on begin with prefix: a run,
// since entries are sorted.
func below(prefix nibbles, depth int, entries []Entry) []Entry {
	has := func(e Entry) bool { return keyNibbles(e.Key[:]).rest(depth).hasPrefix(prefix) }
	start := slices.IndexFunc(entries, has)
	if start < 0 {
		return nil
	}
	end := start + 1
	for end < len(entries) && has(entries[end]) {
		end++
	}
	return entries[start:end]
}

// splitExt applies entries, some of which put keys that leave an extension
// after its first shared digits: a branch comes there.
func (u *updater) splitExt(key nibbles, child link, depth, shared int, entries []Entry) (*draft, error) {
	prefix, own, rest, at := key.slice(0, shared), key.at(shared), key.rest(shared+1), depth+shared
	branch := u.draft(draft{kind: kindBranch, touched: 0xffff, kids: new([16]*draft)})
	branch.kids[own] = u.extend(rest, u.keep(child), at+1)
	prefix.appendUnpacked(u.path[depth:depth])
	for entries = below(prefix, depth, entries); len(entries) > 0; {
		digit, group := firstGroup(entries, at)
		entries = entries[len(group):]
		u.path[at] = digit
		if digit != own {
			branch.kids[digit] = u.build(puts(group), at+1)
			continue
		}
		d, changed, err := u.updateRest(rest, child, at+1, group)
		if err != nil {
			return nil, err
		}
		if changed {
			branch.kids[own] = d
		}
	}
	d, err := u.collapse(branch, at)
	if err != nil {
		return nil, err
	}
	return u.extend(prefix, d, depth), nil
}

// updateRest applies entries to what is left of a split extension: a shorter
// one, which no disk has ever seen, or its child alone.
func (u *updater) updateRest(key nibbles, child link, depth int, entries []Entry) (*draft, bool, error) {
	if key.len() == 0 {
		return u.update(child, depth, entries)
	}
	return u.updateExt(key, child, depth, entries)
}

// updateBranch applies entries to a branch at depth.
func (u *updater) updateBranch(n *node, depth int, entries []Entry) (*draft, bool, error) {
	var branch *draft
	for len(entries) > 0 {
		digit, group := firstGroup(entries, depth)
		entries = entries[len(group):]
		u.path[depth] = digit
		d, changed, err := u.update(n.kid(digit), depth+1, group)
		if err != nil {
			return nil, false, err
		}
		if !changed {
			continue
		}
		if branch == nil {
			branch = u.draft(draft{kind: kindBranch, node: n, kids: new([16]*draft)})
		}
		branch.touched |= 1 << digit
		branch.kids[digit] = d
	}
	if branch == nil {
		return nil, false, nil
	}
	d, err := u.collapse(branch, depth)
	return d, true, err
}

// collapse is what a branch at depth becomes when some of its children went:
// nothing, or its only child a digit further, or the branch itself.
func (u *updater) collapse(branch *draft, depth int) (*draft, error) {
	count, digit := branch.children()
	switch count {
	case 0:
		return nil, nil
	case 1:
		only := branch.kids[digit]
		if branch.touched&(1<<digit) == 0 {
			u.path[depth] = digit
			var err error
			if only, err = u.absorb(branch.node.kid(digit), depth+1); err != nil {
				return nil, err
			}
		}
		return u.extend(oneDigit(digit), only, depth), nil
	default:
		return branch, nil
	}
}

// children is the number of a branch's children and the digit of the last.
func (d *draft) children() (count int, last byte) {
	var payload []byte
	if d.node != nil {
		payload = d.node.items()
	}
	for digit := range byte(16) {
		has := d.kids[digit] != nil
		if d.node != nil {
			has = has || d.touched&(1<<digit) == 0 && payload[0] != emptyItem
			payload = payload[itemLength(payload):]
		}
		if has {
			count, last = count+1, digit
		}
	}
	return count, last
}

// absorb is the draft of an old child at depth that lost its last sibling: a
// branch stays where it is, a leaf or an extension moves into its parent.
func (u *updater) absorb(l link, depth int) (*draft, error) {
	n, err := resolve(u.src, l, u.path[:depth])
	if err != nil {
		return nil, err
	}
	switch n.kind {
	case kindLeaf:
		key, value := n.leaf()
		return u.draft(draft{kind: kindLeaf, key: key, content: value, old: u.leave(l, n)}), nil
	case kindExt:
		key, child := n.ext()
		kept := u.keep(child)
		return u.draft(draft{kind: kindExt, key: key, child: kept, old: u.leave(l, n)}), nil
	default:
		return u.keep(l), nil
	}
}

// extend puts the digits of key, which begins at depth, before d.
func (u *updater) extend(key nibbles, d *draft, depth int) *draft {
	if d == nil || key.len() == 0 {
		return d
	}
	if d.kind != kindLeaf && d.kind != kindExt {
		return u.draft(draft{kind: kindExt, key: key, child: d})
	}
	key.appendUnpacked(u.path[depth:depth])
	u.deleteOld(d.old, depth+key.len())
	d.key, d.old = join(key, d.key), stored{}
	return d
}
