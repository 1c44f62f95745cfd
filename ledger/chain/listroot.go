package chain

import (
	"bytes"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"cairn/crypto"
)

// maxListKey is the most nibbles of a key: RLP of an index below 2^32.
const maxListKey = 10

// listRoot computes the root of the trie of a transaction or receipt list for
// types.DeriveSha. The keys are RLP(index): they come in ascending order and
// none is a prefix of another, so the trie is encoded once, bottom up, and no
// branch has a value. It is ours because go-ethereum's StackTrie brings its
// database packages into the wallet.
type listRoot struct {
	items   []listItem
	values  []byte // of all items, one after the other
	scratch []byte // the nodes under construction, outermost first
}

// listItem is one entry: its key in nibbles and where its value is.
type listItem struct {
	key      [maxListKey]byte
	nibbles  int
	from, to int
}

var _ types.ListHasher = (*listRoot)(nil)

// receiptBytes is the length of a receipt without logs, most of it its bloom.
const receiptBytes = 270

// transactionsRoot is the root of the transaction trie.
func transactionsRoot(txs types.Transactions) crypto.Hash {
	size := 0
	for _, tx := range txs {
		size += int(tx.Size())
	}
	return deriveRoot(txs, size)
}

// receiptsRoot is the root of the receipt trie.
func receiptsRoot(receipts types.Receipts) crypto.Hash {
	return deriveRoot(receiptList(receipts), len(receipts)*receiptBytes)
}

// receiptList encodes receipts without logs, which is nearly all of them,
// without reflection.
type receiptList types.Receipts

// Len implements types.DerivableList.
func (rs receiptList) Len() int { return len(rs) }

// EncodeIndex implements types.DerivableList: the type byte unless legacy, then
// RLP([status, cumulative gas, bloom, []]).
func (rs receiptList) EncodeIndex(i int, w *bytes.Buffer) {
	r := rs[i]
	if len(r.Logs) > 0 || len(r.PostState) > 0 {
		types.Receipts(rs).EncodeIndex(i, w)
		return
	}
	if r.Type != types.LegacyTxType {
		w.WriteByte(r.Type)
	}
	const statusAndLogs, bloom = 2, 3 + types.BloomByteLength
	b := appendHeader(w.AvailableBuffer(), 0xc0, statusAndLogs+bloom+rlp.IntSize(r.CumulativeGasUsed))
	b = rlp.AppendUint64(b, r.Status)
	b = rlp.AppendUint64(b, r.CumulativeGasUsed)
	b = appendString(b, r.Bloom[:])
	w.Write(append(b, 0xc0))
}

// deriveRoot is the root of a list of about size bytes.
func deriveRoot(list types.DerivableList, size int) crypto.Hash {
	return types.DeriveSha(list, &listRoot{items: make([]listItem, 0, list.Len()), values: make([]byte, 0, size)})
}

// Reset implements types.ListHasher.
func (l *listRoot) Reset() { l.items, l.values = l.items[:0], l.values[:0] }

// Update implements types.ListHasher.
func (l *listRoot) Update(key, value []byte) error {
	it := listItem{nibbles: 2 * len(key), from: len(l.values), to: len(l.values) + len(value)}
	for i, b := range key {
		it.key[2*i], it.key[2*i+1] = b>>4, b&15
	}
	l.items = append(l.items, it)
	l.values = append(l.values, value...)
	return nil
}

// Hash implements types.ListHasher.
func (l *listRoot) Hash() crypto.Hash {
	if len(l.items) == 0 {
		return types.EmptyRootHash
	}
	l.scratch = l.scratch[:0]
	l.encode(0, len(l.items), 0)
	return crypto.Keccak256(l.scratch)
}

// encode appends to scratch the RLP of the node that holds items [from, to),
// whose keys agree in their first depth nibbles.
func (l *listRoot) encode(from, to, depth int) {
	first := &l.items[from]
	if to-from == 1 {
		var path [1 + maxListKey]byte
		l.encodeLeaf(compact(path[:0], first.key[depth:first.nibbles], true), l.values[first.from:first.to])
		return
	}
	// Sorted: what the first and the last key share, all share.
	last, end := &l.items[to-1], depth
	for first.key[end] == last.key[end] {
		end++
	}
	if end == depth {
		l.encodeBranch(from, to, depth)
		return
	}
	var buffer [2*33 + maxListKey]byte
	var path [1 + maxListKey]byte
	content := appendString(buffer[:0], compact(path[:0], first.key[depth:end], false))
	content = l.appendReference(content, from, to, end)
	l.scratch = append(appendHeader(l.scratch, 0xc0, len(content)), content...)
}

func (l *listRoot) encodeLeaf(path, value []byte) {
	l.scratch = appendHeader(l.scratch, 0xc0, stringSize(path)+stringSize(value))
	l.scratch = appendString(appendString(l.scratch, path), value)
}

func (l *listRoot) encodeBranch(from, to, depth int) {
	var buffer [17 * 33]byte
	content := buffer[:0]
	for nibble := byte(0); nibble < 16; nibble++ {
		end := from
		for end < to && l.items[end].key[depth] == nibble {
			end++
		}
		if end == from {
			content = append(content, 0x80)
			continue
		}
		content = l.appendReference(content, from, end, depth+1)
		from = end
	}
	content = append(content, 0x80)
	l.scratch = append(appendHeader(l.scratch, 0xc0, len(content)), content...)
}

// appendReference puts a child into its parent b: itself when shorter than a
// hash, else its hash.
func (l *listRoot) appendReference(b []byte, from, to, depth int) []byte {
	start := len(l.scratch)
	l.encode(from, to, depth)
	child := l.scratch[start:]
	l.scratch = l.scratch[:start]
	if len(child) < crypto.HashLength {
		return append(b, child...)
	}
	h := crypto.Keccak256(child)
	return append(append(b, 0x80+crypto.HashLength), h[:]...)
}

// compact appends the hex-prefix encoding of a path.
func compact(out, nibbles []byte, leaf bool) []byte {
	var flag byte
	if leaf {
		flag = 0x20
	}
	if len(nibbles)%2 == 1 {
		flag |= 0x10 | nibbles[0]
		nibbles = nibbles[1:]
	}
	out = append(out, flag)
	for i := 0; i < len(nibbles); i += 2 {
		out = append(out, nibbles[i]<<4|nibbles[i+1])
	}
	return out
}

// appendString appends the RLP of a byte string.
func appendString(b, s []byte) []byte {
	if len(s) == 1 && s[0] < 0x80 {
		return append(b, s[0])
	}
	return append(appendHeader(b, 0x80, len(s)), s...)
}

// stringSize is how many bytes appendString appends.
func stringSize(s []byte) int {
	if len(s) == 1 && s[0] < 0x80 {
		return 1
	}
	return headerSize(len(s)) + len(s)
}

// headerSize is the length of the RLP header of a string or list.
func headerSize(length int) int {
	if length < 56 {
		return 1
	}
	size := 1
	for ; length > 0; length >>= 8 {
		size++
	}
	return size
}

// appendHeader appends the RLP header of a string (base 0x80) or list (0xc0).
func appendHeader(b []byte, base byte, length int) []byte {
	if length < 56 {
		return append(b, base+byte(length))
	}
	size := headerSize(length) - 1
	b = append(b, base+55+byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(length>>(8*i)))
	}
	return b
}
