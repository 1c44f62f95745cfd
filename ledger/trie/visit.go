package trie

import "cairn/crypto"

// Visitor is told what a whole trie holds, in key order. Any error that it
// answers ends the visit.
type Visitor struct {
	Entry   func(key crypto.Hash, value []byte) error
	Node    func(path []byte) error            // each node that is stored on its own; path is only lent
	Damaged func(path []byte, err error) error // a node that is missing or wrong; what lies below is left out
}

// Visit reads every node of the version and checks each against the hash that
// leads to it. Memory is that of one path.
func (t *Trie) Visit(v Visitor) error {
	var path [maxDepth]byte
	return t.visit(t.root, path[:0], &v)
}

func (t *Trie) visit(at link, path []byte, v *Visitor) error {
	if at.empty() {
		return nil
	}
	n, err := resolve(t.src, at, path)
	if err != nil {
		return v.Damaged(path, err)
	}
	if at.hashed() {
		if err := v.Node(path); err != nil {
			return err
		}
	}
	switch n.kind {
	case kindLeaf:
		own, value := n.leaf()
		whole := own.appendUnpacked(path)
		var key crypto.Hash
		for i := range key {
			key[i] = whole[2*i]<<4 | whole[2*i+1]
		}
		return v.Entry(key, value)
	case kindExt:
		own, child := n.ext()
		return t.visit(child, own.appendUnpacked(path), v)
	}
	for digit := range byte(16) {
		if err := t.visit(n.kid(digit), append(path, digit), v); err != nil {
			return err
		}
	}
	return nil
}
