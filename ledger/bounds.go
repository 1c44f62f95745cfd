package ledger

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/chain"
	"cairn/ledger/store"
)

// Bounds say how old the oldest things are that this node holds.
func (l *Ledger) Bounds() store.Bounds { return l.st.Bounds() }

// RaiseBounds gives up history and blocks below new bounds, durably; then they
// can be deleted. Validator sets of epochs that began below stay known. Any one
// goroutine may call it at a time.
// Errors: ErrFuture, store.ErrOutOfOrder, or a failure.
func (l *Ledger) RaiseBounds(b store.Bounds) error {
	if err := l.atMost(b.Base); err != nil {
		return err
	}
	sets := make(map[uint32][]byte)
	_, newest := l.Validators()
	for epoch := newest; ; epoch-- {
		height, err := l.ClosingHeight(epoch)
		if err != nil {
			return fmt.Errorf("raise the bounds: %w", err)
		}
		if height < b.Base {
			_, err := l.st.EpochSet(epoch)
			if err == nil {
				break // and so are those before
			}
			if !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("raise the bounds: %w", err)
			}
			set, _, err := l.ValidatorsAt(height)
			if err != nil {
				return fmt.Errorf("raise the bounds: %w", err)
			}
			sets[epoch] = set.Encode()
		}
		if epoch == 0 {
			break
		}
	}
	return l.st.RaiseBounds(b, sets)
}

// Older is a final block below those that are held.
type Older struct {
	Block       *types.Block
	Receipts    types.Receipts // with logs
	Certificate []byte         // of exactly this block, verified; empty: none
}

// Fill puts blocks below the lowest one that is held with its body, the highest
// first, and holds each against the parent hash above it and its own roots. Any
// one goroutine may call it at a time.
// Errors: ErrNotTheChain (the blocks are wrong, none is kept), or a failure.
func (l *Ledger) Fill(blocks []Older) error {
	first := l.st.FirstBody()
	if first == 0 || len(blocks) == 0 {
		return nil
	}
	var want crypto.Hash
	if h, err := l.st.HashByHeight(first - 1); err == nil {
		want = h // the head of a database that began with a state, or an epoch's end
	} else {
		above, err := l.HeaderByHeight(first)
		if err != nil {
			return fmt.Errorf("fill below %d: %w", first, err)
		}
		want = above.ParentHash
	}
	fills := make([]store.Filling, 0, len(blocks))
	for _, o := range blocks {
		if err := l.checkOlder(o, want); err != nil {
			return fmt.Errorf("%w: %w", ErrNotTheChain, err)
		}
		want = o.Block.ParentHash()
		fills = append(fills, store.Filling{Block: o.Block, Receipts: o.Receipts, Certificate: o.Certificate})
	}
	return l.st.Fill(fills)
}

// Refill puts back a final block that was damaged and awaited, if it is that block
// and its receipts have its root.
// Errors: ErrNotTheChain (nothing is kept), or a failure.
func (l *Ledger) Refill(o Older) error {
	want, err := l.HashByHeight(o.Block.NumberU64())
	if err != nil {
		return err
	}
	if err := l.checkOlder(o, want); err != nil {
		return fmt.Errorf("%w: %w", ErrNotTheChain, err)
	}
	return l.st.Refill(store.Filling{Block: o.Block, Receipts: o.Receipts, Certificate: o.Certificate})
}

func (l *Ledger) checkOlder(o Older, want crypto.Hash) error {
	if got := o.Block.Hash(); got != want {
		return fmt.Errorf("block %d is %s, not %s", o.Block.NumberU64(), got, want)
	}
	txs := o.Block.Transactions()
	if got := chain.TransactionsRoot(txs); got != o.Block.TxHash() {
		return fmt.Errorf("transactions of block %d have the root %s, not %s", o.Block.NumberU64(), got, o.Block.TxHash())
	}
	if len(o.Receipts) != len(txs) {
		return fmt.Errorf("block %d has %d transactions and %d receipts", o.Block.NumberU64(), len(txs), len(o.Receipts))
	}
	// Gas used of each is not in the root; what is stored of it must agree with
	// the sums that are.
	used := uint64(0)
	for i, r := range o.Receipts {
		if r == nil || r.CumulativeGasUsed < used {
			return fmt.Errorf("receipt %d of block %d: the gas does not add up", i, o.Block.NumberU64())
		}
		r.GasUsed = r.CumulativeGasUsed - used
		used = r.CumulativeGasUsed
	}
	if got := chain.ReceiptsRoot(o.Receipts); got != o.Block.ReceiptHash() {
		return fmt.Errorf("receipts of block %d have the root %s, not %s", o.Block.NumberU64(), got, o.Block.ReceiptHash())
	}
	return nil
}
