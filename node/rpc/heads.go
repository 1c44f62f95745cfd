package rpc

import (
	"context"
	"encoding/json"
	"sync"

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

	mu   sync.Mutex
	wake chan struct{} // closed at the next final block
	at   uint64        // height of encoded
	last json.RawMessage
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

// encoded is the JSON of a header, made once for all that follow the head.
func (h *heads) encoded(head *types.Header) (json.RawMessage, error) {
	height := head.Number.Uint64()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil && h.at == height {
		return h.last, nil
	}
	raw, err := json.Marshal(headerOf(head))
	if err == nil {
		h.at, h.last = height, raw
	}
	return raw, err
}
