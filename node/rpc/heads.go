package rpc

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/ledger"
)

// heads wakes whoever waits for the next final block. A subscriber keeps the
// height up to which it has read and takes the blocks from the ledger, which has
// them all: nobody misses one, however slow, and waiting costs no memory.
type heads struct {
	ledger *ledger.Ledger
	finals <-chan *ledger.Final
	cancel func() // of finals

	kept [keptHeads]atomic.Pointer[head] // by height

	mu   sync.Mutex
	wake chan struct{} // closed at the next final block
}

// keptHeads are the newest headers that are kept encoded: subscribers that are
// further behind make their own.
const keptHeads = 64

// head is a final header and its JSON, made once for all that follow the head.
type head struct {
	*types.Header

	height uint64
	raw    []byte
}

func newHeads(l *ledger.Ledger) *heads {
	h := &heads{ledger: l, wake: make(chan struct{})}
	h.finals, h.cancel = l.Subscribe()
	return h
}

// run wakes waiters until ctx ends.
func (h *heads) run(ctx context.Context) {
	defer h.cancel()
	for {
		select {
		case <-h.finals: // one that was dropped was followed by the wake of another
			h.mu.Lock()
			close(h.wake)
			h.wake = make(chan struct{})
			h.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// next is closed at the next final block. Take it before the height is read.
func (h *heads) next() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wake
}

func (h *heads) height() uint64 { return h.ledger.HeadInfo().Height }

// at is the header of a final block. Subscribers ask for the same one at the same
// time.
func (h *heads) at(height uint64) (*head, error) {
	place := &h.kept[height%keptHeads]
	if x := place.Load(); x != nil && x.height == height {
		return x, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := place.Load(); x != nil && x.height == height {
		return x, nil
	}
	header, err := h.ledger.HeaderByHeight(height)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(headerOf(header))
	if err != nil {
		return nil, err
	}
	made := &head{Header: header, height: height, raw: raw}
	if x := place.Load(); x == nil || x.height < height { // one that lags does not take it from the others
		place.Store(made)
	}
	return made, nil
}
