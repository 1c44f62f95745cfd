package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
	"cairn/ledger"
)

// Limits of a log query, geth's.
const (
	maxLogTopics    = 4    // positions: an event has no more
	maxLogAddresses = 1000 // and alternatives at one position
)

// logQuery is the parameter of eth_getLogs, eth_newFilter and
// eth_subscribe("logs").
type logQuery struct {
	BlockHash *crypto.Hash
	From, To  *rpc.BlockNumber
	Addresses []crypto.Address
	Topics    [][]crypto.Hash // alternatives at each position; none = any
}

// UnmarshalJSON takes one address or several, and null, one topic or several at
// each position.
func (q *logQuery) UnmarshalJSON(data []byte) error {
	var raw struct {
		BlockHash *crypto.Hash      `json:"blockHash"`
		FromBlock *rpc.BlockNumber  `json:"fromBlock"`
		ToBlock   *rpc.BlockNumber  `json:"toBlock"`
		Address   json.RawMessage   `json:"address"`
		Topics    []json.RawMessage `json:"topics"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if raw.BlockHash != nil && (raw.FromBlock != nil || raw.ToBlock != nil) {
		return errHashAndRange
	}
	*q = logQuery{BlockHash: raw.BlockHash, From: raw.FromBlock, To: raw.ToBlock}
	var err error
	if q.Addresses, err = oneOrMany[crypto.Address](raw.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if len(raw.Topics) > maxLogTopics {
		return errTooManyTopics
	}
	for i, t := range raw.Topics {
		topics, err := oneOrMany[crypto.Hash](t)
		if err != nil {
			return fmt.Errorf("topic %d: %w", i, err)
		}
		q.Topics = append(q.Topics, topics)
	}
	return nil
}

// oneOrMany reads null, a value or an array of values. A null among several
// matches anything.
func oneOrMany[T any](raw json.RawMessage) ([]T, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '[' {
		var v T
		err := json.Unmarshal(raw, &v)
		return []T{v}, err
	}
	var all []*T
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	if len(all) > maxLogAddresses {
		return nil, fmt.Errorf("%d alternatives, at most %d", len(all), maxLogAddresses)
	}
	out := make([]T, 0, len(all))
	for _, v := range all {
		if v == nil {
			return nil, nil
		}
		out = append(out, *v)
	}
	return out, nil
}

// matches says whether a log is asked for.
func (q *logQuery) matches(l *types.Log) bool {
	if len(q.Addresses) > 0 && !slices.Contains(q.Addresses, l.Address) || len(l.Topics) < len(q.Topics) {
		return false
	}
	for i, alternatives := range q.Topics {
		if len(alternatives) > 0 && !slices.Contains(alternatives, l.Topics[i]) {
			return false
		}
	}
	return true
}

// mayMatch says whether a block with a bloom can hold a log that is asked for.
func (q *logQuery) mayMatch(bloom types.Bloom) bool {
	if bloom == (types.Bloom{}) {
		return false
	}
	if len(q.Addresses) > 0 && !slices.ContainsFunc(q.Addresses, func(a crypto.Address) bool { return bloom.Test(a[:]) }) {
		return false
	}
	for _, alternatives := range q.Topics {
		if len(alternatives) > 0 && !slices.ContainsFunc(alternatives, func(t crypto.Hash) bool { return bloom.Test(t[:]) }) {
			return false
		}
	}
	return true
}

// GetLogs answers the logs of a block or of a range of at most
// Limits.LogBlocks blocks.
func (a *ethAPI) GetLogs(ctx context.Context, q logQuery) ([]*types.Log, error) {
	if q.BlockHash != nil {
		h, err := a.b.Ledger.HeaderByHash(*q.BlockHash)
		if errors.Is(err, ledger.ErrNotFound) {
			return nil, errUnknownBlock
		}
		if err != nil {
			return nil, err
		}
		return a.b.logs(ctx, &q, h.Number.Uint64(), h.Number.Uint64())
	}
	head := a.b.heads.height()
	from, to := head, head
	if q.From != nil {
		from = a.height(*q.From)
	}
	if q.To != nil {
		to = min(a.height(*q.To), head)
	}
	if q.From != nil && *q.From >= 0 && q.To != nil && *q.To >= 0 && *q.From > *q.To {
		return nil, errInvalidBlockRange
	}
	if from > to {
		return []*types.Log{}, nil
	}
	return a.b.logs(ctx, &q, from, to)
}

// logs are those of the blocks from and to and between, which are final.
func (s *service) logs(ctx context.Context, q *logQuery, from, to uint64) ([]*types.Log, error) {
	if n := to - from + 1; n > uint64(s.limits.LogBlocks) {
		return nil, invalidParams("exceed maximum block range: %d blocks, at most %d (rpc.limits.log_blocks)", n, s.limits.LogBlocks)
	}
	out, next, err := s.logPage(ctx, q, from, to)
	if err != nil {
		return nil, err
	}
	if next <= to || len(out) > s.limits.LogResults {
		return nil, invalidParams("more than %d logs up to block %d: ask for fewer blocks (rpc.limits.log_results)", s.limits.LogResults, min(next, to))
	}
	return out, nil
}

// logPage answers logs of whole blocks from a height on, and the height after
// them: it stops before the block whose logs would make them more than
// Limits.LogResults. It answers one block at least, so that who asks again comes
// to an end. With an error it answers what it has until then.
func (s *service) logPage(ctx context.Context, q *logQuery, from, to uint64) (logs []*types.Log, next uint64, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	logs = []*types.Log{}
	for next = from; next <= to; next++ {
		if err := s.pause(ctx); err != nil {
			return logs, next, err
		}
		found, err := s.blockLogs(q, next)
		if err != nil {
			return logs, next, err
		}
		if next > from && len(logs)+len(found) > s.limits.LogResults {
			break
		}
		logs = append(logs, found...)
	}
	return logs, next, nil
}

// blockLogs are those of one final block.
func (s *service) blockLogs(q *logQuery, height uint64) ([]*types.Log, error) {
	h, err := s.Ledger.HeaderByHeight(height)
	if err != nil || !q.mayMatch(h.Bloom) {
		return nil, err
	}
	receipts, err := s.Ledger.Receipts(height)
	if err != nil {
		return nil, err
	}
	var out []*types.Log
	for _, r := range receipts {
		for _, l := range r.Logs {
			if q.matches(l) {
				out = append(out, l)
			}
		}
	}
	return out, nil
}
