package testnet

import (
	"context"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"cairn/crypto"
)

// rest is how long the network rests between two single transfers.
const rest = 60 * time.Millisecond

// Finality is the time from handing a transfer to a node over HTTP until that
// node's newHeads subscription has told a final block that holds it, in
// milliseconds.
type Finality struct {
	Transfers int     `json:"transfers"`
	P50       float64 `json:"p50Millis"`
	P99       float64 `json:"p99Millis"`
	Max       float64 `json:"maxMillis"`
}

// Singles sends single transfers of one account, one after the other, each
// through the next of some nodes.
type Singles struct {
	chain uint64
	key   *crypto.PrivateKey
	nonce uint64
	links []finalityLink
	next  int
	close []func()
}

// finalityLink is a node's two connections.
type finalityLink struct {
	http  *rpc.Client
	heads chan Block
}

// NewSingles connects to the nodes.
func NewSingles(ctx context.Context, nodes []Node, chain uint64, key *crypto.PrivateKey) (s *Singles, err error) {
	s = &Singles{chain: chain, key: key}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, node := range nodes {
		http, err := rpc.DialContext(ctx, node.RPC)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, http.Close)
		ws, err := rpc.DialContext(ctx, node.WS)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, ws.Close)
		link := finalityLink{http, make(chan Block, 1024)}
		sub, err := ws.EthSubscribe(ctx, link.heads, "newHeads")
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, sub.Unsubscribe)
		s.links = append(s.links, link)
	}
	s.nonce, err = Nonce(ctx, s.links[0].http, key.Address(), "pending")
	return s, err
}

// Close ends the connections.
func (s *Singles) Close() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
}

// One sends a transfer after a rest, and answers the time to its finality.
func (s *Singles) One(ctx context.Context) (time.Duration, error) {
	time.Sleep(rest)
	link := &s.links[s.next%len(s.links)]
	s.next++
	s.nonce++
	return link.single(ctx, s.chain, s.key, s.nonce-1)
}

// MeasureFinality sends n single transfers of an account on a network without
// other load.
func MeasureFinality(ctx context.Context, nodes []Node, chain uint64, key *crypto.PrivateKey, n int) (*Finality, error) {
	s, err := NewSingles(ctx, nodes, chain, key)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var times []time.Duration
	for range n {
		took, err := s.One(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return FinalityOf(times), nil
}

// FinalityOf sorts and sums up measured times, at least one.
func FinalityOf(times []time.Duration) *Finality {
	n := len(times)
	slices.Sort(times)
	millis := func(i int) float64 { return float64(times[i].Microseconds()) / 1000 }
	return &Finality{Transfers: n, P50: millis(n / 2), P99: millis(min(n-1, n*99/100)), Max: millis(n - 1)}
}

// single sends one transfer and waits for its block.
func (l *finalityLink) single(ctx context.Context, chain uint64, key *crypto.PrivateKey, nonce uint64) (time.Duration, error) {
	tx, err := Transfer(chain, key, nonce, crypto.Address{19: 1}, big.NewInt(1))
	if err != nil {
		return 0, err
	}
	for len(l.heads) > 0 {
		<-l.heads
	}
	begun := time.Now()
	if err := Send(ctx, l.http, tx); err != nil {
		return 0, err
	}
	for {
		select {
		case <-l.heads:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		at := time.Since(begun)
		var r map[string]any
		if err := l.http.CallContext(ctx, &r, "eth_getTransactionReceipt", tx.Hash()); err != nil {
			return 0, err
		}
		if r != nil {
			return at, nil
		}
	}
}
