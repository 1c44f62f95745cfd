package trie

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// list is the RLP of a list of strings; raw items are put as they are.
func list(t *testing.T, items ...any) []byte {
	t.Helper()
	b, err := rlp.EncodeToBytes(items)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// branch is a branch with the given children and a value.
func branch(t *testing.T, children map[int]any, value []byte) []byte {
	t.Helper()
	items := emptyItems(17)
	for i, c := range children {
		items[i] = c
	}
	items[16] = value
	return list(t, items...)
}

func emptyItems(count int) []any {
	items := make([]any, count)
	for i := range items {
		items[i] = []byte{}
	}
	return items
}

func raw(b []byte) rlp.RawValue { return b }

// malformed is an encoding for each rule of the decoder.
func malformed(t *testing.T) map[string][]byte {
	hash := bytes.Repeat([]byte{7}, 32)
	leaf := list(t, []byte{0x20}, []byte{1})
	return map[string][]byte{
		"nothing":                  {},
		"a string":                 {0x83, 1, 2, 3},
		"cut short":                leaf[:len(leaf)-1],
		"bytes after it":           append(bytes.Clone(leaf), 0),
		"no items":                 {0xc0},
		"three items":              list(t, []byte{0x20}, []byte{1}, []byte{1}),
		"sixteen items":            list(t, emptyItems(16)...),
		"long form of a short one": {0xf8, 0x02, 0x20, 0x01},
		"key is a list":            list(t, raw(leaf), []byte{1}),
		"no key":                   list(t, []byte{}, []byte{1}),
		"unknown key flag":         list(t, []byte{0x40}, []byte{1}),
		"key padding is not zero":  list(t, []byte{0x21}, []byte{1}),
		"byte in two bytes":        {0xc3, 0x20, 0x81, 0x01},
		"key of 65 digits":         list(t, append([]byte{0x30}, hash...), []byte{1}),
		"key of 60 bytes":          list(t, make([]byte, 60), hash),
		"empty value":              list(t, []byte{0x20}, []byte{}),
		"value is a list":          list(t, []byte{0x20}, raw(leaf)),
		"extension, empty key":     list(t, []byte{0x00}, hash),
		"extension of nothing":     list(t, []byte{0x11}, []byte{}),
		"extension of a byte":      list(t, []byte{0x11}, []byte{1}),
		"extension of 31 bytes":    list(t, []byte{0x11}, hash[1:]),
		"extension of a leaf":      list(t, []byte{0x11}, raw(leaf)),
		"branch without children":  branch(t, nil, nil),
		"branch with one child":    branch(t, map[int]any{3: hash}, nil),
		"branch with a value":      branch(t, map[int]any{3: hash, 4: hash}, []byte{1}),
		"branch value is a list":   list(t, append([]any{hash, hash}, append(emptyItems(14), raw(leaf))...)...),
		"branch, child of a byte":  branch(t, map[int]any{3: hash, 4: []byte{9}}, nil),
		"branch, child 33 bytes":   branch(t, map[int]any{3: hash, 4: append([]byte{1}, hash...)}, nil),
		"child embedded, too long": branch(t, map[int]any{3: hash, 4: raw(list(t, []byte{0x20}, hash))}, nil),
		"child embedded, bad":      branch(t, map[int]any{3: hash, 4: raw(list(t, []byte{0x40}, []byte{1}))}, nil),
	}
}

func TestDecodeRefusesMalformedNodes(t *testing.T) {
	t.Parallel()
	for name, blob := range malformed(t) {
		if _, err := decode(blob); !errors.Is(err, ErrNode) {
			t.Errorf("%s: %v", name, err)
		}
		root := crypto.Keccak256(blob)
		if root == EmptyRoot {
			continue
		}
		if _, err := VerifyProof(root, make([]byte, 32), [][]byte{blob}); !errors.Is(err, ErrNode) {
			t.Errorf("%s: as a proof: %v", name, err)
		}
		if len(blob) == 0 {
			continue // a source that has nothing
		}
		v := New(root, func([]byte, crypto.Hash) ([]byte, error) { return blob, nil })
		if _, err := v.Get(make([]byte, 32)); !errors.Is(err, ErrNode) {
			t.Errorf("%s: from a source: %v", name, err)
		}
		if _, _, err := v.Update([]Entry{{Value: []byte{1}}}); !errors.Is(err, ErrNode) {
			t.Errorf("%s: in an update: %v", name, err)
		}
	}
}

// Nodes that are right by themselves but stand where no such node can.
func TestNodeDepth(t *testing.T) {
	t.Parallel()
	hash := bytes.Repeat([]byte{7}, 32)
	digits := func(n int, leaf bool) []byte {
		return keyNibbles(make([]byte, 33)).slice(0, n).appendCompact(nil, leaf)
	}
	last := raw(list(t, digits(0, true), []byte{1}))
	embedded := branch(t, map[int]any{0: last, 1: last}, nil)
	end := branch(t, map[int]any{0: raw(embedded), 1: hash}, nil) // at digit 63, with a branch at 64
	long := list(t, digits(64, true), []byte{1})                  // good for a root only
	longHash := crypto.Keccak256(long)
	endHash := crypto.Keccak256(end)
	for name, blob := range map[string][]byte{
		"leaf, key too short":   list(t, digits(63, true), []byte{1}),
		"leaf, key too long":    branch(t, map[int]any{0: longHash[:], 1: hash}, nil),
		"extension of 64":       list(t, digits(64, false), hash),
		"branch at the end":     list(t, digits(63, false), endHash[:]),
		"leaf above its digits": branch(t, map[int]any{0: last, 1: hash}, nil),
	} {
		v := New(crypto.Keccak256(blob), func(path []byte, _ crypto.Hash) ([]byte, error) {
			if len(path) == 0 {
				return blob, nil
			}
			if name == "leaf, key too long" {
				return long, nil
			}
			return end, nil
		})
		_, err := v.Get(make([]byte, 32))
		_, _, errUpdate := v.Update([]Entry{{Value: []byte{1}}})
		if !errors.Is(err, ErrNodeDepth) || !errors.Is(errUpdate, ErrNodeDepth) {
			t.Errorf("%s: %v, %v", name, err, errUpdate)
		}
	}
	deep := branch(t, map[int]any{0: hash, 1: hash}, nil)
	chain := [][]byte{deep}
	for range 2 {
		h := crypto.Keccak256(chain[0])
		chain = append([][]byte{branch(t, map[int]any{0: h[:], 1: hash}, nil)}, chain...)
	}
	if _, err := VerifyProof(crypto.Keccak256(chain[0]), []byte{0}, chain); !errors.Is(err, ErrNodeDepth) {
		t.Errorf("proof that branches below the key: %v", err)
	}
}

func TestMissingNode(t *testing.T) {
	t.Parallel()
	disaster := errors.New("disk on fire")
	root := crypto.Keccak256([]byte("a root"))
	for name, c := range map[string]struct {
		src  Source
		want error
	}{
		"no source":    {nil, nil},
		"nothing":      {func([]byte, crypto.Hash) ([]byte, error) { return nil, nil }, nil},
		"another node": {func([]byte, crypto.Hash) ([]byte, error) { return []byte("another root"), nil }, nil},
		"failure":      {func([]byte, crypto.Hash) ([]byte, error) { return nil, disaster }, disaster},
	} {
		v := New(root, c.src)
		_, getErr := v.Get(make([]byte, 32))
		_, proveErr := v.Prove(make([]byte, 32))
		_, _, updateErr := v.Update([]Entry{{Value: []byte{1}}})
		for _, err := range []error{getErr, proveErr, updateErr} {
			var missing *MissingNodeError
			if !errors.As(err, &missing) || missing.Hash != root || len(missing.Path) != 0 || !errors.Is(err, missing) ||
				c.want != nil && !errors.Is(err, c.want) || missing.Error() == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestKeyLength(t *testing.T) {
	t.Parallel()
	v := New(EmptyRoot, nil)
	for _, size := range []int{0, 31, 33} {
		_, getErr := v.Get(make([]byte, size))
		_, proveErr := v.Prove(make([]byte, size))
		if !errors.Is(getErr, ErrKeyLength) || !errors.Is(proveErr, ErrKeyLength) {
			t.Errorf("%d bytes: %v, %v", size, getErr, proveErr)
		}
	}
	for _, size := range []int{0, 33} {
		if _, err := VerifyProof(EmptyRoot, make([]byte, size), nil); !errors.Is(err, ErrKeyLength) {
			t.Errorf("proof for %d bytes: %v", size, err)
		}
	}
}

func TestVerifyProofRefuses(t *testing.T) {
	t.Parallel()
	entries := make([]Entry, 200)
	for i := range entries {
		entries[i] = Entry{Key: benchKey(i), Value: bytes.Repeat([]byte{1}, 40)}
	}
	v, _, err := New(EmptyRoot, nil).Update(entries)
	if err != nil {
		t.Fatal(err)
	}
	k := benchKey(3)
	proof, err := v.Prove(k[:])
	if err != nil {
		t.Fatal(err)
	}
	other := crypto.Keccak256([]byte("another root"))
	for name, c := range map[string]struct {
		root  crypto.Hash
		proof [][]byte
		want  error
	}{
		"no nodes":             {v.Hash(), nil, ErrProofTooShort},
		"last node left out":   {v.Hash(), proof[:len(proof)-1], ErrProofTooShort},
		"first node left out":  {v.Hash(), proof[1:], ErrProofHash},
		"another root":         {other, proof, ErrProofHash},
		"node twice":           {v.Hash(), append([][]byte{proof[0]}, proof...), ErrProofHash},
		"node at the end":      {v.Hash(), append(proof[:len(proof):len(proof)], proof[0]), ErrProofExtra},
		"too many nodes":       {v.Hash(), make([][]byte, 66), ErrProofTooLong},
		"empty trie, a node":   {EmptyRoot, proof, ErrProofHash},
		"empty trie, one more": {EmptyRoot, [][]byte{{0x80}, {0x80}}, ErrProofExtra},
	} {
		if got, err := VerifyProof(c.root, k[:], c.proof); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, proof := range [][][]byte{nil, {{0x80}}} {
		if got, err := VerifyProof(EmptyRoot, k[:], proof); got != nil || err != nil {
			t.Errorf("empty trie: %x, %v", got, err)
		}
	}
}

// A failed update leaves no trace: the version still answers as before.
func TestFailedUpdate(t *testing.T) {
	t.Parallel()
	d := disk{}
	v, set, err := New(EmptyRoot, d.source).Update([]Entry{
		{Key: crypto.Hash{0x10}, Value: []byte{1}}, {Key: crypto.Hash{0x20}, Value: bytes.Repeat([]byte{2}, 40)},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.apply(t, set)
	v = v.Bound(0)
	// Deleting one of two leaves needs the other, to move it up.
	delete(d, "\x02")
	next, changes, err := v.Update([]Entry{{Key: crypto.Hash{0x10}}})
	var missing *MissingNodeError
	if next != nil || changes != nil || !errors.As(err, &missing) || !bytes.Equal(missing.Path, []byte{2}) {
		t.Fatalf("%v, %v, %v", next, changes, err)
	}
	k := crypto.Hash{0x10}
	if got, err := v.Get(k[:]); err != nil || !bytes.Equal(got, []byte{1}) {
		t.Fatalf("%x, %v", got, err)
	}
}
