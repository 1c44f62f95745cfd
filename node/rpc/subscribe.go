package rpc

import (
	"context"

	"github.com/ethereum/go-ethereum/rpc"
)

// NewHeads sends the header of every block that becomes final.
func (a *ethAPI) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	sub := notifier.CreateSubscription()
	finals, cancel := a.b.Ledger.Subscribe()
	go func() {
		defer cancel()
		for {
			select {
			case f, ok := <-finals:
				if !ok {
					return
				}
				if notifier.Notify(sub.ID, headerFields(f.Block.Header())) != nil {
					return
				}
			case <-sub.Err():
				return
			}
		}
	}()
	return sub, nil
}
