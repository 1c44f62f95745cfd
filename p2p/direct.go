package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// SendTransactions sends encoded transactions to one connected peer over
// streams of their own, for those that gossip would take for known. It returns
// when they are written, within 5 s. Errors: ErrNotConnected,
// ErrBatchMalformed (empty or too large a transaction), those of the stream.
func (h *Host) SendTransactions(to peer.ID, raws [][]byte) error {
	for i, raw := range raws {
		if len(raw) == 0 || len(raw) > h.cfg.MaxTransactionBytes {
			return fmt.Errorf("%w: transaction %d has %d bytes, want 1..%d", ErrBatchMalformed, i, len(raw), h.cfg.MaxTransactionBytes)
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.waits.open)
	defer cancel()
	for len(raws) > 0 {
		n := h.batchLength(raws)
		if err := h.sendBatch(ctx, to, encodeBatch(raws[:n])); err != nil {
			return fmt.Errorf("send transactions to %s: %w", to, err)
		}
		raws = raws[n:]
	}
	return nil
}

// batchLength is how many of raws, at least one, make the next batch.
func (h *Host) batchLength(raws [][]byte) int {
	n, size := 0, 0
	for n < len(raws) && n < maxBatchTransactions {
		size += batchItemSize(raws[n])
		if n > 0 && size > h.cfg.BatchBytes {
			break
		}
		n++
	}
	return n
}

func (h *Host) sendBatch(ctx context.Context, to peer.ID, batch []byte) error {
	if _, err := h.awaitReady(ctx, to); err != nil {
		return err
	}
	stream, err := h.host.NewStream(network.WithNoDial(ctx, "transactions"), to, h.protocol("transactions"))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { stream.Reset() })()
	if _, err := stream.Write(appendFrame(nil, batch)); err != nil {
		stream.Reset()
		return err
	}
	h.count.inc(cDirectSent)
	return stream.Close()
}

// receiveDirect reads one batch that a peer sent to us alone.
func (h *Host) receiveDirect(stream network.Stream) (closed bool) {
	from := stream.Conn().RemotePeer()
	done, ok := h.beginDirect(from)
	if !ok {
		h.Penalize(from, FaultFlood)
		return false
	}
	defer done()
	if h.handlers.Transactions == nil || h.admit(stream) == nil {
		return false
	}
	stream.SetReadDeadline(time.Now().Add(h.waits.direct))
	raw, err := readFrame(stream, h.maxBatchBytes())
	if err != nil {
		if f, ok := h.countFrameError(err); ok {
			h.Penalize(from, f)
		}
		return false
	}
	stream.Close()
	raws, err := decodeBatch(raw, h.cfg.MaxTransactionBytes)
	if err != nil {
		h.count.inc(cFramesMalformed)
		h.Penalize(from, FaultMalformed)
		return true
	}
	h.count.inc(cDirectReceived)
	if job := h.gossip.enqueue(from, raws); job != nil {
		if h.gossip.await(h.ctx, job) == Reject {
			h.Penalize(from, FaultRejected)
		}
	}
	return true
}

func (h *Host) beginDirect(p peer.ID) (done func(), ok bool) {
	validator, perSecond := h.gater.isValidator(p), h.cfg.RequestRate
	if validator {
		perSecond *= validatorRateFactor
	}
	r := &h.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.allowance(p, perSecond)
	if a.direct >= directBatchesPerPeer || !a.batches.Allow() && !validator {
		return nil, false
	}
	a.direct++
	return func() {
		r.mu.Lock()
		a.direct--
		r.mu.Unlock()
	}, true
}
