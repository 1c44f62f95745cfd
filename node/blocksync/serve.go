package blocksync

import (
	"context"
	"errors"
	"fmt"

	"cairn/consensus"
	"cairn/ledger"
	"cairn/ledger/chain"
	"cairn/light"
	"cairn/node/fetch"
)

// Server answers the requests of this package from a ledger. It holds nothing
// but the answer that it makes.
type Server struct {
	Ledger *ledger.Ledger
}

// Requests are the methods that answer, by the name of the request.
func (s *Server) Requests() map[string]func(context.Context, []byte) ([]byte, error) {
	return map[string]func(context.Context, []byte) ([]byte, error){
		RequestBlocks: s.Blocks, RequestEpochs: s.Epochs, RequestReceipts: s.Receipts,
	}
}

// notHere tells the plain answer that something is not here, or no more, from a
// failure.
func notHere(err error) bool {
	return errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrPruned) || errors.Is(err, ledger.ErrAwaited)
}

// Blocks answers final blocks from a height upwards, with what proves the last.
// An empty answer says that the first is not here.
func (s *Server) Blocks(ctx context.Context, req []byte) ([]byte, error) {
	q, err := DecodeBlocksRequest(req)
	if err != nil {
		return nil, err
	}
	var answer BlocksAnswer
	count, limit, size := min(q.Count, MaxBlocks), min(q.Bytes, MaxRangeBytes), uint64(0)
	head := s.Ledger.HeadInfo().Height
	for h := q.From; h >= 1 && h <= head && uint64(len(answer.Blocks)) < count && size < limit && ctx.Err() == nil; h++ {
		b, err := s.block(h)
		if notHere(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		answer.Blocks = append(answer.Blocks, b)
		size += uint64(len(b.Body) + len(b.Finalization))
	}
	if err := s.prove(q.From, &answer); err != nil {
		return nil, err
	}
	return fetch.Encode(&answer), nil
}

func (s *Server) block(height uint64) (b RangedBlock, err error) {
	hash, err := s.Ledger.HashByHeight(height)
	if err != nil {
		return b, err
	}
	if b.Body, err = s.Ledger.BodyBytes(hash); err != nil {
		return b, err
	}
	b.Finalization, err = s.Ledger.Certificate(height)
	return b, err
}

// prove adds what makes the last block final, or leaves off those at the end
// for which there is nothing: a node that has just synced may have no
// finalization of its newest blocks.
func (s *Server) prove(from uint64, a *BlocksAnswer) error {
	n := len(a.Blocks)
	if n == 0 || len(a.Blocks[n-1].Finalization) > 0 {
		return nil
	}
	last := from + uint64(n) - 1
	cert, at, err := s.Ledger.CertificateAtOrAbove(last)
	if err != nil && !notHere(err) {
		return err
	}
	for n > 0 && len(a.Blocks[n-1].Finalization) == 0 {
		n--
	}
	// The certificate is to prove every block since the one before it.
	if err != nil || at-(from+uint64(n)) > light.MaxDescendants {
		a.Blocks = a.Blocks[:n]
		return nil
	}
	for h := last + 1; h <= at; h++ {
		header, err := s.Ledger.HeaderByHeight(h)
		if notHere(err) { // a damaged block, which is being fetched
			a.Blocks, a.Headers = a.Blocks[:n], nil
			return nil
		}
		if err != nil {
			return err
		}
		a.Headers = append(a.Headers, chain.EncodeHeader(header))
	}
	a.Finalization = cert
	return nil
}

// Epochs answers the ends of epochs that are over.
func (s *Server) Epochs(ctx context.Context, req []byte) ([]byte, error) {
	q, err := DecodeEpochsRequest(req)
	if err != nil {
		return nil, err
	}
	steps, err := s.Ends(ctx, q.From, q.Count)
	if err != nil {
		return nil, err
	}
	return fetch.Encode(&EpochsAnswer{Steps: steps}), nil
}

// Ends are the ends of the epochs from one upwards that are over, at most count
// and MaxSteps.
func (s *Server) Ends(ctx context.Context, from, count uint64) (steps []light.Step, err error) {
	_, current := s.Ledger.Validators()
	size := 0
	for e := from; e < uint64(current) && uint64(len(steps)) < min(count, MaxSteps) && size < MaxEpochsBytes && ctx.Err() == nil; e++ {
		step, err := s.step(uint32(e))
		if notHere(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("end of epoch %d: %w", e, err)
		}
		steps = append(steps, step)
		size += len(step.Header) + len(step.Finalization)
		for _, m := range step.Next {
			size += 32 + len(m.PeerID) + len(m.Name)
		}
	}
	return steps, nil
}

func (s *Server) step(epoch uint32) (step light.Step, err error) {
	height, err := s.Ledger.EpochEnd(epoch)
	if err != nil {
		return step, err
	}
	header, err := s.Ledger.HeaderByHeight(height)
	if err != nil {
		return step, err
	}
	cert, err := s.Ledger.Certificate(height)
	if err != nil {
		return step, err
	}
	set, _, err := s.Ledger.ValidatorsAt(height)
	if err != nil {
		return step, err
	}
	return light.Step{Header: chain.EncodeHeader(header), Finalization: cert, Next: members(set)}, nil
}

// Receipts answers the receipts of final blocks from a height upwards.
func (s *Server) Receipts(ctx context.Context, req []byte) ([]byte, error) {
	q, err := DecodeBlocksRequest(req)
	if err != nil {
		return nil, err
	}
	var answer ReceiptsAnswer
	head := s.Ledger.HeadInfo().Height
	size := uint64(0)
	for h := q.From; h >= 1 && h <= head && uint64(len(answer.Blocks)) < min(q.Count, MaxBlocks) && size < min(q.Bytes, MaxRangeBytes) && ctx.Err() == nil; h++ {
		receipts, err := s.Ledger.Receipts(h)
		if notHere(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		raws := make([][]byte, len(receipts))
		for i, r := range receipts {
			if raws[i], err = r.MarshalBinary(); err != nil {
				return nil, fmt.Errorf("receipt %d of block %d: %w", i, h, err)
			}
			size += uint64(len(raws[i]))
		}
		answer.Blocks = append(answer.Blocks, raws)
	}
	return fetch.Encode(&answer), nil
}

// Finalization is what proves the final block at a height to others: the
// headers of its descendants up to one with a finalization (none if the block has
// its own), and that. Empty: nothing here proves it, as for block 0.
func (s *Server) Finalization(height uint64) (headers [][]byte, certificate []byte, err error) {
	own, err := s.Ledger.Certificate(height)
	if err != nil || len(own) > 0 {
		return nil, own, err
	}
	a := BlocksAnswer{Blocks: []RangedBlock{{}}}
	err = s.prove(height, &a)
	return a.Headers, a.Finalization, err
}

// decodeFinalization reads a finalization, not yet verified.
func decodeFinalization(raw []byte) (*consensus.Certificate, error) {
	c, err := consensus.DecodeCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fetch.ErrMalformed, err)
	}
	if c.Kind != consensus.Finalize {
		return nil, fetch.Refuse(fetch.ErrUnasked, "a %s instead of a finalization", c.Kind.Noun())
	}
	return c, nil
}
