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

	last atomic.Pointer[head]

	mu   sync.Mutex
	wake chan struct{} // closed at the next final block
}

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
	if last := h.last.Load(); last != nil && last.height == height {
		return last, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.last.Load(); last != nil && last.height == height {
		return last, nil
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
	if last := h.last.Load(); last == nil || last.height < height { // one that lags does not take it from the others
		h.last.Store(made)
	}
	return made, nil
}
