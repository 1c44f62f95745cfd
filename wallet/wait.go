package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/crypto"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// How often WaitFinal asks: soon after the transaction was sent, then ever less
// often. Over WebSocket each new head asks at once.
const (
	firstPoll     = 5 * time.Millisecond
	longestPoll   = 500 * time.Millisecond
	accountEvery  = time.Second // looks at nonce and pool
	headsCapacity = 16
)

// Pending is a transaction that this wallet sent and can send again.
type Pending struct {
	From        crypto.Address
	Transaction *types.Transaction
}

// WaitFinal waits until the transaction is final, as long as ctx lasts. The
// receipt may have status 0. The node may go away and come back meanwhile. With
// p not nil a transaction that the node lost is sent again, and one that cannot
// become final any more is noticed. Notice, if not nil, is told once each time
// the node goes away and comes back.
//
// Errors: ErrNotFinal when ctx ends by its deadline (the transaction may still
// become final); ErrReplaced; *RejectedError when the node lost the transaction
// and refuses it now; ErrAnswer; context.Canceled.
func (c *Client) WaitFinal(ctx context.Context, hash crypto.Hash, p *Pending, notice func(string)) (*Receipt, error) {
	w := &waiter{client: c, hash: hash, pending: p, notice: notice, accountAt: time.Now().Add(accountEvery)}
	if w.notice == nil {
		w.notice = func(string) {}
	}
	defer func() {
		if w.heads != nil {
			w.heads.Unsubscribe()
		}
	}()
	for interval := firstPoll; ; interval = min(interval*3/2, longestPoll) {
		w.subscribe(ctx)
		r, err := w.poll(ctx)
		if r != nil || err != nil {
			return r, err
		}
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-w.newHeads:
		case <-w.headsEnd():
			w.heads = nil
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, w.ended(ctx)
		}
	}
}

type waiter struct {
	client   *Client
	hash     crypto.Hash
	pending  *Pending
	notice   func(string)
	heads    *rpc.ClientSubscription
	newHeads chan json.RawMessage
	triedAt  time.Time // to subscribe

	down      error // why the node does not answer; nil when it does
	accountAt time.Time
	replaced  int // times in a row that the nonce was used without a receipt
}

func (w *waiter) ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if w.down != nil {
		return fmt.Errorf("%w: %w", ErrNotFinal, w.down)
	}
	return ErrNotFinal
}

// subscribe asks for new heads where the transport can; polling goes on beside.
func (w *waiter) subscribe(ctx context.Context) {
	if w.heads != nil || !w.client.rpc.SupportsSubscriptions() || w.down != nil ||
		time.Since(w.triedAt) < time.Second {
		return
	}
	w.triedAt = time.Now()
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ch := make(chan json.RawMessage, headsCapacity)
	if sub, err := w.client.rpc.EthSubscribe(limited, ch, "newHeads"); err == nil {
		w.heads, w.newHeads = sub, ch
	}
}

func (w *waiter) headsEnd() <-chan error {
	if w.heads == nil {
		return nil
	}
	return w.heads.Err()
}

// poll answers nil, nil while there is nothing to say.
func (w *waiter) poll(ctx context.Context) (*Receipt, error) {
	if w.pending != nil && !time.Now().Before(w.accountAt) {
		w.accountAt = time.Now().Add(accountEvery)
		return w.pollAccount(ctx)
	}
	r, err := w.client.Receipt(ctx, w.hash)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return r, w.tolerate(ctx, err)
}

// pollAccount looks whether the transaction can still become final. The order
// matters: the node makes receipt and nonce visible at once, so a nonce seen as
// used before a receipt is missing means that another transaction used it. Two
// such looks in a row are asked for, since the URL may stand for several nodes.
func (w *waiter) pollAccount(ctx context.Context) (*Receipt, error) {
	var nonce hexutil.Uint64
	var receipt, known json.RawMessage
	err := w.client.batch(ctx,
		call{"eth_getTransactionCount", []any{w.pending.From, "latest"}, &nonce},
		call{"eth_getTransactionReceipt", []any{w.hash}, &receipt},
		call{"eth_getTransactionByHash", []any{w.hash}, &known})
	if err != nil {
		return nil, w.tolerate(ctx, err)
	}
	r, err := parseReceipt(receipt, w.hash)
	if r != nil || err != nil {
		return r, err
	}
	if tx := w.pending.Transaction; uint64(nonce) > tx.Nonce() {
		if w.replaced++; w.replaced > 1 {
			return nil, fmt.Errorf("%w: nonce %d of %s", ErrReplaced, tx.Nonce(), w.pending.From)
		}
		return nil, w.tolerate(ctx, nil)
	}
	w.replaced = 0
	if string(known) == "null" {
		err = w.client.Submit(ctx, w.pending.Transaction)
		if rejected, ok := errors.AsType[*RejectedError](err); ok && hasPrefixFold(rejected.Message, "nonce too low") {
			err = nil // it became final just now, or was replaced: the next look tells
		}
	}
	return nil, w.tolerate(ctx, err)
}

// tolerate keeps waiting through what may pass: a node that does not answer.
func (w *waiter) tolerate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		if w.down != nil {
			w.notice("the node answers again")
			w.down = nil
		}
		return nil
	case ctx.Err() != nil:
		return nil // the caller sees it
	case errors.Is(err, ErrUnreachable):
		if w.down == nil {
			w.notice(err.Error() + "; still waiting")
			// Once it is back, first look whether it still has the transaction.
			w.accountAt = time.Time{}
		}
		w.down = err
		return nil
	}
	return err
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
