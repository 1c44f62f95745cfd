package rpc

import (
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/pool"
)

// eventBacklog is how many of the newest additions and drops are kept for
// subscribers and filters that lag. They are kept once, not for each.
const eventBacklog = 16_384

// Events carries what happens in the pool to subscribers and filters. The node
// tells it; it never blocks.
type Events struct {
	signer  types.Signer
	added   feed[crypto.Hash]
	dropped feed[drop]
}

// NewEvents is a feed to which nothing has come.
func NewEvents(signer types.Signer) *Events {
	e := &Events{signer: signer}
	e.added.wake, e.dropped.wake = make(chan struct{}), make(chan struct{})
	return e
}

// Added says that a transaction is in the pool, from a wallet or a peer.
func (e *Events) Added(hash crypto.Hash) { e.added.put(hash) }

// Dropped says that a transaction left the pool without being in a block. It is
// what pool.Config.OnDrop calls.
func (e *Events) Dropped(d pool.Drop) {
	from, _ := types.Sender(e.signer, d.Transaction) // was recovered when it was added
	e.dropped.put(drop{
		Hash: d.Transaction.Hash(), From: from, Nonce: hexutil.Uint64(d.Transaction.Nonce()), Local: d.Local, Reason: d.Reason.Error(),
	})
}

// drop is one notification of cairn_subscribe("drops").
type drop struct {
	Hash   crypto.Hash    `json:"hash"`
	From   crypto.Address `json:"from"`
	Nonce  hexutil.Uint64 `json:"nonce"`
	Local  bool           `json:"local"` // it came through this node
	Reason string         `json:"reason"`
}

// feed is a ring of the newest values, numbered from 0.
type feed[T any] struct {
	mu   sync.Mutex
	ring []T
	next uint64 // number of the value that comes next
	wake chan struct{}
}

func (f *feed[T]) put(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ring) < eventBacklog {
		f.ring = append(f.ring, v)
	} else {
		f.ring[f.next%eventBacklog] = v
	}
	f.next++
	close(f.wake)
	f.wake = make(chan struct{})
}

// since answers the values from number at on, the number after them, and whether
// some are gone.
func (f *feed[T]) since(at uint64) (values []T, next uint64, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if oldest := f.next - uint64(len(f.ring)); at < oldest {
		at, lost = oldest, true
	}
	for ; at < f.next; at++ {
		values = append(values, f.ring[at%eventBacklog])
	}
	return values, f.next, lost
}

// more is closed when something comes.
func (f *feed[T]) more() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wake
}

// end is the number of the value that comes next.
func (f *feed[T]) end() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}
