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

// finalityLink is a node's two connections.
type finalityLink struct {
	http  *rpc.Client
	heads chan Block
}

// MeasureFinality sends n single transfers of an account, one after the other,
// each through the next of some nodes, on a network without other load.
func MeasureFinality(ctx context.Context, nodes []Node, chain uint64, key *crypto.PrivateKey, n int) (*Finality, error) {
	links := make([]finalityLink, len(nodes))
	for i, node := range nodes {
		http, err := rpc.DialContext(ctx, node.RPC)
		if err != nil {
			return nil, err
		}
		defer http.Close()
		ws, err := rpc.DialContext(ctx, node.WS)
		if err != nil {
			return nil, err
		}
		defer ws.Close()
		links[i] = finalityLink{http, make(chan Block, 1024)}
		sub, err := ws.EthSubscribe(ctx, links[i].heads, "newHeads")
		if err != nil {
			return nil, err
		}
		defer sub.Unsubscribe()
	}
	nonce, err := Nonce(ctx, links[0].http, key.Address(), "pending")
	if err != nil {
		return nil, err
	}
	var times []float64
	for i := range n {
		time.Sleep(rest)
		took, err := links[i%len(links)].single(ctx, chain, key, nonce+uint64(i))
		if err != nil {
			return nil, err
		}
		times = append(times, float64(took.Microseconds())/1000)
	}
	slices.Sort(times)
	return &Finality{Transfers: n, P50: times[n/2], P99: times[min(n-1, n*99/100)], Max: times[n-1]}, nil
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
