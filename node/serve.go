package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
	"cairn/ledger/store"
	"cairn/node/blocksync"
)

// maxConsensusBytes bounds one consensus message: a full block, a quarter as
// much again for certificates, and fixed fields.
func maxConsensusBytes(rules *genesis.Rules) int {
	return int(rules.BlockBytes+rules.BlockBytes/4) + 64<<10
}

// maxAnswerBytes bounds one answer to a request.
func maxAnswerBytes(rules *genesis.Rules) int {
	return max(16<<20, maxConsensusBytes(rules), blocksync.MaxAnswerBytes(rules))
}

// serveStatus answers where this node stands.
func (d *driver) serveStatus(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
	if len(req) != 0 {
		return nil, errMalformed
	}
	head := d.ledger.HeadInfo()
	header, err := d.ledger.HeaderByHeight(head.Height)
	if err != nil {
		return nil, err
	}
	cert, err := d.ledger.Certificate(head.Height)
	if err != nil {
		return nil, err
	}
	answer := statusAnswer{
		Genesis: d.net.Genesis, Height: head.Height, Head: head.Hash,
		Epoch: head.Epoch, View: head.View, Finalization: cert, Header: chain.EncodeHeader(header),
	}
	if now := d.state.Load(); now != nil {
		answer.CurrentEpoch, answer.CurrentView = now.Epoch, now.View
		answer.Signs = d.signs(now)
		if now.admitting != nil {
			answer.Admitting = consensus.EncodeCertificate(now.admitting)
		}
	}
	return encode(answer), nil
}

// serveBlock answers the RLP of one block, final or proposed.
func (d *driver) serveBlock(_ context.Context, _ peer.ID, req []byte) ([]byte, error) {
	if len(req) != crypto.HashLength {
		return nil, fmt.Errorf("%w: a block is asked for by its hash", errMalformed)
	}
	raw, err := d.ledger.BodyBytes(crypto.Hash(req))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrAwaited) {
		return nil, nil
	}
	return raw, err
}

// serveCertificates answers the certificates that the core holds for a range of
// views; for views at or below the last finalized one, the head's finalization.
func (d *driver) serveCertificates(ctx context.Context, _ peer.ID, req []byte) ([]byte, error) {
	q, err := decodeCertificatesRequest(req)
	if err != nil {
		return nil, err
	}
	if q.To < q.From || q.To-q.From >= maxCertificateViews {
		return nil, fmt.Errorf("%w: views %d to %d", errMalformed, q.From, q.To)
	}
	if q.Epoch != d.era.Load().epoch {
		return encodeCertificates(nil), nil
	}
	answer := make(chan []consensus.Certificate, 1)
	if !d.deliver(ctx, func() { answer <- d.core.Certificates(q.From, q.To) }) {
		return nil, ctx.Err()
	}
	select {
	case cs := <-answer:
		return encodeCertificates(cs[:min(len(cs), maxCertificates)]), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
