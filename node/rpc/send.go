package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger"
	"cairn/ledger/chain"
)

// Times of eth_sendRawTransactionSync.
const (
	syncWait    = 20 * time.Second // unless the caller says otherwise
	maxSyncWait = time.Minute
	syncMargin  = time.Second // before the request's own time limit, so that the hash is answered
)

// SendRawTransaction takes a signed transaction: the answer is its hash, or the
// reason why it is refused.
func (a *ethAPI) SendRawTransaction(ctx context.Context, raw hexutil.Bytes) (crypto.Hash, error) {
	tx, err := a.submit(ctx, raw)
	if err != nil {
		return crypto.Hash{}, err
	}
	return tx.Hash(), nil
}

func (a *ethAPI) submit(ctx context.Context, raw hexutil.Bytes) (*types.Transaction, error) {
	// A token with a rate has been held to that.
	if c := callerOf(ctx); (c.grant == nil || c.grant.rate == nil) && !a.b.writes.allow(c.host) {
		a.b.meters.refused("writes")
		return nil, tooBusy("too many transactions from your address: at most %d a second, %d at once; try again later",
			a.b.limits.WritesPerSecond, a.b.limits.WriteBurst)
	}
	tx, err := chain.DecodeTransaction(raw)
	if err != nil {
		return nil, err
	}
	return tx, a.b.Submit(ctx, tx)
}

// SendRawTransactionSync sends a transaction and answers its receipt (EIP-7966).
// After timeoutMillis, or when it is dropped, the error says so and has the hash
// as data.
func (a *ethAPI) SendRawTransactionSync(ctx context.Context, raw hexutil.Bytes, timeoutMillis *math.HexOrDecimal64) (final[receipt], error) {
	var none final[receipt]
	wait := syncWait
	if timeoutMillis != nil && *timeoutMillis > 0 {
		wait = time.Duration(min(uint64(*timeoutMillis), uint64(maxSyncWait/time.Millisecond))) * time.Millisecond
	}
	most := time.Duration(a.b.limits.RequestTime)
	wait = min(wait, most-min(syncMargin, most/4))
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	next := a.b.heads.next()
	tx, err := a.submit(ctx, raw)
	if err != nil {
		return none, err
	}
	hash := tx.Hash()
	turnOf(ctx).leave() // others work while this waits
	for {
		r, err := a.GetTransactionReceipt(hash)
		if r.raw != nil || err != nil {
			return r, err
		}
		if reason, ok := a.b.Pool.Dropped(hash); ok {
			return none, fmt.Errorf("the transaction was dropped: %w", reason)
		}
		select {
		case <-next:
			next = a.b.heads.next()
		case <-timeout.C:
			return none, &callError{code: codeSyncTimeout, text: fmt.Sprintf("The transaction was added to the transaction pool but wasn't processed in %s.", wait), data: hash.Hex()}
		case <-a.b.stopping:
			return none, &callError{code: codeSyncTimeout, text: "The transaction was added to the transaction pool, but " + reasonStopping + ".", data: hash.Hex()}
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// place finds a final transaction; ok is false if there is none.
func (s *service) place(hash crypto.Hash) (tx *types.Transaction, height, index uint64, ok bool, err error) {
	tx, _, height, index, err = s.Ledger.Transaction(hash)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, 0, 0, false, nil
	}
	return tx, height, index, err == nil, err
}
