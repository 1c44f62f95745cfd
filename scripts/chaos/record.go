//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"sync"
	"time"

	"cairn/crypto"
	"cairn/scripts/internal/testnet"
)

const recipients = 50

// transfer is one transfer of the load. All of it follows from account and
// nonce, so that the same two always give the same transaction hash.
type transfer struct {
	Account int
	Nonce   uint64
}

func (t transfer) recipient() int { return int((uint64(t.Account)*7 + t.Nonce) % recipients) }
func (t transfer) wei() int64     { return int64(1 + t.Nonce%1000) }

// MarshalText is account:nonce.
func (t transfer) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d:%d", t.Account, t.Nonce), nil
}

// UnmarshalText reads account:nonce.
func (t *transfer) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "%d:%d", &t.Account, &t.Nonce)
	return err
}

func recipientAddress(i int) crypto.Address {
	return crypto.Address(crypto.Keccak256(fmt.Appendf(nil, "chaos recipient %d", i)).Bytes()[12:])
}

// finalBlock is what some node first reported as final at a height, and one line
// of the journal.
type finalBlock struct {
	Height    uint64      `json:"height"`
	Hash      crypto.Hash `json:"hash"`
	Root      crypto.Hash `json:"root"`
	Digest    string      `json:"digest"` // of the transactions' hashes, in order
	BaseFee   *big.Int    `json:"baseFee"`
	Node      int         `json:"node"` // that reported it first
	Time      uint64      `json:"time"` // Unix time of the header, in whole seconds
	Transfers []transfer  `json:"transfers,omitempty"`

	at time.Time
}

// record is every block that any node has reported as final, with the transfers
// in it. It is kept in memory and, line by line, in a journal.
type record struct {
	journal *os.File

	mu       sync.Mutex
	blocks   []finalBlock // by height; without their transfers
	waiting  map[crypto.Hash]transfer
	final    [][]uint64 // heights by account and nonce
	order    []transfer // final ones, oldest first
	received [recipients]int64
	spent    []*big.Int    // by account: values and fees
	changed  chan struct{} // closed at the next block
}

var (
	errDiverged = errors.New("divergence")
	errLost     = errors.New("lost")
	errWrong    = errors.New("wrong ledger")
)

// openRecord reads a journal, or begins it. A last line that is cut off is
// dropped: the nodes still have its block.
func openRecord(path string, accounts int) (*record, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	r := &record{waiting: map[crypto.Hash]transfer{}, final: make([][]uint64, accounts), changed: make(chan struct{})}
	for range accounts {
		r.spent = append(r.spent, new(big.Int))
	}
	good := int64(0)
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var b finalBlock
		if err := json.Unmarshal(line, &b); err != nil {
			return nil, fmt.Errorf("%s at byte %d: %w", path, good, err)
		}
		if b.Height != uint64(len(r.blocks)) {
			return nil, fmt.Errorf("%s at byte %d: height %d after %d blocks", path, good, b.Height, len(r.blocks))
		}
		if err := r.append(b); err != nil {
			return nil, fmt.Errorf("%s at byte %d: %w", path, good, err)
		}
		good += int64(len(line))
	}
	if err := errors.Join(f.Truncate(good), seekEnd(f)); err != nil {
		return nil, err
	}
	r.journal = f
	return r, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

// append adds the next block. Every transfer must be its account's next one.
func (r *record) append(b finalBlock) error {
	for _, t := range b.Transfers {
		if t.Account < 0 || t.Account >= len(r.final) || t.Nonce != uint64(len(r.final[t.Account])) {
			return fmt.Errorf("%w: height %d holds transfer %d:%d out of order", errWrong, b.Height, t.Account, t.Nonce)
		}
		r.final[t.Account] = append(r.final[t.Account], b.Height)
		r.order = append(r.order, t)
		r.received[t.recipient()] += t.wei()
		cost := new(big.Int).Add(b.BaseFee, testnet.Tip)
		cost.Mul(cost, big.NewInt(testnet.TransferGas))
		r.spent[t.Account].Add(r.spent[t.Account], cost.Add(cost, big.NewInt(t.wei())))
	}
	b.Transfers = nil
	r.blocks = append(r.blocks, b)
	return nil
}

// digest identifies the transactions of a block.
func digest(txs []crypto.Hash) string {
	h := sha256.New()
	for _, t := range txs {
		h.Write(t[:])
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// observe holds a block that a node reports as final against the record, or
// adds it if it is the next one.
// Errors: errDiverged, errWrong.
func (r *record) observe(node int, b *testnet.Block, at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	height := uint64(b.Number)
	if height < uint64(len(r.blocks)) {
		return r.blocks[height].same(node, b)
	}
	if height > uint64(len(r.blocks)) {
		return fmt.Errorf("height %d of node %d comes after only %d blocks", height, node, len(r.blocks))
	}
	entry := finalBlock{Height: height, Hash: b.Hash, Root: b.StateRoot, Digest: digest(b.Transactions), BaseFee: b.BaseFee.ToInt(), Node: node, Time: uint64(b.Time), at: at}
	for _, hash := range b.Transactions {
		t, ok := r.waiting[hash]
		if !ok {
			return fmt.Errorf("%w: height %d of node %d holds transaction %s, which nobody sent or is final already", errWrong, height, node, hash)
		}
		entry.Transfers = append(entry.Transfers, t)
	}
	if height > 0 && b.ParentHash != r.blocks[height-1].Hash {
		return fmt.Errorf("%w: parent of height %d of node %d is %s, the block below is %s", errDiverged, height, node, b.ParentHash, r.blocks[height-1].Hash)
	}
	if err := r.append(entry); err != nil {
		return err
	}
	for _, hash := range b.Transactions {
		delete(r.waiting, hash)
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	if _, err := r.journal.Write(append(bytes.Clone(line), '\n')); err != nil {
		return err
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// same compares a node's block with the one recorded for its height.
func (f *finalBlock) same(node int, b *testnet.Block) error {
	if b.Hash != f.Hash || b.StateRoot != f.Root || digest(b.Transactions) != f.Digest {
		return fmt.Errorf("%w at height %d: node %d has block %s with state root %s and %d transactions, node %d reported %s with state root %s",
			errDiverged, f.Height, node, b.Hash, b.StateRoot, len(b.Transactions), f.Node, f.Hash, f.Root)
	}
	return nil
}

// expect tells the record of a transaction that is about to be sent.
func (r *record) expect(hash crypto.Hash, t transfer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.Nonce >= uint64(len(r.final[t.Account])) {
		r.waiting[hash] = t
	}
}

// finals is how many transfers of an account are final.
func (r *record) finals(account int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.final[account]))
}

// size is the number of blocks and of final transfers.
func (r *record) size() (blocks, transfers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.blocks), len(r.order)
}

// next is closed when there is one more block than now.
func (r *record) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// finalAt is when a transfer's block was first seen; false = not final.
func (r *record) finalAt(t transfer) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.Nonce >= uint64(len(r.final[t.Account])) {
		return time.Time{}, false
	}
	return r.blocks[r.final[t.Account][t.Nonce]].at, true
}

// firstAfter is when the first block after a moment was seen; false = none was.
func (r *record) firstAfter(t time.Time) (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.blocks) - 1; i >= 0 && r.blocks[i].at.After(t); i-- {
		at, ok = r.blocks[i].at, true
	}
	return at, ok
}

// madeAfter is the oldest recorded block whose own time is after a moment. What
// votes made final long ago may be seen late, on a busy machine; a block that was
// made after the last quorum can have had none. Whole seconds are rounded down,
// so that a block is never taken for a later one.
func (r *record) madeAfter(t time.Time) (b finalBlock, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.blocks) - 1; i > 0 && time.Unix(int64(r.blocks[i].Time), 0).After(t); i-- {
		b, ok = r.blocks[i], true
	}
	return b, ok
}

// books is what every account must hold at a height.
type books struct {
	height   uint64
	finals   int // transfers up to there
	received [recipients]int64
	nonces   []uint64
	spent    []*big.Int
}

// snapshot is the books at the highest recorded height.
func (r *record) snapshot() books {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := books{height: uint64(max(len(r.blocks), 1) - 1), finals: len(r.order), received: r.received}
	for i := range r.final {
		b.nonces = append(b.nonces, uint64(len(r.final[i])))
		b.spent = append(b.spent, new(big.Int).Set(r.spent[i]))
	}
	return b
}

// at is the recorded block of a height.
func (r *record) at(height uint64) finalBlock {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocks[height]
}

// placed is the k-th final transfer and its block.
func (r *record) placed(k int) (transfer, finalBlock) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.order[k]
	return t, r.blocks[r.final[t.Account][t.Nonce]]
}
