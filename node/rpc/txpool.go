package rpc

import (
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
	"cairn/ledger/pool"
)

// txpoolAPI answers the txpool_ methods. pending could be in the next blocks,
// queued waits for an earlier nonce.
type txpoolAPI struct{ b *service }

// poolStatus is the answer of txpool_status.
type poolStatus struct {
	Pending hexutil.Uint `json:"pending"`
	Queued  hexutil.Uint `json:"queued"`
}

// Status answers how many transactions wait.
func (a *txpoolAPI) Status() poolStatus {
	s := a.b.Pool.Stats()
	return poolStatus{Pending: hexutil.Uint(s.Executable), Queued: hexutil.Uint(s.Gapped)}
}

// poolContent is everything that waits, by sender and nonce.
type poolContent[T any] struct {
	Pending map[string]map[string]T `json:"pending"`
	Queued  map[string]map[string]T `json:"queued"`
}

// senderContent is what waits of one sender, by nonce.
type senderContent struct {
	Pending map[string]*transaction `json:"pending"`
	Queued  map[string]*transaction `json:"queued"`
}

// Content answers every transaction that waits.
func (a *txpoolAPI) Content() (*poolContent[*transaction], error) {
	if st := a.b.Pool.Stats(); a.b.tooLong(st.Bytes) {
		return nil, fmt.Errorf("%d bytes of transactions wait, more than one answer may hold (rpc.limits.response_bytes = %d): ask for txpool_contentFrom or txpool_inspect",
			st.Bytes, a.b.limits.ResponseBytes)
	}
	return content(a.b, a.b.encoder().waiting)
}

// tooLong says whether so many bytes of transactions, in hex, are more than one
// answer may hold.
func (s *service) tooLong(size int64) bool { return 2*size > int64(s.limits.ResponseBytes) }

// Inspect answers a line about every transaction that waits.
func (a *txpoolAPI) Inspect() (*poolContent[string], error) {
	return content(a.b, func(tx *types.Transaction) string {
		return fmt.Sprintf("%s: %d wei + %d gas × %d wei", tx.To().Hex(), tx.Value(), tx.Gas(), tx.GasPrice())
	})
}

func content[T any](s *service, show func(*types.Transaction) T) (*poolContent[T], error) {
	if st := s.Pool.Stats(); st.Executable+st.Gapped > s.limits.PoolContent {
		return nil, fmt.Errorf("%d transactions wait, more than one answer may hold (rpc.limits.pool_content = %d): ask for txpool_contentFrom or txpool_status",
			st.Executable+st.Gapped, s.limits.PoolContent)
	}
	out := &poolContent[T]{Pending: map[string]map[string]T{}, Queued: map[string]map[string]T{}}
	for addr, c := range s.Pool.Content() {
		if len(c.Executable) > 0 {
			out.Pending[addr.Hex()] = byNonce(c.Executable, show)
		}
		if len(c.Gapped) > 0 {
			out.Queued[addr.Hex()] = byNonce(c.Gapped, show)
		}
	}
	return out, nil
}

func byNonce[T any](txs []*types.Transaction, show func(*types.Transaction) T) map[string]T {
	out := make(map[string]T, len(txs))
	for _, tx := range txs {
		out[strconv.FormatUint(tx.Nonce(), 10)] = show(tx)
	}
	return out
}

// ContentFrom answers what waits of one sender.
func (a *txpoolAPI) ContentFrom(addr crypto.Address) (*senderContent, error) {
	var c pool.Content = a.b.Pool.ContentFrom(addr)
	size := int64(0)
	for _, txs := range [][]*types.Transaction{c.Executable, c.Gapped} {
		for _, tx := range txs {
			size += int64(tx.Size())
		}
	}
	if a.b.tooLong(size) {
		return nil, fmt.Errorf("%d bytes of transactions wait, more than one answer may hold (rpc.limits.response_bytes = %d)", size, a.b.limits.ResponseBytes)
	}
	show := a.b.encoder().waiting
	return &senderContent{Pending: byNonce(c.Executable, show), Queued: byNonce(c.Gapped, show)}, nil
}
